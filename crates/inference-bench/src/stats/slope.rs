//! Does it grow: the slope of values in their order.

use super::bootstrap::Interval;

/// The quantile of the normal distribution behind an interval of 95 %.
const Z: f64 = 1.959_964;

/// How much values change from one to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    /// The median of the slopes of all pairs.
    pub median: f64,
    /// Covers the true slope with 95 % confidence.
    pub interval: Interval,
}

/// Returns the slope of values that were taken one after the other, or `None` for fewer than three.
///
/// Up to 29 % of the values may be anything without moving it: a cache that fills at once is no trend.
///
/// **Cost.** Quadratic: 200 values are 20 000 pairs.
///
/// Source: Theil, "A rank-invariant method of linear and polynomial regression analysis", 1950; the
/// interval is that of Sen, "Estimates of the regression coefficient based on Kendall's tau", 1968.
///
/// # Examples
///
/// ```
/// use inference_bench::stats::slope;
///
/// let mut values: Vec<f64> = (0..50).map(|k| 1000.0 + 64.0 * f64::from(k)).collect();
/// values[7] = 1e9;
/// assert_eq!(64.0, slope(&values).expect("fifty are enough").median);
/// ```
#[must_use]
pub fn slope(values: &[f64]) -> Option<Slope> {
    if values.len() < 3 {
        return None;
    }
    let pairs = (0..values.len()).flat_map(|i| (i + 1..values.len()).map(move |j| (i, j)));
    let mut slopes: Vec<f64> =
        pairs.map(|(i, j)| (values[j] - values[i]) / (j - i) as f64).collect();
    slopes.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let spread = Z * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    let last = slopes.len() - 1;
    let rank = |rank: f64| slopes[(rank.max(0.0) as usize).min(last)];
    let pairs = slopes.len() as f64;
    let interval = Interval {
        low: rank(((pairs - spread) / 2.0).floor() - 1.0),
        high: rank(((pairs + spread) / 2.0).ceil()),
    };
    let middle = slopes.len() / 2;
    let median = if slopes.len() % 2 == 1 {
        slopes[middle]
    } else {
        f64::midpoint(slopes[middle - 1], slopes[middle])
    };
    Some(Slope { median, interval })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Random;

    #[test]
    fn a_straight_line_is_told_exactly() {
        for step in [0.0, 64.0, -3.5] {
            let values: Vec<f64> = (0..60).map(|k| 5.0 + step * f64::from(k)).collect();
            let expected = Slope { median: step, interval: Interval { low: step, high: step } };
            assert_eq!(Some(expected), slope(&values));
        }
    }

    #[test]
    fn two_values_are_no_trend() {
        assert_eq!(None, slope(&[1.0, 2.0]));
        assert!(slope(&[1.0, 2.0, 3.0]).is_some());
    }

    #[test]
    fn one_step_is_no_trend() {
        let values: Vec<f64> = (0..50).map(|k| if k < 20 { 0.0 } else { 1e6 }).collect();
        let Slope { interval, .. } = slope(&values).unwrap();
        assert!(interval.low <= 0.0, "{interval:?}");
    }

    #[test]
    fn intervals_cover_what_they_promise() {
        let mut random = Random::new(3);
        let mut covered = 0;
        for _ in 0..400 {
            let noise = |random: &mut Random| random.unit() + random.unit() + random.unit();
            let values: Vec<f64> =
                (0..30).map(|k| 0.1 * f64::from(k) + noise(&mut random)).collect();
            let Interval { low, high } = slope(&values).unwrap().interval;
            covered += u32::from(low <= 0.1 && 0.1 <= high);
        }
        assert!((370..=396).contains(&covered), "{covered} of 400");
    }
}
