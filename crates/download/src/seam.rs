//! The outside world: clock, chance, and which boot of the machine this is.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant, SystemTime};

/// A monotonic clock that begins at zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// The date, for headers that hold one.
pub(crate) fn date() -> SystemTime {
    SystemTime::now()
}

/// A number from 0 to 1, for jitter: each hasher of the standard library has keys of its own.
pub(crate) fn chance() -> f64 {
    let bits = RandomState::new().hash_one(0_u8);
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// What tells one boot of the machine from another; `None` where the kernel does not tell.
pub(crate) fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// When a file was last written to; `None` where that is not known.
pub(crate) fn modified(path: &std::path::Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
