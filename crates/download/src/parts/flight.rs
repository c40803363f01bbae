//! One part on its way.

use std::time::Duration;

/// What has been fetched for less time than some round trips, within these bounds, is too young to be called
/// slow or to be asked for twice.
const YOUNG_ROUND_TRIPS: u32 = 4;
const YOUNG_MIN: Duration = Duration::from_millis(50);
const YOUNG_MAX: Duration = Duration::from_millis(250);

/// How long a part is young.
pub(super) fn youth(round_trip: Duration) -> Duration {
    round_trip.saturating_mul(YOUNG_ROUND_TRIPS).clamp(YOUNG_MIN, YOUNG_MAX)
}

/// The same bytes are asked for once more so often at most. One repetition may come to be as slow as what it
/// repeats: where one connection in four is slow, one time in four.
const REPEATS_MAX: u8 = 2;

#[derive(Clone, Debug)]
pub(super) struct InFlight {
    /// The next byte that is to come.
    pub(super) at: u64,
    /// The end of the part; moves down when another takes its tail.
    pub(super) end: u64,
    pub(super) started: Duration,
    pub(super) received: u64,
    /// It repeats what another is fetching; that, too, may repeat a third: how many.
    pub(super) repeats: u8,
    /// Another repeats it.
    pub(super) hedged: bool,
}

impl InFlight {
    pub(super) fn missing(&self) -> u64 {
        self.end - self.at
    }

    /// Whether it may be asked for once more.
    pub(super) fn may_be_hedged(&self) -> bool {
        !self.hedged && self.repeats < REPEATS_MAX
    }

    /// Bytes per second so far; `None` where no time has passed.
    pub(super) fn rate(&self, now: Duration) -> Option<f64> {
        let spent = now.saturating_sub(self.started).as_secs_f64();
        (0.0 < spent).then(|| self.received as f64 / spent)
    }

    pub(super) fn is_young(&self, now: Duration, youth: Duration) -> bool {
        now.saturating_sub(self.started) < youth
    }

    /// Whether no answer has come although none is late: that says nothing about how fast it will be.
    pub(super) fn is_asked(&self, now: Duration, round_trip: Duration) -> bool {
        self.received == 0 && self.is_young(now, 2 * round_trip)
    }

    /// How long the rest would take at a rate; no time, where that is not known.
    pub(super) fn rest_at(&self, rate: Option<f64>) -> Duration {
        let seconds = rate.map(|rate| self.missing() as f64 / rate);
        seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()).unwrap_or_default()
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
