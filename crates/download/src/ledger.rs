//! Which bytes are here: a set of ranges that only grows.

use std::collections::BTreeMap;

use crate::range::ByteRange;

/// The bytes of an object that are written: disjoint ranges that do not touch.
///
/// Adding and asking cost the logarithm of the number of ranges; a download keeps them few, since parts
/// stay near each other.
///
/// # Examples
///
/// ```
/// use download::{ByteRange, Ledger};
///
/// let mut ledger = Ledger::default();
/// ledger.add(ByteRange::new(0, 10).unwrap());
/// ledger.add(ByteRange::new(20, 30).unwrap());
/// assert_eq!(10, ledger.frontier());
/// assert_eq!(Some(ByteRange::new(10, 20).unwrap()), ledger.next_gap(0, 100));
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ledger {
    /// End by start.
    ranges: BTreeMap<u64, u64>,
    bytes: u64,
}

impl Ledger {
    /// Adds a range; what is there already stays. Returns how many bytes are new.
    pub fn add(&mut self, range: ByteRange) -> u64 {
        let before = self.bytes;
        let (mut start, mut end) = (range.start(), range.end());
        // The neighbor to the left, if it reaches into the range or touches it.
        if let Some((&left, &left_end)) = self.ranges.range(..=start).next_back()
            && start <= left_end
        {
            start = left;
            end = end.max(left_end);
        }
        // All that begins within the range is swallowed.
        while let Some((&other, &other_end)) = self.ranges.range(start..=end).next() {
            end = end.max(other_end);
            self.bytes -= other_end - other;
            self.ranges.remove(&other);
        }
        self.ranges.insert(start, end);
        self.bytes += end - start;
        self.bytes - before
    }

    /// Returns the number of bytes that are here.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns how far the object is here without a gap, from its first byte on.
    #[must_use]
    pub fn frontier(&self) -> u64 {
        self.ranges.get(&0).copied().unwrap_or(0)
    }

    /// Whether all of the first `total` bytes are here.
    #[must_use]
    pub fn is_whole(&self, total: u64) -> bool {
        total <= self.frontier()
    }

    /// Whether all bytes of a range are here.
    #[must_use]
    pub fn contains(&self, range: ByteRange) -> bool {
        let left = self.ranges.range(..=range.start()).next_back();
        left.is_some_and(|(_, &end)| range.end() <= end)
    }

    /// Returns the first gap that begins at or after `from` and before `to`, cut at `to`.
    #[must_use]
    pub fn next_gap(&self, from: u64, to: u64) -> Option<ByteRange> {
        let covered =
            self.ranges.range(..=from).next_back().map_or(from, |(_, &end)| from.max(end));
        let next = self.ranges.range(covered..).next().map_or(to, |(&start, _)| start.min(to));
        ByteRange::new(covered, next)
    }

    /// Returns the ranges in order.
    pub fn ranges(&self) -> impl Iterator<Item = ByteRange> {
        self.ranges.iter().filter_map(|(&start, &end)| ByteRange::new(start, end))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A set of single bytes: slow, and obviously right.
    #[derive(Default)]
    struct Model {
        bytes: BTreeSet<u64>,
    }

    impl Model {
        fn add(&mut self, range: ByteRange) -> u64 {
            let before = self.bytes.len();
            self.bytes.extend(range.start()..range.end());
            (self.bytes.len() - before) as u64
        }

        fn frontier(&self) -> u64 {
            (0..).find(|byte| !self.bytes.contains(byte)).unwrap()
        }

        fn next_gap(&self, from: u64, to: u64) -> Option<ByteRange> {
            let start = (from..to).find(|byte| !self.bytes.contains(byte))?;
            let end = (start..to).find(|byte| self.bytes.contains(byte)).unwrap_or(to);
            ByteRange::new(start, end)
        }
    }

    fn ranges() -> impl Strategy<Value = Vec<ByteRange>> {
        let range = (0_u64..60, 1_u64..12).prop_map(|(start, n)| ByteRange::new(start, start + n));
        prop::collection::vec(range.prop_map(|range| range.expect("not empty")), 0..24)
    }

    proptest! {
        #[test]
        fn a_ledger_is_a_set_of_bytes(ranges in ranges(), from in 0_u64..80, to in 0_u64..80) {
            let (mut ledger, mut model) = (Ledger::default(), Model::default());
            for range in ranges {
                prop_assert_eq!(model.add(range), ledger.add(range));
                prop_assert!(ledger.contains(range));
            }
            prop_assert_eq!(model.bytes.len() as u64, ledger.bytes());
            prop_assert_eq!(model.frontier(), ledger.frontier());
            prop_assert_eq!(model.next_gap(from, to), ledger.next_gap(from, to));
            let ends: Vec<_> = ledger.ranges().collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].end() < pair[1].start()));
        }
    }

    #[test]
    fn nothing_is_whole_at_once() {
        assert!(Ledger::default().is_whole(0));
        assert!(!Ledger::default().is_whole(1));
    }
}
