//! Ratios of pairs: two things measured side by side, resampled pair by pair.

use serde::{Deserialize, Serialize};

use super::Random;
use super::quantile::median;

/// A closed interval of values.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(from = "[f64; 2]", into = "[f64; 2]")]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl From<[f64; 2]> for Interval {
    fn from([low, high]: [f64; 2]) -> Self {
        Self { low, high }
    }
}

impl From<Interval> for [f64; 2] {
    fn from(interval: Interval) -> Self {
        [interval.low, interval.high]
    }
}

/// The median of ratios of pairs, and what it may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedRatio {
    /// The median ratio.
    pub median: f64,
    /// Covers the true median ratio with 95 % confidence.
    pub interval: Interval,
    /// How many pairs stand behind it.
    pub pairs: usize,
}

/// The fewest pairs that carry an interval at 95 %: with five even the extremes would not cover it.
pub(crate) const PAIRS_MIN: usize = 6;

/// Resamples of the pairs; the ends of a 95 % interval then vary by about a tenth of its width.
const RESAMPLES: usize = 2000;

/// Returns the median of `b / a` over pairs `(a, b)` with its interval, or `None` below six pairs.
///
/// Pairs that were measured one right after the other share the mood of the machine, so the ratio
/// within a pair is far steadier than the ratio of two means. The same seed gives the same interval.
///
/// Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13 (percentiles).
///
/// # Examples
///
/// ```
/// use inference_bench::stats::paired_ratio;
///
/// let pairs: Vec<(f64, f64)> = (0..15).map(|k| (10.0 + f64::from(k), 11.0 + 1.1 * f64::from(k))).collect();
/// let ratio = paired_ratio(&pairs, 1).expect("fifteen pairs");
/// assert!((ratio.median - 1.1).abs() < 1e-9);
/// ```
#[must_use]
pub fn paired_ratio(pairs: &[(f64, f64)], seed: u64) -> Option<PairedRatio> {
    if pairs.len() < PAIRS_MIN {
        return None;
    }
    let ratios: Vec<f64> = pairs.iter().map(|(a, b)| b / a).collect();
    if !ratios.iter().all(|ratio| ratio.is_finite()) {
        return None;
    }
    let mut random = Random::new(seed);
    let mut medians: Vec<f64> = (0..RESAMPLES).map(|_| resampled(&ratios, &mut random)).collect();
    medians.sort_by(f64::total_cmp);
    let cut = RESAMPLES * 25 / 1000;
    let interval = Interval { low: medians[cut], high: medians[RESAMPLES - 1 - cut] };
    Some(PairedRatio { median: median(&ratios), interval, pairs: ratios.len() })
}

fn resampled(ratios: &[f64], random: &mut Random) -> f64 {
    let n = ratios.len() as u64;
    let sample: Vec<f64> = (0..n).map(|_| ratios[random.below(n) as usize]).collect();
    median(&sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_pairs_are_too_few_and_a_zero_is_no_divisor() {
        assert_eq!(None, paired_ratio(&[(1.0, 1.0); 5], 0));
        assert_eq!(None, paired_ratio(&[(0.0, 1.0); 9], 0));
        assert!(paired_ratio(&[(1.0, 2.0); 6], 0).is_some());
    }

    #[test]
    fn a_common_mood_of_the_machine_cancels_out() {
        let moods = [1.0, 3.0, 0.5, 7.0, 2.0, 1.5, 9.0];
        let pairs = moods.map(|mood| (mood, 1.02 * mood));
        let ratio = paired_ratio(&pairs, 0).expect("seven pairs");
        assert!((ratio.interval.low - 1.02).abs() < 1e-12);
        assert!((ratio.interval.high - 1.02).abs() < 1e-12);
    }

    /// 2000 sets of pairs whose true median ratio is 1.05, with a heavy tail on top of the noise.
    #[test]
    fn intervals_of_ratios_cover_what_they_promise() {
        let mut random = Random::new(5);
        for n in [10, 15, 30] {
            let covered = (0..2000).filter(|&seed| covers(&mut random, n, seed)).count();
            let share = covered as f64 / 2000.0;
            assert!((0.93..=0.97).contains(&share), "{n} pairs: {share}");
        }
    }

    fn covers(random: &mut Random, n: usize, seed: u64) -> bool {
        let pairs: Vec<_> = (0..n).map(|_| (noisy(random), 1.05 * noisy(random))).collect();
        let interval = paired_ratio(&pairs, seed).expect("enough pairs").interval;
        interval.low <= 1.05 && 1.05 <= interval.high
    }

    fn noisy(random: &mut Random) -> f64 {
        let spike = if random.below(10) == 0 { random.unit() } else { 0.0 };
        1.0 + 0.03 * random.unit() + spike
    }
}
