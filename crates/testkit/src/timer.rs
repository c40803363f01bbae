//! Waiting to the tenth of a millisecond.
//!
//! tokio's own timers wake on a wheel of milliseconds, half of one late on average: too coarse for an
//! instrument whose latencies and round trips others are judged by.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Instant;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;

/// A timer of the kernel; made when first waited on, so that idle connections cost no descriptor.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    fd: Option<AsyncFd<Fd>>,
}

#[derive(Debug)]
struct Fd(TimerFd);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    /// Waits until `deadline`; returns at once when it has passed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; the next wait sets the timer anew.
    pub(crate) async fn until(&mut self, deadline: Instant) {
        while Instant::now() < deadline {
            if self.wait_precisely(deadline).await.is_err() {
                // Out of descriptors: a coarser wait is better than none.
                tokio::time::sleep_until(deadline.into()).await;
            }
        }
    }

    async fn wait_precisely(&mut self, deadline: Instant) -> std::io::Result<()> {
        if self.fd.is_none() {
            let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
            self.fd = Some(watched(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?)?);
        }
        let fd = self.fd.as_ref().expect("was made above");
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let once = Expiration::OneShot(TimeSpec::from_duration(left));
        fd.get_ref().0.set(once, TimerSetTimeFlags::empty())?;
        loop {
            let mut guard = fd.readable().await?;
            // Readiness may be left from a wait that was dropped: only a read that finds an
            // expiration counts.
            match fd.get_ref().0.wait() {
                Ok(()) => return Ok(()),
                Err(nix::Error::EAGAIN) => guard.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "its replacement is an unsafe function, which asks that the descriptor stay open and the \
              same for as long as it is watched: `Fd` owns it and gives out no other"
)]
fn watched(timer: TimerFd) -> std::io::Result<AsyncFd<Fd>> {
    AsyncFd::new(Fd(timer))
}
