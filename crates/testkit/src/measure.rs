//! What a program costs: time, memory, bytes.

use std::fs;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use wait4::Wait4;

/// What one run of a program cost, its own descendants that it waited for included in CPU time.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Measured {
    /// How it ended.
    pub status: ExitStatus,
    /// Whether it was killed because it took longer than the limit.
    pub killed: bool,
    /// From before its start to its end.
    pub wall: Duration,
    /// CPU time in its own code.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// The most memory that was resident at once, in bytes. Linux starts counting before `exec`: the
    /// value is at least the parent's own at the time of the fork.
    pub peak_rss_bytes: u64,
    /// Bytes it moved; `None` where `/proc/PID/io` cannot be read.
    pub bytes: Option<MovedBytes>,
}

impl Measured {
    /// Returns the CPU time in all.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

/// Bytes that a process moved (proc(5), `/proc/PID/io`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MovedBytes {
    /// By `read` and its kin; sockets count where they are read like files.
    pub read: u64,
    /// By `write` and its kin.
    pub written: u64,
    /// Fetched from storage.
    pub from_storage: u64,
    /// Sent to storage.
    pub to_storage: u64,
}

/// Runs a program to its end, or until `limit` has passed and it is killed.
///
/// # Errors
///
/// When it cannot be started or waited for.
///
/// # Examples
///
/// ```
/// use std::process::Command;
/// use std::time::Duration;
///
/// let measured = testkit::measure(&mut Command::new("true"), Duration::from_secs(10))?;
/// assert!(measured.status.success() && !measured.killed);
/// assert!(0 < measured.peak_rss_bytes);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn measure(command: &mut Command, limit: Duration) -> io::Result<Measured> {
    let start = Instant::now();
    let child = command.spawn()?;
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let killed = wait_within(pid, limit)?;
    let wall = start.elapsed();
    // It has ended and is not yet reaped: its number is still its own.
    let bytes = moved_bytes(&child);
    let used = child.wait4()?;
    let wait4::ResourceUsage { utime, stime, maxrss } = used.rusage;
    Ok(Measured {
        status: used.status,
        killed,
        wall,
        user: utime,
        system: stime,
        peak_rss_bytes: maxrss,
        bytes,
    })
}

/// Waits for the end of the process without reaping it; `true` if it had to be killed.
fn wait_within(pid: Pid, limit: Duration) -> io::Result<bool> {
    let (ended, watch) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watchdog = scope.spawn(move || {
            let timed_out = watch.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            // The process is not reaped before this thread has ended, so the number is still its own.
            timed_out && kill(pid, Signal::SIGKILL).is_ok()
        });
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let result = loop {
            match waitid(Id::Pid(pid), flags) {
                Err(nix::Error::EINTR) => {}
                result => break result,
            }
        };
        drop(ended);
        let killed = watchdog.join().unwrap_or(false);
        result.map(|_| killed).map_err(io::Error::from)
    })
}

fn moved_bytes(child: &Child) -> Option<MovedBytes> {
    let text = fs::read_to_string(format!("/proc/{}/io", child.id())).ok()?;
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))?;
        line.parse().ok()
    };
    Some(MovedBytes {
        read: value("rchar")?,
        written: value("wchar")?,
        from_storage: value("read_bytes")?,
        to_storage: value("write_bytes")?,
    })
}
