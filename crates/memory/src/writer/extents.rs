//! Which bytes of a file are there: a set of ranges. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges that neither touch nor overlap; memory grows with the gaps between them, not with the bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Extents {
    /// Start to end.
    ranges: BTreeMap<u64, u64>,
}

impl Extents {
    /// Adds a range; what is there already stays.
    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        while let Some((&other_start, &other_end)) = self.ranges.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            self.ranges.remove(&other_start);
            start = start.min(other_start);
            end = end.max(other_end);
        }
        self.ranges.insert(start, end);
    }

    /// The first byte that is missing.
    pub(super) fn missing_from(&self) -> u64 {
        self.ranges.get(&0).copied().unwrap_or(0)
    }

    /// The end of the last range.
    pub(super) fn end(&self) -> u64 {
        self.ranges.last_key_value().map_or(0, |(_, &end)| end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_set_of_its_bytes(ranges in prop::collection::vec((0_u64..60, 0_u64..20), 0..12)) {
            let mut extents = Extents::default();
            let mut bytes = [false; 100];
            for (start, len) in ranges {
                extents.insert(start..start + len);
                bytes[start as usize..(start + len) as usize].fill(true);
            }
            let missing = bytes.iter().position(|there| !there).unwrap() as u64;
            prop_assert_eq!(missing, extents.missing_from());
            let end = bytes.iter().rposition(|&there| there).map_or(0, |last| last as u64 + 1);
            prop_assert_eq!(end, extents.end());
            let mut before = None;
            for (&start, &end) in &extents.ranges {
                prop_assert!(start < end && before.is_none_or(|before| before < start));
                prop_assert!(bytes[start as usize..end as usize].iter().all(|&there| there));
                before = Some(end);
            }
            let sum: u64 = extents.ranges.iter().map(|(start, end)| end - start).sum();
            prop_assert_eq!(bytes.iter().filter(|&&there| there).count() as u64, sum);
        }
    }
}
