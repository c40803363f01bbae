//! How fast tokens leave: what "come again later" is computed from.

use std::time::Duration;

/// How much of the past counts: seconds of a request's life, and not the minutes before.
const MEMORY_S: f64 = 10.0;
/// What is said as long as nothing is known.
const UNKNOWN: Duration = Duration::from_secs(1);
/// Of a shorter past nothing is known yet.
const KNOWN_S: f64 = 0.1;
/// Clients' libraries wait no longer than two minutes, and many no longer than one.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Sooner nobody need come: a round trip and a bit.
const WAIT_MIN: Duration = Duration::from_millis(50);

/// Tokens per second, the latest seconds counting most (an exponentially weighted average). Seconds in which
/// nobody asked for any do not count.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The total, and when it was told.
    told: Option<(u64, Duration)>,
    /// Tokens and seconds of the past, both fading alike.
    tokens: f64,
    seconds: f64,
}

impl Pace {
    /// So many tokens have left in all, and requests run or wait, or do not. Returns when that was told
    /// last, and how many have left since.
    pub(super) fn observe(
        &mut self,
        total: u64,
        is_busy: bool,
        now: Duration,
    ) -> Option<(Duration, u64)> {
        let (total_before, before) = self.told.replace((total, now))?;
        let left = total.saturating_sub(total_before);
        if !is_busy && left == 0 {
            return Some((before, left));
        }
        let elapsed_s = now.saturating_sub(before).as_secs_f64();
        let fades_to = (-elapsed_s / MEMORY_S).exp();
        self.tokens = self.tokens * fades_to + left as f64;
        self.seconds = self.seconds * fades_to + elapsed_s;
        Some((before, left))
    }

    /// How long so many tokens take to leave, within what is worth telling.
    pub(super) fn time_for(&self, tokens: u64) -> Duration {
        if self.tokens <= 0.0 || self.seconds < KNOWN_S {
            return UNKNOWN;
        }
        let seconds = tokens as f64 * self.seconds / self.tokens;
        let time = Duration::try_from_secs_f64(seconds).unwrap_or(WAIT_MAX);
        time.clamp(WAIT_MIN, WAIT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(ticks: &[(u64, u64)]) -> Pace {
        let mut pace = Pace::default();
        for (total, seconds) in ticks {
            pace.observe(*total, true, Duration::from_secs(*seconds));
        }
        pace
    }

    #[test]
    fn what_waits_leaves_at_the_present_pace() {
        let steady = after(&[(0, 0), (100, 1), (200, 2), (300, 3)]);
        let wait = steady.time_for(500).as_secs_f64();
        assert!((wait - 5.0).abs() < 0.01, "{wait}");
        // A minute later the pace is another.
        let slower = after(&[(0, 0), (1000, 1), (1000, 61), (1010, 62), (1020, 63)]);
        assert!(Duration::from_secs(20) < slower.time_for(100));
    }

    /// A server that had rested for a minute said that it would take one.
    #[test]
    fn a_rest_is_no_slowness() {
        let mut pace = after(&[(0, 0), (100, 1), (200, 2)]);
        let before = pace.time_for(500);
        for second in 3..60 {
            pace.observe(200, false, Duration::from_secs(second));
        }
        assert_eq!(before, pace.time_for(500));
    }

    #[test]
    fn what_is_told_has_bounds() {
        assert_eq!(UNKNOWN, after(&[]).time_for(10));
        assert_eq!(UNKNOWN, after(&[(5, 0), (5, 9)]).time_for(10));
        let mut short = after(&[(0, 0)]);
        short.observe(1, true, Duration::from_millis(1));
        assert_eq!(UNKNOWN, short.time_for(10));
        let pace = after(&[(0, 0), (100, 1)]);
        assert_eq!((WAIT_MIN, WAIT_MAX), (pace.time_for(0), pace.time_for(u64::MAX)));
    }
}
