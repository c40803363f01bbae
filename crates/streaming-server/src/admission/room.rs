//! Who may wait: every key has places of its own, by weight, and some are for whoever comes first.

/// What one key has of the room.
#[derive(Debug)]
struct Line {
    own: u64,
    used: u64,
}

/// So much room for those who wait, in requests or in tokens.
///
/// Half of it is the keys' own, by weight, so that no key finds the room full of another's requests;
/// the other half is common, so that most of it is there for a key that is alone. (Complete sharing with
/// guaranteed minimums: Kamoun and Kleinrock, 1980.)
#[derive(Debug)]
pub(super) struct Room {
    lines: Vec<Line>,
    common: u64,
}

impl Room {
    /// Room for `capacity` in all, of keys with these weights; a lone one has all of it.
    pub(super) fn new(capacity: u64, weights: &[u32]) -> Self {
        let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
        let owned = if weights.len() == 1 { capacity } else { capacity / 2 };
        let own = |weight: &u32| {
            let share = u128::from(owned) * u128::from(*weight) / total.max(1);
            u64::try_from(share).expect("a share is not more than the whole")
        };
        let lines: Vec<Line> = weights.iter().map(|w| Line { own: own(w), used: 0 }).collect();
        let common = capacity - lines.iter().map(|line| line.own).sum::<u64>();
        Self { lines, common }
    }

    /// Whether there is room for so much of this key.
    pub(super) fn has(&self, line: usize, amount: u64) -> bool {
        let needed =
            |line: &Line, more: u64| line.used.saturating_add(more).saturating_sub(line.own);
        let others =
            |(at, other): (usize, &Line)| needed(other, if at == line { amount } else { 0 });
        let common = self.lines.iter().enumerate().map(others);
        // What the line itself has of its own needs none of the common room.
        needed(&self.lines[line], amount) == 0 || common.fold(0, u64::saturating_add) <= self.common
    }

    pub(super) fn enter(&mut self, line: usize, amount: u64) {
        let used = &mut self.lines[line].used;
        *used = used.saturating_add(amount);
    }

    pub(super) fn leave(&mut self, line: usize, amount: u64) {
        let used = &mut self.lines[line].used;
        *used = used.saturating_sub(amount);
    }

    /// Whether nothing of this key waits.
    pub(super) fn is_empty(&self, line: usize) -> bool {
        self.lines[line].used == 0
    }

    /// All that waits.
    pub(super) fn used(&self) -> u64 {
        self.lines.iter().map(|line| line.used).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Enters ones of a line for as long as there is room.
    fn fill(room: &mut Room, line: usize) -> u64 {
        let mut entered = 0;
        while room.has(line, 1) {
            room.enter(line, 1);
            entered += 1;
        }
        entered
    }

    #[test]
    fn a_lone_key_has_all() {
        assert_eq!(7, fill(&mut Room::new(7, &[3]), 0));
        assert_eq!(0, fill(&mut Room::new(0, &[3]), 0));
    }

    #[test]
    fn nobody_fills_what_is_the_others() {
        let mut room = Room::new(140, &[1, 2, 4]);
        // Its own 10 of 70, and the common 70.
        assert_eq!(80, fill(&mut room, 0));
        assert_eq!((20, 40), (fill(&mut room, 1), fill(&mut room, 2)));
        assert_eq!(140, room.used());
        room.leave(0, 5);
        assert!(room.has(2, 5) && !room.has(2, 6));
    }

    proptest! {
        #[test]
        fn the_room_holds_its_capacity_and_each_key_finds_its_share(
            capacity in 0_u64..200,
            weights in proptest::collection::vec(1_u32..10, 1..6),
            steps in proptest::collection::vec((any::<prop::sample::Index>(), 1_u64..20, any::<bool>()), 0..80),
        ) {
            let mut room = Room::new(capacity, &weights);
            let mut held = vec![0_u64; weights.len()];
            let total: u32 = weights.iter().sum();
            for (line, amount, leaves) in steps {
                let line = line.index(weights.len());
                if leaves {
                    let amount = amount.min(held[line]);
                    room.leave(line, amount);
                    held[line] -= amount;
                } else if room.has(line, amount) {
                    room.enter(line, amount);
                    held[line] += amount;
                } else {
                    let own = capacity / 2 * u64::from(weights[line]) / u64::from(total);
                    prop_assert!(own < held[line] + amount);
                }
                prop_assert!(held.iter().sum::<u64>() <= capacity);
                prop_assert_eq!(held.iter().sum::<u64>(), room.used());
            }
        }
    }
}
