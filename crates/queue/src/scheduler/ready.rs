//! The keys that may start a job now, and whose turn it is.

/// The place of a key among those that may start a job; the least is next.
///
/// By the class that its best job counts as, then by the round in which it is its turn in the ring of
/// that class, then by its stamp, which no two keys have the same. All three lie in one number, since
/// places are compared more often than anything else: 8 bits, 64, and 56, enough for a turn per
/// nanosecond for two years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u128);

impl Place {
    pub(super) fn new(class: u8, round: u64, stamp: u64) -> Self {
        Self(u128::from(class) << 120 | u128::from(round) << 56 | u128::from(stamp))
    }

    pub(super) fn class(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    pub(super) fn round(self) -> u64 {
        // The class is shifted out of the 64 bits.
        (self.0 >> 56) as u64
    }
}

/// The ready lanes by place: a heap that knows where each lane lies in it, so that a lane moves
/// without being searched. (An ordered map would allocate on each start of a lone key.)
#[derive(Debug, Default)]
pub(super) struct Ready {
    heap: Vec<(Place, u32)>,
    /// Position in the heap by lane; [`ABSENT`] for lanes that are not ready.
    positions: Vec<u32>,
}

const ABSENT: u32 = u32::MAX;

/// Children of a node. Four make the heap half as deep as two, and lie in two lines of the cache: the
/// lane that was just served goes from the top to the bottom each time.
const CHILDREN: usize = 4;

impl Ready {
    /// The lane whose turn it is.
    pub(super) fn first(&self) -> Option<(Place, u32)> {
        self.heap.first().copied()
    }

    /// Whether other lanes are ready in the class of the first.
    pub(super) fn first_has_rivals(&self) -> bool {
        let Some((first, _)) = self.heap.first() else { return false };
        // The second best is a child of the best.
        self.least_child(0).is_some_and(|second| self.heap[second].0.class() == first.class())
    }

    /// Puts a lane at its place, from wherever it was.
    pub(super) fn place(&mut self, lane: u32, place: Place) {
        let index = lane as usize;
        if self.positions.len() <= index {
            self.positions.resize(index + 1, ABSENT);
        }
        let position = match self.position(lane) {
            Some(position) => {
                self.heap[position].0 = place;
                position
            }
            None => {
                self.heap.push((place, lane));
                self.heap.len() - 1
            }
        };
        self.sift(position);
    }

    /// Takes a lane out, if it is in.
    pub(super) fn remove(&mut self, lane: u32) {
        let Some(position) = self.position(lane) else { return };
        self.positions[lane as usize] = ABSENT;
        self.heap.swap_remove(position);
        if position < self.heap.len() {
            self.sift(position);
        }
    }

    fn position(&self, lane: u32) -> Option<usize> {
        let position = self.positions.get(lane as usize).copied().filter(|at| *at != ABSENT)?;
        Some(position as usize)
    }

    /// Moves the entry at `position` up or down to where it belongs.
    fn sift(&mut self, mut position: usize) {
        let entry = self.heap[position];
        while 0 < position && entry < self.heap[(position - 1) / CHILDREN] {
            let parent = (position - 1) / CHILDREN;
            self.put(position, self.heap[parent]);
            position = parent;
        }
        while let Some(child) = self.least_child(position).filter(|at| self.heap[*at] < entry) {
            self.put(position, self.heap[child]);
            position = child;
        }
        self.put(position, entry);
    }

    fn least_child(&self, position: usize) -> Option<usize> {
        let first = CHILDREN * position + 1;
        let end = (first + CHILDREN).min(self.heap.len());
        let children = self.heap.get(first..end)?.iter().enumerate();
        let (offset, _) = children.min_by_key(|(_, (place, _))| *place)?;
        Some(first + offset)
    }

    fn put(&mut self, position: usize, entry: (Place, u32)) {
        self.heap[position] = entry;
        let position = u32::try_from(position).expect("there are fewer lanes than jobs");
        self.positions[entry.1 as usize] = position;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_are_ordered_by_class_then_round_then_stamp() {
        let ordered = [(0, 0, 9), (0, 1, 8), (0, u64::MAX, 1), (1, 0, 7), (255, 3, 0)];
        let places = ordered.map(|(class, round, stamp)| Place::new(class, round, stamp));
        assert!(places.is_sorted());
        for ((class, round, _), place) in ordered.into_iter().zip(places) {
            assert_eq!((class, round), (place.class(), place.round()));
        }
    }

    proptest! {
        #[test]
        fn the_first_is_the_least_of_an_ordered_map(
            moves in prop::collection::vec((0_u32..20, prop::option::of(0_u64..50)), 1..200)
        ) {
            let mut ready = Ready::default();
            let mut places = BTreeMap::new();
            for (lane, to) in moves {
                if let Some(round) = to {
                    places.insert(lane, Place::new(0, round, lane.into()));
                    ready.place(lane, places[&lane]);
                } else {
                    places.remove(&lane);
                    ready.remove(lane);
                }
                let least = places.iter().map(|(lane, place)| (*place, *lane)).min();
                prop_assert_eq!(least, ready.first());
            }
        }
    }
}
