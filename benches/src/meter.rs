//! What a stretch of this process costs: wall time, CPU time, peak memory.

use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Resets the kernel's mark of the largest resident set (`proc_pid_clear_refs(5)`).
const RESET_PEAK: &str = "5";

/// What a stretch cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Wall time.
    pub wall: Duration,
    /// CPU time of this process and of the children it waited for.
    pub cpu: Duration,
    /// The largest resident set during the stretch, in bytes; `None` where the kernel does not tell.
    pub peak_rss_bytes: Option<u64>,
    /// The resident memory that is not page cache at the end, in bytes.
    pub working_set_bytes: Option<u64>,
}

/// Measures from its start on.
#[derive(Debug)]
pub struct Meter {
    start: Instant,
    cpu: Duration,
}

impl Meter {
    /// Starts measuring and resets the peak of this process's memory.
    #[must_use]
    pub fn start() -> Self {
        // Where this is refused the peak is that of the whole life of the process: too large, never
        // too small.
        let _ = std::fs::write("/proc/self/clear_refs", RESET_PEAK);
        Self { start: Instant::now(), cpu: cpu_time() }
    }

    /// Says what the stretch cost so far.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Cost {
            wall: self.start.elapsed(),
            cpu: cpu_time().saturating_sub(self.cpu),
            peak_rss_bytes: kib(&status, "VmHWM:"),
            working_set_bytes: kib(&status, "RssAnon:"),
        }
    }
}

fn cpu_time() -> Duration {
    let of = |who| getrusage(who).map_or(Duration::ZERO, |usage| total(&usage));
    of(UsageWho::RUSAGE_SELF) + of(UsageWho::RUSAGE_CHILDREN)
}

fn total(usage: &Usage) -> Duration {
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}
