//! How values are spread, as far as there are enough of them to say so.

use serde::{Serialize, Serializer};

use crate::stats::{self, EarlyStop, Interval};

/// The confidence of a percentile (MLCommons inference rules, "Early stopping").
pub(crate) const CONFIDENCE: f64 = 0.99;

/// Values in one unit, sorted, and what can be said of them.
///
/// # Examples
///
/// ```
/// use inference_bench::stream::Spread;
///
/// let spread = Spread::of((1..=100).map(f64::from).collect());
/// assert_eq!(Some(90.0), spread.percentile(0.9).ok());
/// assert_eq!("p99 needs 662 samples, there are 100", spread.percentile(0.99).unwrap_err().to_string());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spread {
    sorted: Vec<f64>,
}

impl Spread {
    /// Takes values in any order; those that are no numbers are left out.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        values.retain(|value| value.is_finite());
        values.sort_unstable_by(f64::total_cmp);
        Self { sorted: values }
    }

    /// How many there are.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.sorted.len() as u64
    }

    /// The values, sorted.
    #[must_use]
    pub fn sorted(&self) -> &[f64] {
        &self.sorted
    }

    /// The mean; `None` of no values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let n = self.sorted.len();
        (0 < n).then(|| self.sorted.iter().sum::<f64>() / n as f64)
    }

    /// The largest; `None` of no values.
    #[must_use]
    pub fn max(&self) -> Option<f64> {
        self.sorted.last().copied()
    }

    /// The `p`-quantile.
    ///
    /// # Errors
    ///
    /// [`stats::TooFew`] where the values do not carry it at a confidence of 99 %.
    pub fn percentile(&self, p: f64) -> Result<f64, stats::TooFew> {
        EarlyStop::of(&self.sorted, p, CONFIDENCE)?;
        Ok(stats::quantile(&self.sorted, p))
    }

    /// The `p`-quantile even of few values: to look at, not to judge by. `None` of no values.
    #[must_use]
    pub fn rough(&self, p: f64) -> Option<f64> {
        (!self.sorted.is_empty()).then(|| stats::quantile(&self.sorted, p))
    }

    /// Covers the true `p`-quantile with 95 % confidence; `None` where there are too few values.
    #[must_use]
    pub fn interval(&self, p: f64) -> Option<Interval> {
        stats::interval(&self.sorted, p, 0.95)
    }

    /// Where a share of `values` is at or below each of at most `points` values: the plot of a
    /// distribution. Denser towards the tail, which is what one looks for.
    pub(crate) fn cumulative(&self, points: usize) -> Vec<(f64, f64)> {
        if self.sorted.is_empty() {
            return Vec::new();
        }
        let share = |k: usize| {
            let x = k as f64 / points as f64;
            if x < 0.5 { 1.8 * x } else { 1.0 - 0.1 * 10_f64.powf(-8.0 * (x - 0.5)) }
        };
        let at = |p: f64| (stats::quantile(&self.sorted, p.clamp(1e-9, 1.0)), 100.0 * p);
        let mut curve: Vec<(f64, f64)> = (0..points).map(|k| at(share(k))).collect();
        curve.push(at(1.0));
        curve
    }
}

/// As in reports: `{n, mean, p50, p90, p99, max}`; what there are too few values for is `null`, and
/// `reason` says how many there should be.
impl Serialize for Spread {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Form {
            n: u64,
            mean: Option<f64>,
            p50: Option<f64>,
            p90: Option<f64>,
            p99: Option<f64>,
            max: Option<f64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<String>,
        }
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|p| self.percentile(p));
        let reason = p50.as_ref().err().or(p90.as_ref().err()).or(p99.as_ref().err());
        let reason = reason.map(ToString::to_string);
        let (p50, p90, p99) = (p50.ok(), p90.ok(), p99.ok());
        let form = Form { n: self.n(), mean: self.mean(), p50, p90, p99, max: self.max(), reason };
        form.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_values_give_null_and_the_reason() {
        let form = |n: u32| serde_json::to_value(Spread::of((0..n).map(f64::from).collect()));
        let ten = form(10).unwrap();
        assert!(ten["p50"].is_null() && ten["reason"] == "p50 needs 11 samples, there are 10");
        let hundred = form(100).unwrap();
        assert_eq!((Some(49.0), Some(89.0)), (hundred["p50"].as_f64(), hundred["p90"].as_f64()));
        assert!(hundred["p99"].is_null() && hundred["max"] == 99.0);
        let many = form(1000).unwrap();
        assert!(many["p99"] == 989.0 && many.get("reason").is_none());
        let none = form(0).unwrap();
        assert!(none["mean"].is_null() && none["max"].is_null() && none["n"] == 0);
    }

    #[test]
    fn the_curve_of_a_distribution_rises_to_its_end() {
        let curve = Spread::of((1..=5000).map(f64::from).collect()).cumulative(100);
        assert!(curve.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1));
        assert_eq!(Some(&(5000.0, 100.0)), curve.last());
        assert!(Spread::default().cumulative(100).is_empty());
    }
}
