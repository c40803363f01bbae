//! When bytes may go, on an absolute schedule. Pure: `now` is an argument.
//!
//! Written for this crate alone and on purpose not shared with `limiter`: an instrument that shares code
//! with what it measures shares its mistakes.

use std::time::{Duration, Instant};

/// What may be caught up at once after a late wake-up or a pause; also the first burst. Five times the
/// step, so that a scheduler's slice does not cost rate.
const CATCH_UP: Duration = Duration::from_millis(25);

/// How long one piece should take at its rate: short, so that bytes flow evenly.
const STEP: Duration = Duration::from_millis(5);

/// The smallest piece in bytes: below it, system calls would be all there is.
const PIECE_BYTES_MIN: u64 = 512;

/// An absolute schedule: each piece starts where the one before it ended, however late it was sent.
///
/// Over any interval `t` at most `rate · (t + CATCH_UP)` and one piece go out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    free_at: Instant,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { free_at: now }
    }

    /// Reserves the time for `bytes` at `rate` bytes per second and returns when they may go.
    pub(crate) fn take(&mut self, bytes: u64, rate: u64, now: Instant) -> Instant {
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        let start = self.free_at.max(earliest);
        self.free_at = start + time_for(bytes, rate);
        start
    }

    /// Returns when the next byte may go.
    pub(crate) fn free_at(&self) -> Instant {
        self.free_at
    }
}

/// Returns the size of a piece that is sent evenly at `rate` bytes per second.
pub(crate) fn piece_bytes(rate: u64) -> u64 {
    (u128::from(rate) * STEP.as_nanos() / 1_000_000_000).max(PIECE_BYTES_MIN.into()) as u64
}

/// Returns how long `bytes` take at `rate` bytes per second; a year at the most.
fn time_for(bytes: u64, rate: u64) -> Duration {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    u64::try_from(nanos).map_or(YEAR, |nanos| Duration::from_nanos(nanos).min(YEAR))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn late_wake_ups_do_not_cost_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut now = start;
        // 1000 pieces of 1 ms each, every wake-up up to 2 ms late.
        for late_us in (0..1000).map(|i| i * 7919 % 2000) {
            now = pace.take(1_000, 1_000_000, now).max(now) + Duration::from_micros(late_us);
        }
        assert_eq!(Duration::from_secs(1), pace.free_at() - start);
    }

    #[test]
    fn a_pause_is_caught_up_within_bounds_only() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let later = start + Duration::from_secs(10);
        assert_eq!(later - CATCH_UP, pace.take(1, 1, later));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn never_more_than_rate_and_catch_up(
            rate in 1_u64..1_000_000_000,
            steps in prop::collection::vec((1_u64..100_000, 0_u64..50_000), 1..50),
        ) {
            let start = Instant::now();
            let (mut now, mut pace, mut sent) = (start, Pace::new(start), 0_u128);
            for (bytes, idle_us) in steps {
                now = pace.take(bytes, rate, now).max(now) + Duration::from_micros(idle_us);
                // The piece itself goes at `now`; all before it had to fit.
                let allowed = u128::from(rate) * (now - start + CATCH_UP).as_nanos() / 1_000_000_000;
                prop_assert!(sent <= allowed + 1 + 50, "{sent} of {allowed}");
                sent += u128::from(bytes);
            }
        }
    }

    #[test]
    fn pieces_grow_with_the_rate() {
        assert_eq!(PIECE_BYTES_MIN, piece_bytes(1));
        assert_eq!(50_000, piece_bytes(10_000_000));
    }

    #[test]
    fn absurd_rates_do_not_overflow() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.take(u64::MAX, 1, now);
        pace.take(u64::MAX, 1, now);
        assert!(now < pace.free_at());
    }
}
