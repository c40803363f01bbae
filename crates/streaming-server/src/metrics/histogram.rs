//! Counts by size.

use std::sync::atomic::{AtomicU64, Ordering};

/// The most bounds that a histogram has.
const BOUNDS_MAX: usize = 24;

/// Counts of what was observed, by size. The bounds are fixed; observing is two additions.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// Inclusive upper bounds in the unit observed, ascending.
    bounds: Vec<u64>,
    /// Units observed in one unit told: nanoseconds become seconds.
    scale: f64,
    /// One more than there are bounds.
    counts: [AtomicU64; BOUNDS_MAX + 1],
    sum: AtomicU64,
}

impl Histogram {
    /// Observes nanoseconds, from 10 µs to 10 s, told as seconds: for what should take no time.
    pub(crate) fn microseconds() -> Self {
        let bounds = steps(10_000, 10_000_000_000);
        Self::new(bounds, 1e9)
    }

    /// Observes nanoseconds, from 1 ms to 1000 s, told as seconds.
    pub(crate) fn seconds() -> Self {
        Self::new(steps(1_000_000, 1_000_000_000_000), 1e9)
    }

    /// Observes counts, from 1 to a million.
    pub(crate) fn powers_of_two() -> Self {
        Self::new((0..=20).map(|power| 1 << power).collect(), 1.0)
    }

    fn new(bounds: Vec<u64>, scale: f64) -> Self {
        assert!(bounds.len() <= BOUNDS_MAX, "{} bounds of {BOUNDS_MAX}", bounds.len());
        Self {
            bounds,
            scale,
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            sum: AtomicU64::new(0),
        }
    }

    pub(crate) fn observe(&self, value: u64) {
        self.observe_times(value, 1);
    }

    /// Observes the same value several times.
    pub(crate) fn observe_times(&self, value: u64, times: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(times, Ordering::Relaxed);
        self.sum.fetch_add(value.wrapping_mul(times), Ordering::Relaxed);
    }

    /// For each bound how many were at most so large, the last being `+Inf`.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (String, u64)> {
        let bounds = self.bounds.iter().map(|bound| (*bound as f64 / self.scale).to_string());
        let counts = self.counts.iter().scan(0, |total, count| {
            *total += count.load(Ordering::Relaxed);
            Some(*total)
        });
        bounds.chain(["+Inf".to_owned()]).zip(counts)
    }

    /// How many were observed, and their sum.
    pub(crate) fn totals(&self) -> (u64, f64) {
        let count = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        (count, self.sum.load(Ordering::Relaxed) as f64 / self.scale)
    }
}

/// 1, 2.5 and 5 of each power of ten.
fn steps(from: u64, to: u64) -> Vec<u64> {
    let powers = std::iter::successors(Some(from), |power| power.checked_mul(10));
    let all = powers.flat_map(|power| [power, power * 5 / 2, power * 5]);
    all.take_while(|bound| *bound <= to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_counts_cumulative() {
        let histogram = Histogram::powers_of_two();
        for value in [0, 1, 2, 3, u64::MAX / 2] {
            histogram.observe(value);
        }
        let counts: Vec<_> = histogram.cumulative().collect();
        assert_eq!(("1".to_owned(), 2), counts[0]);
        assert_eq!(("2".to_owned(), 3), counts[1]);
        assert_eq!(("4".to_owned(), 4), counts[2]);
        assert_eq!(("+Inf".to_owned(), 5), *counts.last().unwrap());
    }

    #[test]
    fn nanoseconds_are_told_as_seconds() {
        let histogram = Histogram::seconds();
        histogram.observe_times(250_000_000, 2);
        assert_eq!((2, 0.5), histogram.totals());
        assert!(histogram.cumulative().any(|row| row == ("0.25".to_owned(), 2)));
    }
}
