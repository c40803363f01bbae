//! Levels of pressure, with hysteresis and dwell. Pure: the clock is an argument.

use std::fmt;
use std::time::{Duration, Instant};

/// How pressing the want of memory is.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// Enough.
    #[default]
    Normal,
    /// Take no more than needed.
    Warn,
    /// Halve what is in flight, give idle memory back.
    High,
    /// One thing at a time; the next step is the kernel's killer.
    Critical,
}

impl Level {
    /// All levels, from the least to the most pressing.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Warn, Self::High, Self::Critical];
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "normal",
            Self::Warn => "warn",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// When levels begin and end. Ratios are of the working set to its limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Where [`Level::Warn`], [`Level::High`] and [`Level::Critical`] begin, inclusive; rising.
    ///
    /// By default 0.7, 0.8 and 0.95: below 0.7 nothing is wrong, from 0.8 on there is still time to give
    /// caches back, and the last twentieth is what a burst takes before anybody can react.
    pub begins: [f64; 3],
    /// How far below its beginning a level ends: 0.05 by default.
    pub hysteresis: f64,
    /// How long the ratio has to stay below before the level falls: 1 s by default. It rises at once.
    pub dwell: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { begins: [0.7, 0.8, 0.95], hysteresis: 0.05, dwell: Duration::from_secs(1) }
    }
}

impl Thresholds {
    fn are_sound(&self) -> bool {
        let [warn, high, critical] = self.begins;
        let finite = self.begins.iter().all(|begin| begin.is_finite() && 0.0 < *begin);
        finite && warn < high && high < critical && (0.0..warn).contains(&self.hysteresis)
    }
}

/// A change of level, from one sample to the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Change {
    /// The level before.
    pub from: Level,
    /// The level from now on; never the same.
    pub to: Level,
}

impl Change {
    /// Returns whether the pressure rose.
    pub fn rose(&self) -> bool {
        self.from < self.to
    }
}

/// Turns samples into changes of level.
///
/// **Guarantee.** For any samples, each level begins and ends in turn, at most once per sample; no level
/// begins below its threshold, none ends inside the hysteresis band, and none ends sooner than `dwell`
/// after the last sample that reached the band.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use memory::{Level, LevelTracker, Thresholds};
///
/// let start = Instant::now();
/// let mut tracker = LevelTracker::new(Thresholds::default());
/// assert!(tracker.sample(0.85, start).is_some_and(|change| change.to == Level::High));
/// assert_eq!(None, tracker.sample(0.1, start));
/// let later = start + Duration::from_secs(2);
/// assert!(tracker.sample(0.1, later).is_some_and(|change| change.to == Level::Normal));
/// ```
#[derive(Clone, Debug)]
pub struct LevelTracker {
    thresholds: Thresholds,
    level: Level,
    /// For each level above normal, since when the ratio has stayed below its band.
    below_since: [Option<Instant>; 3],
}

impl LevelTracker {
    /// Returns a tracker at [`Level::Normal`].
    ///
    /// # Panics
    ///
    /// When the beginnings do not rise, are not above zero, or the hysteresis reaches below zero.
    pub fn new(thresholds: Thresholds) -> Self {
        assert!(thresholds.are_sound(), "no usable levels: {thresholds:?}");
        Self { thresholds, level: Level::Normal, below_since: [None; 3] }
    }

    /// Returns the level after the last sample.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Takes a sample in. `now` must not go back; a ratio that is not a number counts as 0.
    pub fn sample(&mut self, ratio: f64, now: Instant) -> Option<Change> {
        let ratio = if ratio.is_nan() { 0.0 } else { ratio };
        for (since, begin) in self.below_since.iter_mut().zip(self.thresholds.begins) {
            let below = ratio < begin - self.thresholds.hysteresis;
            *since = if below { since.or(Some(now)) } else { None };
        }
        let change = Change { from: self.level, to: self.next(ratio, now) };
        self.level = change.to;
        (change.from != change.to).then_some(change)
    }

    /// The highest level that has begun, or that still holds.
    fn next(&self, ratio: f64, now: Instant) -> Level {
        let rank = (0..3).rev().find(|&rank| {
            let begun = self.thresholds.begins[rank] <= ratio;
            begun || (Level::ALL[rank + 1] <= self.level && self.holds(rank, now))
        });
        rank.map_or(Level::Normal, |rank| Level::ALL[rank + 1])
    }

    fn holds(&self, rank: usize, now: Instant) -> bool {
        self.below_since[rank]
            .is_none_or(|since| now.saturating_duration_since(since) < self.thresholds.dwell)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One sample a second: the levels after each.
    #[track_caller]
    fn check(ratios: &[f64], expected: &[Level]) {
        let start = Instant::now();
        let mut tracker = LevelTracker::new(Thresholds { dwell: SECOND, ..Thresholds::default() });
        let mut now = start;
        let levels: Vec<_> = ratios
            .iter()
            .map(|&ratio| {
                now += SECOND;
                tracker.sample(ratio, now);
                tracker.level()
            })
            .collect();
        assert_eq!(expected, levels);
    }

    #[test]
    fn levels_rise_at_once_and_fall_after_the_dwell() {
        use Level::{Critical, High, Normal, Warn};
        check(&[0.7, 0.8, 0.95, 0.1, 0.1], &[Warn, High, Critical, Critical, Normal]);
        check(&[0.96, 0.85, 0.85, 0.85], &[Critical, Critical, High, High]);
    }

    #[test]
    fn inside_of_the_band_a_level_holds() {
        use Level::{Normal, Warn};
        check(&[0.69, 0.70, 0.66, 0.65, 0.64, 0.64], &[Normal, Warn, Warn, Warn, Warn, Normal]);
    }

    #[test]
    fn what_is_no_number_is_nothing() {
        check(&[f64::NAN, f64::INFINITY], &[Level::Normal, Level::Critical]);
    }

    #[test]
    #[should_panic(expected = "no usable levels")]
    fn thresholds_must_rise() {
        LevelTracker::new(Thresholds { begins: [0.8, 0.7, 0.9], ..Thresholds::default() });
    }

    proptest! {
        /// M6: begins and ends alternate per level, at most one each per sample, none in the band, no
        /// end before the dwell.
        #[test]
        fn each_level_begins_and_ends_in_turn(
            samples in prop::collection::vec((0_u32..=110, 0_u64..900), 1..80),
        ) {
            let thresholds = Thresholds::default();
            let mut tracker = LevelTracker::new(thresholds);
            let mut now = Instant::now();
            let mut last_in_band = [now; 3];
            let mut is_on = [false; 3];
            for (percent, step_ms) in samples {
                let ratio = f64::from(percent) / 100.0;
                now += Duration::from_millis(step_ms);
                let before = tracker.level();
                let change = tracker.sample(ratio, now);
                prop_assert_eq!(change.map_or(before, |change| change.from), before);
                prop_assert_eq!(change.map_or(before, |change| change.to), tracker.level());
                for rank in 0..3 {
                    let begin = thresholds.begins[rank];
                    let in_band = begin - thresholds.hysteresis <= ratio;
                    if in_band {
                        last_in_band[rank] = now;
                    }
                    let on_now = Level::ALL[rank + 1] <= tracker.level();
                    let begun_above = thresholds.begins[rank..].iter().any(|begin| *begin <= ratio);
                    if on_now && !is_on[rank] {
                        prop_assert!(begun_above, "began at {}", ratio);
                    }
                    if is_on[rank] && !on_now {
                        prop_assert!(!in_band, "ended in the band at {}", ratio);
                        prop_assert!(thresholds.dwell <= now - last_in_band[rank]);
                    }
                    if begin <= ratio {
                        prop_assert!(on_now);
                    }
                    is_on[rank] = on_now;
                }
            }
        }
    }
}
