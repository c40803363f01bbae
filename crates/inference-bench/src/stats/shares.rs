//! Shares: so many successes of so many.

use super::bootstrap::Interval;

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Returns an interval for the true share behind `successes` of `n`, at 95 % confidence.
///
/// Ten of ten prove no more than 72 %: the interval says so where the share itself says 100 %.
///
/// Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
///
/// # Panics
///
/// When there are more successes than trials.
#[must_use]
pub fn share_interval(successes: u64, n: u64) -> Interval {
    assert!(successes <= n, "{successes} successes of {n}");
    if n == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let (n, share) = (n as f64, successes as f64 / n as f64);
    let center = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    Interval { low: ((center - half) / scale).max(0.0), high: ((center + half) / scale).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_of_ten_prove_seventy_two_percent() {
        let interval = share_interval(10, 10);
        assert!((0.72..0.73).contains(&interval.low), "{interval:?}");
        assert!(0.999 < interval.high);
    }

    #[test]
    fn nothing_proves_nothing() {
        assert_eq!(Interval { low: 0.0, high: 1.0 }, share_interval(0, 0));
    }
}
