//! How late tokens were, in bounded memory.

use std::time::Duration;

use serde_json::{Value, json};

/// Bits of a value that are kept: quantiles are exact to 1/32.
const KEPT_BITS: u32 = 5;
const BUCKETS: usize = (64 - KEPT_BITS as usize + 1) << KEPT_BITS;

/// How a token source kept its schedule. Lateness runs from a token's deadline to the reading of the
/// clock just before its write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lateness {
    /// Tokens emitted.
    pub tokens: u64,
    /// Half of them were at most so late; exact to 1/32, rounded up.
    pub p50: Duration,
    /// 99 of 100 were at most so late.
    pub p99: Duration,
    /// The latest.
    pub max: Duration,
    /// Streams that ended before their last token: the client left or did not read.
    pub cut_streams: u64,
}

impl Lateness {
    /// Renders them as `GET /_stats` does.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let micros = |duration: Duration| duration.as_nanos() as f64 / 1_000.0;
        json!({
            "emitted": self.tokens, "late_p50_us": micros(self.p50),
            "late_p99_us": micros(self.p99), "late_max_us": micros(self.max),
            "cut_streams": self.cut_streams,
        })
    }
}

/// Counts by logarithmic classes, each divided into 32.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    n: u64,
    max_ns: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], n: 0, max_ns: 0 }
    }

    pub(super) fn record(&mut self, late: Duration) {
        let nanos = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.n += 1;
        self.max_ns = self.max_ns.max(nanos);
    }

    pub(super) fn n(&self) -> u64 {
        self.n
    }

    pub(super) fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// Returns the upper end of the class in which the quantile lies; zero without records.
    pub(super) fn quantile(&self, q: f64) -> Duration {
        let rank = ((self.n as f64 * q).ceil() as u64).max(1);
        let mut below = 0;
        for (index, count) in self.counts.iter().enumerate() {
            below += count;
            if rank <= below {
                return Duration::from_nanos(upper_end(index).min(self.max_ns));
            }
        }
        Duration::ZERO
    }
}

fn bucket(nanos: u64) -> usize {
    let exponent = nanos.max(1).ilog2().saturating_sub(KEPT_BITS - 1);
    let class = if exponent == 0 { 0 } else { exponent - 1 };
    let mantissa = nanos >> class;
    // Below 32 the class is 0 and the mantissa the value; above, the mantissa is from 32 to 63.
    ((class as usize) << KEPT_BITS) + mantissa as usize
}

fn upper_end(index: usize) -> u64 {
    let class = (index >> KEPT_BITS).saturating_sub(1) as u32;
    let mantissa = index as u64 - (u64::from(class) << KEPT_BITS);
    ((mantissa + 1) << class) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn a_value_lies_below_the_end_of_its_class_by_a_32nd(nanos in 0_u64..(1 << 62)) {
            let end = upper_end(bucket(nanos));
            prop_assert!(nanos <= end && end - nanos <= nanos / 32, "{nanos} {end}");
        }
    }

    #[test]
    fn quantiles_are_by_rank() {
        let mut histogram = Histogram::new();
        assert_eq!(Duration::ZERO, histogram.quantile(0.5));
        (1..=100).for_each(|ns| histogram.record(Duration::from_nanos(ns)));
        let near = |q, expected: u64| {
            let ns = histogram.quantile(q).as_nanos() as u64;
            assert!(expected <= ns && ns <= expected + expected / 32 + 1, "{q} {ns}");
        };
        near(0.5, 50);
        near(0.99, 99);
        assert_eq!(Duration::from_nanos(100), histogram.quantile(1.0));
    }

    #[test]
    fn the_largest_values_have_a_class() {
        let mut histogram = Histogram::new();
        histogram.record(Duration::MAX);
        assert_eq!(1, histogram.n());
    }
}
