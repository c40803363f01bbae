//! Quantiles as order statistics, and intervals that no distribution is assumed for.

use super::binomial::largest_within;
use super::bootstrap::Interval;

/// Returns the `p`-quantile of sorted values: the least value with at least a share `p` at or below it.
///
/// It is always one of the values, never between two: nobody was measured there.
///
/// Source: Hyndman and Fan, "Sample quantiles in statistical packages", 1996, definition 1.
///
/// # Panics
///
/// When there are no values, or `p` is outside of `(0, 1]`.
#[must_use]
pub fn quantile(sorted: &[f64], p: f64) -> f64 {
    assert!(!sorted.is_empty(), "a quantile of no values was asked for");
    assert!(0.0 < p && p <= 1.0, "the quantile {p} is outside of (0, 1]");
    let rank = (p * sorted.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    sorted[rank.min(sorted.len()) - 1]
}

/// Returns the median of values in any order: the middle one, or the mean of the middle two.
///
/// # Panics
///
/// When there are no values.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    assert!(!values.is_empty(), "the median of no values was asked for");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        return sorted[middle];
    }
    f64::midpoint(sorted[middle - 1], sorted[middle])
}

/// Returns an interval that covers the true `p`-quantile with the given confidence, or `None` when there
/// are too few values for any.
///
/// The ends lie between two order statistics, weighted so that each side misses with half of the allowed
/// probability; without the weights the coverage of small samples would jump between 90 and 98 %.
///
/// Source: the binomial interval of David and Nagaraja, "Order statistics", 2003, 7.1, with the
/// interpolation of Hettmansperger and Sheather, 1986, in its linear form.
///
/// # Panics
///
/// When `p` or `confidence` is outside of `(0, 1)`.
#[must_use]
pub fn interval(sorted: &[f64], p: f64, confidence: f64) -> Option<Interval> {
    assert!(0.0 < p && p < 1.0, "the quantile {p} is outside of (0, 1)");
    assert!(0.0 < confidence && confidence < 1.0, "confidence {confidence} is outside of (0, 1)");
    let miss = (1.0 - confidence) / 2.0;
    let low = lower_end(sorted.len() as u64, p, miss)?;
    // The upper end is the lower end of the mirrored sample.
    let high = lower_end(sorted.len() as u64, 1.0 - p, miss)?;
    let last = (sorted.len() - 1) as f64;
    Some(Interval { low: between(sorted, low), high: between(sorted, last - high) })
}

/// The (fractional, zero-based) rank below which the quantile lies with probability `miss`.
fn lower_end(n: u64, p: f64, miss: f64) -> Option<f64> {
    // The value of zero-based rank k lies above the quantile iff at most k values are below it.
    let within = largest_within(n, p, miss).filter(|within| within.k + 1 < n)?;
    let weight = (miss - within.tail) / (within.next_tail - within.tail);
    Some(within.k as f64 + weight)
}

fn between(sorted: &[f64], rank: f64) -> f64 {
    let below = rank.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (rank - rank.floor()) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Random;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let sorted = [1.0, 2.0, 3.0, 4.0];
        let asked = [0.01, 0.25, 0.26, 0.5, 0.75, 0.99, 1.0];
        let expected = [1.0, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0];
        assert_eq!(expected.to_vec(), asked.map(|p| quantile(&sorted, p)).to_vec());
    }

    #[test]
    fn the_median_of_an_even_number_lies_in_the_middle() {
        assert_eq!(2.5, median(&[4.0, 1.0, 3.0, 2.0]));
        assert_eq!(3.0, median(&[9.0, 1.0, 3.0]));
    }

    #[test]
    fn few_values_carry_no_interval() {
        assert_eq!(None, interval(&[], 0.5, 0.95));
        assert_eq!(None, interval(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.5, 0.95));
        assert!(interval(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 0.5, 0.95).is_some());
    }

    /// 4000 samples of each size: the share of intervals that hold the truth has a standard error of
    /// 0.35 %, so ± 2 % is more than five of them.
    #[test]
    fn intervals_cover_what_they_promise() {
        let mut random = Random::new(20_261_122);
        for (n, p) in [(10, 0.5), (15, 0.5), (31, 0.5), (100, 0.5), (100, 0.9), (1000, 0.99)] {
            let covered = (0..4000).filter(|_| covers(&mut random, n, p)).count();
            let share = covered as f64 / 4000.0;
            assert!((0.93..=0.97).contains(&share), "n {n}, p {p}: {share}");
        }
    }

    fn covers(random: &mut Random, n: usize, p: f64) -> bool {
        // Exponential: skewed, and its quantiles are known.
        let mut sample: Vec<f64> = (0..n).map(|_| -(1.0 - random.unit()).ln()).collect();
        sample.sort_by(f64::total_cmp);
        let truth = -(1.0 - p).ln();
        let interval = interval(&sample, p, 0.95).expect("enough values");
        interval.low <= truth && truth <= interval.high
    }
}
