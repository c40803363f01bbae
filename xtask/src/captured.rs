//! A command whose output is kept, and which ends in time, or when a signal comes, with all that it started.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::perf::signals::Signals;
use crate::steps::Failure;

/// How often it is looked whether the command has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a command may take to end once it has closed its stdout, before that is looked at again.
const ENDING: Duration = Duration::from_millis(1);
/// The most that is read of a command's stdout.
const OUTPUT_MAX_BYTES: u64 = 16 << 20;

/// How a command ended, and what it said.
#[derive(Debug)]
pub(crate) struct Captured {
    /// None when it did not end in time.
    pub(crate) status: Option<ExitStatus>,
    /// What it wrote to stdout and stderr, in its order.
    pub(crate) output: String,
}

impl Captured {
    /// Whether it ended well.
    pub(crate) fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The last lines of the output.
    pub(crate) fn end(&self) -> String {
        let lines: Vec<&str> = self.output.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// Runs a command to its end, or ends it and all that it started when `limit` is over. Its output lies in
/// the file `log` as well.
pub(crate) fn capture(
    command: &mut Command,
    limit: Duration,
    log: &Path,
    signals: &Signals,
) -> Result<Captured, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let started = |error: io::Error| format!("cannot run `{program}`: {error}");
    let file = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let both = file.try_clone().map_err(started)?;
    // A group of its own: what it started ends with it.
    command.process_group(0).stdin(Stdio::null()).stdout(file).stderr(both);
    let mut child = command.spawn().map_err(started)?;
    let nap = || thread::sleep(LOOK_EVERY);
    let status = wait(&mut child, limit, signals, nap).map_err(started)?;
    if signals.code().is_some() {
        return Err("interrupted".to_owned());
    }
    let output = fs::read(log).map_err(started)?;
    Ok(Captured { status, output: String::from_utf8_lossy(&output).into_owned() })
}

/// Runs a command to its end as [`capture`] does, but keeps what it writes to stdout, in memory, and nothing of
/// its stderr. Its end is seen at once: this may stand around what is measured.
pub(crate) fn stdout_of(
    command: &mut Command,
    limit: Duration,
    signals: &Signals,
) -> Result<Captured, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let told = |error: io::Error| format!("cannot run `{program}`: {error}");
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(told)?;
    let output = read(child.stdout.take().expect("it is piped"));
    let mut bytes = Vec::new();
    let nap = || match output.recv_timeout(LOOK_EVERY) {
        Ok(read) => bytes = read,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
        Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => thread::sleep(ENDING),
    };
    let status = wait(&mut child, limit, signals, nap).map_err(told)?;
    if signals.code().is_some() {
        return Err("interrupted".to_owned());
    }
    // What it started, and left behind, may hold its stdout open: that is not waited for.
    bytes.extend(output.recv_timeout(LOOK_EVERY).unwrap_or_default());
    Ok(Captured { status, output: String::from_utf8_lossy(&bytes).into_owned() })
}

/// Reads in a thread of its own; what was read comes at the end.
fn read(stdout: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stdout.take(OUTPUT_MAX_BYTES).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

/// Does some work around a child that leads a group of its own, which is ended when a signal comes meanwhile.
pub(crate) fn ended_by_signals<T>(child: u32, signals: &Signals, work: impl FnOnce() -> T) -> T {
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                if signals.code().is_some() {
                    return end_group(child);
                }
                thread::sleep(LOOK_EVERY);
            }
        });
        let result = work();
        is_done.store(true, Ordering::Relaxed);
        result
    })
}

fn end_group(leader: u32) {
    let group = format!("-{leader}");
    let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
}

fn wait(
    child: &mut Child,
    limit: Duration,
    signals: &Signals,
    mut nap: impl FnMut(),
) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if end < Instant::now() || signals.code().is_some() {
            end_group(child.id());
            child.wait()?;
            return Ok(None);
        }
        nap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration, signals: &Signals) -> Result<Captured, Failure> {
        stdout_of(Command::new("sh").args(["-c", script]), limit, signals)
    }

    #[test]
    fn what_a_command_prints_is_kept_with_how_it_ended() {
        let ended = shell("echo a; echo b >&2; exit 3", CASE, &Signals::default()).unwrap();
        assert_eq!(("a\n", Some(3)), (&*ended.output, ended.status.and_then(|s| s.code())));
    }

    #[test]
    fn a_command_ends_in_time_and_with_what_it_started() {
        let start = Instant::now();
        let hangs = "sleep 60 & sleep 60";
        let ended = shell(hangs, Duration::from_millis(1), &Signals::default()).unwrap();
        assert!(ended.status.is_none());
        let why = shell(hangs, CASE, &Signals::came(143)).unwrap_err();
        assert_eq!("interrupted", why);
        assert!(start.elapsed() < CASE);
    }

    const CASE: Duration = Duration::from_secs(30);
}
