//! Who is due next.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::arena::Id;

/// Keys by instant. Entries that come in order, as those of equal intervals do, cost no heap.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    in_order: VecDeque<(u64, Id)>,
    others: BinaryHeap<Reverse<(u64, u64)>>,
    /// The keys of `others`, by the number that stands there.
    keys: Vec<Id>,
    free: Vec<u64>,
}

impl Calendar {
    pub(super) fn push(&mut self, due_ns: u64, key: Id) {
        if self.in_order.back().is_none_or(|(last_ns, _)| *last_ns <= due_ns) {
            self.in_order.push_back((due_ns, key));
            return;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.keys.push(key);
            self.keys.len() as u64 - 1
        });
        self.keys[number as usize] = key;
        self.others.push(Reverse((due_ns, number)));
    }

    /// The earliest instant.
    pub(super) fn first_ns(&self) -> Option<u64> {
        let in_order = self.in_order.front().map(|(due_ns, _)| *due_ns);
        let other = self.others.peek().map(|Reverse((due_ns, _))| *due_ns);
        match (in_order, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Takes the earliest out, if it is due by `now_ns`.
    pub(super) fn pop_until(&mut self, now_ns: u64) -> Option<Id> {
        let first_ns = self.first_ns().filter(|first_ns| *first_ns <= now_ns)?;
        if self.in_order.front().is_some_and(|(due_ns, _)| *due_ns == first_ns) {
            return self.in_order.pop_front().map(|(_, key)| key);
        }
        let Reverse((_, number)) = self.others.pop()?;
        self.free.push(number);
        Some(self.keys[number as usize])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::arena::Arena;

    proptest! {
        #[test]
        fn what_is_earlier_comes_first(instants in proptest::collection::vec(0_u64..50, 0..40)) {
            let mut arena = Arena::default();
            let mut calendar = Calendar::default();
            for due_ns in &instants {
                calendar.push(*due_ns, arena.insert(*due_ns));
            }
            let mut sorted = instants.clone();
            sorted.sort_unstable();
            for expected in sorted {
                prop_assert_eq!(Some(expected), calendar.first_ns());
                prop_assert_eq!(None, expected.checked_sub(1).and_then(|ns| calendar.pop_until(ns)));
                let key = calendar.pop_until(expected).unwrap();
                prop_assert_eq!(Some(expected), arena.remove(key));
            }
            prop_assert_eq!(None, calendar.pop_until(u64::MAX));
        }
    }
}
