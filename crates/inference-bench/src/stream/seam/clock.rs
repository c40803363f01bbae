//! One clock for all: nanoseconds from the start of a run.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use nix::time::{ClockId, clock_gettime};

/// How often the two clocks of the system are compared. They run at the same speed by design; only a
/// step of the wall clock sets them apart.
const COMPARE_NS: u64 = 100_000_000;
/// Comparing more often than this finds no better pair of readings.
const COMPARISONS_MAX: u32 = 5;
/// Two readings this close together were not interrupted between.
const CLOSE_NS: i64 = 300;
/// A larger change is a step of the wall clock.
const STEP_NS: u64 = 50_000;

/// The monotonic clock, and where the wall clock stands beside it.
#[derive(Debug)]
pub(crate) struct Clock {
    epoch_ns: i64,
    /// The wall clock less ours. Any thread may renew it; all of them compute the same.
    since_1970_ns: AtomicI64,
    compare_at_ns: AtomicU64,
    steps: AtomicU64,
}

impl Clock {
    /// Starts at 0.
    pub(crate) fn start() -> Self {
        let epoch_ns = read(ClockId::CLOCK_MONOTONIC);
        Self {
            epoch_ns,
            since_1970_ns: AtomicI64::new(compare() + epoch_ns),
            compare_at_ns: AtomicU64::new(COMPARE_NS),
            steps: AtomicU64::new(0),
        }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(read(ClockId::CLOCK_MONOTONIC) - self.epoch_ns).unwrap_or(0)
    }

    /// What the system's monotonic clock shows at an instant of ours.
    pub(crate) fn system_ns(&self, at_ns: u64) -> i64 {
        self.epoch_ns.saturating_add_unsigned(at_ns)
    }

    /// What is to be taken from the wall clock to have ours.
    pub(crate) fn since_1970_ns(&self, now_ns: u64) -> i64 {
        let compare_at_ns = self.compare_at_ns.load(Ordering::Relaxed);
        if compare_at_ns <= now_ns {
            self.compare_at_ns.store(now_ns + COMPARE_NS, Ordering::Relaxed);
            let now = compare() + self.epoch_ns;
            let before = self.since_1970_ns.swap(now, Ordering::Relaxed);
            self.steps.fetch_add(u64::from(STEP_NS < now.abs_diff(before)), Ordering::Relaxed);
        }
        self.since_1970_ns.load(Ordering::Relaxed)
    }

    /// How often the wall clock was set during the run: stamps around such a moment are wrong.
    pub(crate) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }
}

fn read(id: ClockId) -> i64 {
    // Fails for clocks that do not exist; these two do wherever this builds.
    clock_gettime(id).map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

/// The wall clock less the monotonic one, from the closest of a few pairs of readings.
fn compare() -> i64 {
    let mut best = (i64::MAX, 0);
    for _ in 0..COMPARISONS_MAX {
        let before = read(ClockId::CLOCK_MONOTONIC);
        let wall = read(ClockId::CLOCK_REALTIME);
        let after = read(ClockId::CLOCK_MONOTONIC);
        best = best.min((after - before, wall - before.midpoint(after)));
        if best.0 <= CLOSE_NS {
            break;
        }
    }
    best.1
}
