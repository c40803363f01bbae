//! The clock, the sockets and the process: what the rest takes from here, and simulations replace.

mod listener;
mod stream;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_gettime};

pub use self::listener::Listener;
pub(crate) use self::stream::Stream;

/// Instants as whole nanoseconds since the server's start, and as the clock that other processes of
/// this machine read (`CLOCK_MONOTONIC`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    start_monotonic_ns: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let monotonic =
            clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        Self { start: Instant::now(), start_monotonic_ns: nanoseconds(monotonic) }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::now()
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.ns(Instant::now())
    }

    pub(crate) fn ns(&self, instant: Instant) -> u64 {
        nanoseconds(instant.saturating_duration_since(self.start))
    }

    /// The same instant by `CLOCK_MONOTONIC`.
    pub(crate) fn monotonic_ns(&self, since_start_ns: u64) -> u64 {
        self.start_monotonic_ns.saturating_add(since_start_ns)
    }
}

/// 584 years fit.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Now, by the clock of the runtime's timers.
pub(crate) fn timer_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Seconds since 1970, as the API's `created` has them.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A number that no other start of the server has.
pub(crate) fn random_number() -> u64 {
    RandomState::new().hash_one(0)
}

/// Lets timers of this thread end when they are due, and not 50 µs later (`PR_SET_TIMERSLACK`).
pub(crate) fn set_finest_timers() {
    // Where it is refused, timers are coarser: nothing to be done about it.
    let _ = nix::sys::prctl::set_timerslack(1);
}

/// Starts a thread.
pub(crate) fn spawn_thread(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// Raises this process's limit of open files as far as it may, and returns it.
///
/// Each connection is an open file; many systems begin at 1024. For programs: a library must not change
/// its process unasked.
///
/// # Errors
///
/// What the kernel says; the limit is then unchanged.
pub fn raise_open_files() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}
