//! The keys that may start a job now, and whose turn it is.

use std::collections::BTreeSet;

/// The place of a key among those that may start a job; the least is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// What its best job counts as now.
    pub(super) class: u8,
    /// When it is its turn in the ring of that class.
    pub(super) round: u64,
    /// Its place within the round; no two keys have the same.
    pub(super) stamp: u64,
}

/// Where a ready key stands, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) place: Place,
    /// When its best job will count as a better class; none for class 0.
    pub(super) better_at_ns: Option<u64>,
}

/// The ready lanes by place: a binary heap that knows where each lane lies in it, so that a lane
/// moves without being searched. (An ordered map would allocate on each start of a lone key.)
#[derive(Debug, Default)]
pub(super) struct Ready {
    heap: Vec<(Place, u32)>,
    /// Position in the heap by lane; [`ABSENT`] for lanes that are not ready.
    positions: Vec<u32>,
    /// Lanes by the instant of their next better class.
    promotions: BTreeSet<(u64, u32)>,
}

const ABSENT: u32 = u32::MAX;

impl Ready {
    /// The lane whose turn it is.
    pub(super) fn first(&self) -> Option<(Place, u32)> {
        self.heap.first().copied()
    }

    /// A lane whose best job counts as a better class since `now_ns` or earlier.
    pub(super) fn due(&self, now_ns: u64) -> Option<u32> {
        let (at_ns, lane) = *self.promotions.first()?;
        (at_ns <= now_ns).then_some(lane)
    }

    /// Moves a lane from where it stood to where it stands.
    pub(super) fn change(&mut self, lane: u32, old: Option<Standing>, new: Option<Standing>) {
        let promotion = |standing: Option<Standing>| Some((standing?.better_at_ns?, lane));
        if promotion(old) != promotion(new) {
            promotion(old).map(|old| self.promotions.remove(&old));
            promotion(new).map(|new| self.promotions.insert(new));
        }
        match new {
            Some(standing) => self.place(lane, standing.place),
            None => self.remove(lane),
        }
    }

    fn place(&mut self, lane: u32, place: Place) {
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

    fn remove(&mut self, lane: u32) {
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
        while 0 < position && entry < self.heap[(position - 1) / 2] {
            self.put(position, self.heap[(position - 1) / 2]);
            position = (position - 1) / 2;
        }
        while let Some(child) = self.lesser_child(position).filter(|at| self.heap[*at] < entry) {
            self.put(position, self.heap[child]);
            position = child;
        }
        self.put(position, entry);
    }

    fn lesser_child(&self, position: usize) -> Option<usize> {
        let left = 2 * position + 1;
        let right = left + 1;
        if self.heap.len() <= left {
            return None;
        }
        let right_is_lesser = right < self.heap.len() && self.heap[right] < self.heap[left];
        Some(if right_is_lesser { right } else { left })
    }

    fn put(&mut self, position: usize, entry: (Place, u32)) {
        self.heap[position] = entry;
        let lane = entry.1 as usize;
        if self.positions.len() <= lane {
            self.positions.resize(lane + 1, ABSENT);
        }
        self.positions[lane] = u32::try_from(position).expect("there are fewer lanes than jobs");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn standing(class: u8, stamp: u64) -> Standing {
        let better_at_ns = (0 < class).then_some(100 * u64::from(class) + stamp);
        Standing { place: Place { class, round: 0, stamp }, better_at_ns }
    }

    proptest! {
        #[test]
        fn the_first_is_the_least_of_an_ordered_map(
            moves in prop::collection::vec((0_u32..20, prop::option::of((0_u8..3, 0_u64..50))), 1..200)
        ) {
            let mut ready = Ready::default();
            let mut standings = BTreeMap::new();
            for (lane, to) in moves {
                let new = to.map(|(class, stamp)| standing(class, stamp));
                let old = match new {
                    Some(new) => standings.insert(lane, new),
                    None => standings.remove(&lane),
                };
                ready.change(lane, old, new);
                let least = standings.iter().map(|(lane, standing)| (standing.place, *lane)).min();
                prop_assert_eq!(least, ready.first());
                let due = standings.iter().filter_map(|(lane, s)| Some((s.better_at_ns?, *lane)));
                prop_assert_eq!(due.min().map(|(_, lane)| lane), ready.due(u64::MAX));
            }
        }
    }
}
