//! Where a series of figures changed, if it did. Pure.

use inference_bench::stats::{Interval, interval, median};

/// A change between two figures of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Change {
    /// The first figure after it.
    pub(super) at: usize,
    /// The median after it over the one before.
    pub(super) ratio: f64,
}

/// The place that parts the series best by the ranks of its figures, if the 95 % intervals of the medians
/// before and after it do not meet. `None` where fewer than six figures stand on either side: fewer have no
/// such interval.
///
/// Many places are tried, so chance finds one now and then; whoever wants to know measures pairs.
///
/// **Source**: the place is that of A. N. Pettitt, "A non-parametric approach to the change-point problem",
/// 1979.
pub(super) fn change(values: &[f64]) -> Option<Change> {
    let at = (1..values.len()).max_by_key(|&at| parting(values, at))?;
    let (before, after) = (bounded(&values[..at])?, bounded(&values[at..])?);
    let apart = before.1.high < after.1.low || after.1.high < before.1.low;
    apart.then_some(Change { at, ratio: after.0 / before.0 })
}

/// How many more pairs over the place go one way than the other.
fn parting(values: &[f64], at: usize) -> u64 {
    let (before, after) = values.split_at(at);
    let pairs = before.iter().flat_map(|a| after.iter().map(move |b| b.total_cmp(a) as i64));
    pairs.sum::<i64>().unsigned_abs()
}

fn bounded(values: &[f64]) -> Option<(f64, Interval)> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Some((median(&sorted), interval(&sorted, 0.5, 0.95)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures around these, one after the other, ten of each.
    fn around(levels: &[f64]) -> Vec<f64> {
        let wobble = |k: usize| 1.0 + 0.01 * ((k * 7 % 10) as f64 - 4.5) / 4.5;
        levels.iter().flat_map(|level| (0..10).map(move |k| level * wobble(k))).collect()
    }

    #[test]
    fn a_step_is_found_where_it_is() {
        let change = change(&around(&[10.0, 12.0])).unwrap();
        assert_eq!(10, change.at);
        assert!((change.ratio - 1.2).abs() < 0.01, "{change:?}");
    }

    #[test]
    fn noise_is_no_change() {
        assert_eq!(None, change(&around(&[10.0, 10.0, 10.0])));
    }

    #[test]
    fn few_figures_say_nothing() {
        assert_eq!(None, change(&[1.0, 1.0, 1.0, 1.0, 1.0, 9.0, 9.0, 9.0, 9.0, 9.0]));
        assert_eq!(None, change(&[]));
    }
}
