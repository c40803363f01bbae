//! How many samples a percentile needs, and a bound that holds with the ones at hand.
//!
//! Source: MLCommons inference rules, "Early stopping": with confidence `c` the true percentile is no
//! worse than the estimate when `I(p; h, t + 1) ≤ 1 − c` for `h` samples under and `t` over it.

use std::fmt;

use super::binomial::{at_most, largest_within};

/// A bound on a percentile from below its tail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EarlyStop {
    /// With the confidence asked for, the true percentile is at most this value.
    pub bound: f64,
    /// How many of the largest samples were given up for it.
    pub discarded: u64,
}

/// Why a percentile has no value: it needs more samples than there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TooFew {
    /// The percentile that was asked for, as a share.
    pub p: f64,
    /// The samples at hand.
    pub samples: u64,
    /// The samples that are needed.
    pub samples_min: u64,
}

impl fmt::Display for TooFew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.p * 100.0;
        write!(f, "p{percent} needs {} samples, there are {}", self.samples_min, self.samples)
    }
}

impl std::error::Error for TooFew {}

/// Returns how many samples carry the `p`-quantile at this confidence.
///
/// At the customary confidence of 0.99 that is 11 for the median, 64 for p90, 130 for p95, 662 for p99
/// and 6636 for p99.9.
///
/// # Panics
///
/// When `p` or `confidence` is outside of `(0, 1)`.
///
/// # Examples
///
/// ```
/// assert_eq!(662, inference_bench::stats::samples_min(0.99, 0.99));
/// ```
#[must_use]
pub fn samples_min(p: f64, confidence: f64) -> u64 {
    check(p, confidence);
    // Doubling, then halving: the answer for p = 1 − 1e-9 is found in sixty steps.
    let enough = |n: u64| at_most(n, 1.0 - p, 1) <= 1.0 - confidence;
    let mut high = 2;
    while !enough(high) {
        high *= 2;
    }
    let mut low = high / 2;
    while low + 1 < high {
        let middle = low.midpoint(high);
        if enough(middle) { high = middle } else { low = middle }
    }
    high
}

impl EarlyStop {
    /// Bounds the `p`-quantile of sorted values from above, with this confidence.
    ///
    /// # Errors
    ///
    /// [`TooFew`] when there are fewer than [`samples_min`] values.
    ///
    /// # Panics
    ///
    /// When `p` or `confidence` is outside of `(0, 1)`.
    pub fn of(sorted: &[f64], p: f64, confidence: f64) -> Result<Self, TooFew> {
        check(p, confidence);
        let n = sorted.len() as u64;
        let within = largest_within(n, 1.0 - p, 1.0 - confidence).filter(|within| 1 <= within.k);
        let Some(within) = within else {
            return Err(TooFew { p, samples: n, samples_min: samples_min(p, confidence) });
        };
        Ok(Self { bound: sorted[(n - within.k) as usize], discarded: within.k })
    }
}

fn check(p: f64, confidence: f64) {
    assert!(0.0 < p && p < 1.0, "the quantile {p} is outside of (0, 1)");
    assert!(0.0 < confidence && confidence < 1.0, "confidence {confidence} is outside of (0, 1)");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Random;

    #[test]
    fn the_table_of_the_rules_comes_out() {
        let golden = [(0.5, 11), (0.9, 64), (0.95, 130), (0.99, 662), (0.999, 6636)];
        for (p, expected) in golden {
            assert_eq!(expected, samples_min(p, 0.99), "p {p}");
        }
        let at_95 = [(0.5, 8), (0.9, 46), (0.95, 93), (0.99, 473), (0.999, 4742)];
        for (p, expected) in at_95 {
            assert_eq!(expected, samples_min(p, 0.95), "p {p}");
        }
    }

    #[test]
    fn one_sample_less_is_too_few() {
        let values: Vec<f64> = (0..662).map(f64::from).collect();
        let stop = EarlyStop::of(&values, 0.99, 0.99).expect("just enough");
        assert_eq!(EarlyStop { bound: 661.0, discarded: 1 }, stop);
        let error = EarlyStop::of(&values[1..], 0.99, 0.99).expect_err("one too few");
        assert_eq!("p99 needs 662 samples, there are 661", error.to_string());
        assert!(EarlyStop::of(&[], 0.5, 0.99).is_err());
    }

    /// The raw p99 of such samples is too low in more than half of the runs; the bound in 1 % at most.
    #[test]
    fn the_bound_is_rarely_below_the_truth() {
        let mut random = Random::new(3);
        let truth = -(0.01_f64).ln();
        let below = (0..2000).filter(|_| bound_of_a_run(&mut random, 1000) < truth).count();
        assert!(below <= 40, "{below} of 2000 bounds lie below the truth");
    }

    fn bound_of_a_run(random: &mut Random, n: usize) -> f64 {
        let mut sample: Vec<f64> = (0..n).map(|_| -(1.0 - random.unit()).ln()).collect();
        sample.sort_by(f64::total_cmp);
        EarlyStop::of(&sample, 0.99, 0.99).expect("enough samples").bound
    }
}
