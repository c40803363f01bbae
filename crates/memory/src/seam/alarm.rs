//! What the monitor's thread sleeps on: its end, the kernel's stall trigger, the next sample.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Wake when some task stalled for 100 ms within 2 s. The kernel lets an ordinary user choose only
/// multiples of 2 s (Documentation/accounting/psi.rst, "Monitoring for pressure thresholds").
const TRIGGER: &[u8] = b"some 100000 2000000\0";

/// Why the sleep ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Woke {
    /// The other end of the cord is gone.
    Stop,
    /// Tasks stall for want of memory.
    Stall,
    /// Time for the next sample.
    Timeout,
}

#[derive(Debug)]
pub(crate) struct Alarm {
    cord: UnixStream,
    trigger: Option<File>,
}

impl Alarm {
    /// Returns an alarm, and the cord whose drop ends its sleep for good. Without a trigger (an old
    /// kernel, a container that may not) time alone wakes.
    pub(crate) fn new(pressure: Option<&Path>) -> io::Result<(Self, UnixStream)> {
        let (cord, other_end) = UnixStream::pair()?;
        Ok((Self { cord, trigger: pressure.and_then(arm) }, other_end))
    }

    pub(crate) fn has_trigger(&self) -> bool {
        self.trigger.is_some()
    }

    pub(crate) fn wait(&mut self, timeout: Duration) -> Woke {
        let mut fds = vec![PollFd::new(self.cord.as_fd(), PollFlags::POLLIN)];
        if let Some(trigger) = &self.trigger {
            fds.push(PollFd::new(trigger.as_fd(), PollFlags::POLLPRI));
        }
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Woke::Timeout,
            Ok(_) => {}
            // Out of kernel memory, and nothing else: a watcher that cannot sleep had better stop.
            Err(_) => return Woke::Stop,
        }
        let happened =
            |at: usize| fds.get(at).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        let (cord, trigger) = (happened(0), happened(1));
        if !cord.is_empty() {
            return Woke::Stop;
        }
        if trigger.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL) {
            // Its cgroup is gone. Without it, time alone wakes.
            self.trigger = None;
        }
        Woke::Stall
    }
}

fn arm(pressure: &Path) -> Option<File> {
    let mut file = OpenOptions::new().read(true).write(true).open(pressure).ok()?;
    file.write_all(TRIGGER).ok()?;
    Some(file)
}
