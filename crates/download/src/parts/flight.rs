//! One part on its way.

use std::time::Duration;

/// What has been fetched for less time is too young to be called slow or to be asked for twice: a few
/// round trips of any link.
pub(super) const YOUNG: Duration = Duration::from_millis(250);

#[derive(Clone, Debug)]
pub(super) struct InFlight {
    /// The next byte that is to come.
    pub(super) at: u64,
    /// The end of the part; moves down when another takes its tail.
    pub(super) end: u64,
    pub(super) started: Duration,
    pub(super) received: u64,
    /// It repeats what another is fetching too, or another repeats it.
    pub(super) hedged: bool,
}

impl InFlight {
    pub(super) fn missing(&self) -> u64 {
        self.end - self.at
    }

    /// Bytes per second so far; `None` where no time has passed.
    pub(super) fn rate(&self, now: Duration) -> Option<f64> {
        let spent = now.saturating_sub(self.started).as_secs_f64();
        (0.0 < spent).then(|| self.received as f64 / spent)
    }

    pub(super) fn is_young(&self, now: Duration) -> bool {
        now.saturating_sub(self.started) < YOUNG
    }

    /// How long the rest takes at the speed so far; a part that has received nothing takes for ever.
    pub(super) fn time_left(&self, now: Duration) -> Duration {
        if self.received == 0 {
            return Duration::MAX;
        }
        let spent = now.saturating_sub(self.started).as_secs_f64();
        let seconds = spent * self.missing() as f64 / self.received as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}
