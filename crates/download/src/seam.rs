//! The outside world: clock, chance, and which process of which boot this is.

pub(crate) mod disk;

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::OnceLock;
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

/// The instant by the runtime's clock, which a test may have stopped.
pub(crate) fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
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

/// When a file was last written to, and what tells it from another of the same name; `None` where that is
/// not known.
pub(crate) fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// How long ago a file was last written to; nothing for one that is not there.
pub(crate) fn age(path: &Path) -> Option<Duration> {
    Some(date().duration_since(modified(path)?).unwrap_or_default())
}

/// What tells one content of a name from the next one that is put there.
pub(crate) fn identity(path: &Path) -> Option<(u64, SystemTime)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.modified().ok()?))
}

/// The place that the numbers of processes are of: this boot, this namespace. Eight hexadecimal digits.
pub(crate) fn place() -> &'static str {
    static PLACE: OnceLock<String> = OnceLock::new();
    PLACE.get_or_init(|| {
        use sha2::Digest;
        let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let text = format!("{} {}", boot().unwrap_or_default(), space.display());
        let hash: [u8; 32] = sha2::Sha256::digest(text).into();
        hash[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    })
}

/// This process: its number and when it started, which no other process of this place has.
pub(crate) fn process() -> (u32, u64) {
    let number = std::process::id();
    (number, started(number).unwrap_or(0))
}

/// Whether that process of this place is alive.
pub(crate) fn process_lives((number, start): (u32, u64)) -> bool {
    started(number).is_some_and(|started| started == start)
}

/// When a process started, in ticks of its boot (`proc_pid_stat(5)`, field 22). A dead one that nobody has
/// waited for counts as gone.
fn started(number: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The name may hold spaces and brackets; what follows its last bracket may not.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.nth(18)?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_one_that_started_earlier_does_not() {
        let (number, start) = process();
        assert!(0 < start && process_lives((number, start)));
        assert!(!process_lives((number, start - 1)));
        assert_eq!(8, place().len());
    }
}
