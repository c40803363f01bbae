//! A line of waiters by the number of their ticket.

use std::collections::VecDeque;

/// How many places of those who left may stay, beyond as many as there are waiters.
const GAPS_MIN: usize = 16;

/// Those who wait, lowest number first.
///
/// Nearly all join at the end and leave from the head, and for them it is a ring without an allocation
/// per waiter. Who gives up leaves a gap behind, so that a crowd that gives up in any order takes no
/// time that grows with the line; gaps are closed once they are more than the waiters.
#[derive(Debug)]
pub(super) struct Line<W> {
    /// By number. Neither the first nor the last is a gap.
    places: VecDeque<(u64, Option<W>)>,
    waiting: usize,
}

impl<W> Default for Line<W> {
    fn default() -> Self {
        Self { places: VecDeque::new(), waiting: 0 }
    }
}

impl<W> Line<W> {
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// The number of the first in line.
    pub(super) fn first(&self) -> Option<u64> {
        self.places.front().map(|(number, _)| *number)
    }

    /// The number and the waiter behind `ahead` others.
    pub(super) fn nth(&self, ahead: usize) -> Option<(u64, &W)> {
        if self.places.len() == self.waiting {
            return self.places.get(ahead).and_then(live);
        }
        self.places.iter().filter_map(live).nth(ahead)
    }

    /// The waiter of this number.
    pub(super) fn get(&self, number: u64) -> Option<&W> {
        let place = self.position(number).ok()?;
        self.places[place].1.as_ref()
    }

    /// How many wait with a number of at least `from` and below `to`; counts up to `enough`.
    pub(super) fn count(&self, from: u64, to: u64, enough: usize) -> usize {
        let begin = self.position(from).unwrap_or_else(|place| place);
        let range = self.places.range(begin..).take_while(|(number, _)| *number < to);
        range.filter_map(live).take(enough).count()
    }

    /// Lets one join. A number that is already in line is not asked for.
    #[inline(always)]
    pub(super) fn insert(&mut self, number: u64, waiter: W) {
        self.waiting += 1;
        let is_last = self.places.back().is_none_or(|(last, _)| *last < number);
        if is_last {
            return self.places.push_back((number, Some(waiter)));
        }
        match self.position(number) {
            Ok(gap) => self.places[gap].1 = Some(waiter),
            Err(place) => self.places.insert(place, (number, Some(waiter))),
        }
    }

    /// Takes the first out of the line.
    #[inline(always)]
    pub(super) fn pop_first(&mut self) -> Option<W> {
        let (_, waiter) = self.places.pop_front()?;
        self.waiting -= 1;
        self.trim();
        waiter
    }

    /// Takes the one of this number out of the line.
    pub(super) fn remove(&mut self, number: u64) -> Option<W> {
        let place = self.position(number).ok()?;
        let waiter = self.places[place].1.take()?;
        self.waiting -= 1;
        self.trim();
        Some(waiter)
    }

    /// Takes all out of the line, in order.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = W> + use<W> {
        std::mem::take(self).places.into_iter().filter_map(|(_, waiter)| waiter)
    }

    fn position(&self, number: u64) -> Result<usize, usize> {
        self.places.binary_search_by_key(&number, |(number, _)| *number)
    }

    /// Keeps both ends free of gaps, and gaps fewer than waiters.
    fn trim(&mut self) {
        if self.places.len() != self.waiting {
            self.trim_gaps();
        }
    }

    fn trim_gaps(&mut self) {
        while self.places.front().is_some_and(|(_, waiter)| waiter.is_none()) {
            self.places.pop_front();
        }
        while self.places.back().is_some_and(|(_, waiter)| waiter.is_none()) {
            self.places.pop_back();
        }
        if 2 * self.waiting + GAPS_MIN < self.places.len() {
            self.places.retain(|(_, waiter)| waiter.is_some());
        }
    }
}

fn live<W>((number, waiter): &(u64, Option<W>)) -> Option<(u64, &W)> {
    waiter.as_ref().map(|waiter| (*number, waiter))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against an ordered map, which has no gaps.
        #[test]
        fn it_is_an_ordered_map(calls in prop::collection::vec((0..4_u8, 0..60_u64), 0..200)) {
            let (mut line, mut map) = (Line::default(), BTreeMap::new());
            for (call, number) in calls {
                match call {
                    0 | 1 if !map.contains_key(&number) => {
                        line.insert(number, number);
                        map.insert(number, number);
                    }
                    2 => prop_assert_eq!(map.remove(&number), line.remove(number)),
                    3 => prop_assert_eq!(map.pop_first().map(|first| first.1), line.pop_first()),
                    _ => {}
                }
                let ahead = number as usize / 4;
                prop_assert_eq!((map.len(), map.is_empty()), (line.len(), line.is_empty()));
                prop_assert_eq!(map.keys().next().copied(), line.first());
                prop_assert_eq!(map.get(&number), line.get(number));
                let nth = map.iter().nth(ahead).map(|(number, waiter)| (*number, waiter));
                prop_assert_eq!(nth, line.nth(ahead));
                let count = map.range(number..number + 9).take(5).count();
                prop_assert_eq!(count, line.count(number, number + 9, 5));
                prop_assert!(line.places.len() <= 2 * map.len() + GAPS_MIN);
            }
            prop_assert_eq!(map.into_values().collect::<Vec<_>>(), line.take_all().collect::<Vec<_>>());
        }
    }
}
