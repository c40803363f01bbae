//! Waits for absolute instants, to the microsecond.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A timer of the kernel: a runtime's own would be up to a millisecond late.
#[derive(Debug)]
pub(crate) struct Alarm(AsyncFd<Timer>);

#[derive(Debug)]
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Alarm {
    /// # Panics
    ///
    /// Outside of a runtime.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        #[expect(deprecated, reason = "its successor is unsafe; a `Timer` owns its descriptor")]
        let registered = AsyncFd::with_interest(Timer(timer), Interest::READABLE);
        Ok(Self(registered?))
    }

    /// Waits until the system's monotonic clock shows this, in nanoseconds.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(crate) async fn until(&self, system_ns: i64) -> io::Result<()> {
        let due = TimeSpec::new(system_ns / 1_000_000_000, system_ns % 1_000_000_000);
        let timer = &self.0.get_ref().0;
        timer.set(Expiration::OneShot(due), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        self.0.async_io(Interest::READABLE, |timer| Ok(timer.0.wait()?)).await
    }
}
