//! What a limit has done so far.

use std::time::Duration;

/// Counts and waits of one limit, what its children did through it included.
///
/// Nothing is counted while a limiter is unlimited: it then takes no lock. Counts stop at 2⁶⁴ − 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests granted, at once or after a wait.
    pub granted: u64,
    /// Tokens granted, before any of them were given back.
    pub granted_tokens: u64,
    /// Tokens given back unused.
    pub given_back_tokens: u64,
    /// Requests granted after a wait; their waits are in [`Stats::waits`].
    pub waited: u64,
    /// Requests given up while they waited.
    pub canceled: u64,
    /// Requests waiting now.
    pub waiting: u64,
    /// Tokens that those ask for.
    pub waiting_tokens: u64,
    /// Tokens in the bucket now.
    pub available_tokens: u64,
    /// Tokens by which requests larger than the burst have overdrawn the bucket, now.
    pub debt_tokens: u64,
    /// How long the granted requests that waited did wait.
    pub waits: WaitHistogram,
}

/// The number of buckets of a [`WaitHistogram`]: the last holds all waits from 2³⁸ µs, three days, on.
const BUCKETS: usize = 40;

/// How long requests waited, in buckets of doubling width from 1 µs on.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use limiter::WaitHistogram;
///
/// let mut waits = WaitHistogram::default();
/// for millis in 1..=100 {
///     waits.record(Duration::from_millis(millis));
/// }
/// assert_eq!(100, waits.count());
/// let p50 = waits.quantile(0.5).expect("there are waits");
/// assert!(Duration::from_millis(50) <= p50 && p50 <= Duration::from_millis(100));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitHistogram {
    counts: [u64; BUCKETS],
}

impl WaitHistogram {
    /// Counts one wait.
    pub fn record(&mut self, wait: Duration) {
        let micros = wait.as_micros();
        let bucket = (u128::BITS - micros.leading_zeros()) as usize;
        let count = &mut self.counts[bucket.min(BUCKETS - 1)];
        *count = count.saturating_add(1);
    }

    /// Returns the number of waits.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Returns a bound that this share of the waits, 0 to 1, does not exceed: at most twice the true
    /// quantile, or 1 µs. `None` without waits, and when the quantile is three days or more.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (share.clamp(0.0, 1.0) * self.count() as f64).ceil().max(1.0);
        let mut seen = 0_u64;
        let bucket = self.counts.iter().position(|count| {
            seen = seen.saturating_add(*count);
            rank <= seen as f64
        })?;
        (bucket < BUCKETS - 1).then(|| Duration::from_micros(1 << bucket))
    }

    /// Returns each bucket's upper bound, not included, and its count; the last has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> + '_ {
        self.counts.iter().enumerate().map(|(bucket, count)| {
            let bound = (bucket < BUCKETS - 1).then(|| Duration::from_micros(1 << bucket));
            (bound, *count)
        })
    }
}

impl Default for WaitHistogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_fall_into_doubling_buckets() {
        let mut waits = WaitHistogram::default();
        waits.record(Duration::ZERO);
        waits.record(Duration::from_nanos(999));
        waits.record(Duration::from_micros(1));
        waits.record(Duration::from_micros(3));
        waits.record(Duration::from_micros(4));
        waits.record(Duration::MAX);
        let counts: Vec<u64> = waits.buckets().map(|(_, count)| count).collect();
        assert_eq!([2, 1, 1, 1], counts[..4]);
        assert_eq!(1, counts[BUCKETS - 1]);
    }

    #[test]
    fn quantiles_are_bounds() {
        let mut waits = WaitHistogram::default();
        assert_eq!(None, waits.quantile(0.5));
        for micros in [3, 3, 3, 100] {
            waits.record(Duration::from_micros(micros));
        }
        assert_eq!(Some(Duration::from_micros(4)), waits.quantile(0.75));
        assert_eq!(Some(Duration::from_micros(128)), waits.quantile(1.0));
        waits.record(Duration::MAX);
        assert_eq!(None, waits.quantile(1.0));
    }
}
