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
    /// By default 0.7, 0.8 and 0.95: the seed's collection began at 0.8; below 0.7 nothing is wrong, and
    /// the last twentieth is what a burst takes before anybody can react.
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
        for (since, begin) in self.below_since.iter_mut().zip(self.thresholds.begins) {
            let below = !(begin - self.thresholds.hysteresis <= ratio);
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
