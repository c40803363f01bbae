//! What the model knows of its places and callers.

use std::time::Instant;

use pool::SlotId;

use super::{KEYS, Key, Phase, Place, World};

impl World {
    pub(super) fn is_timed(&self) -> bool {
        self.options.idle_timeout.is_some() || self.options.lifetime_max.is_some()
    }

    pub(super) fn deadline(&self, place: &Place) -> Option<Instant> {
        let Phase::Idle { since } = place.phase else { return None };
        let idle_until = self.options.idle_timeout.map(|timeout| since + timeout);
        [idle_until, place.expires_at].into_iter().flatten().min()
    }

    pub(super) fn is_expired(&self, place: &Place) -> bool {
        self.is_past(self.deadline(place))
    }

    pub(super) fn is_past(&self, instant: Option<Instant>) -> bool {
        instant.is_some_and(|at| at <= self.now)
    }

    /// The tickets of all callers for whom a connect could begin if only the total cap allowed it.
    pub(super) fn wanting(&self) -> Vec<u64> {
        let mut tickets = Vec::new();
        for key in 0..KEYS {
            let covered = self.count_of(key, |phase| matches!(phase, Phase::Connecting));
            let room = self.options.connections_per_key_max.saturating_sub(self.live_of(key));
            let callers = self.callers.iter().filter(|caller| caller.key == key);
            tickets.extend(callers.skip(covered).take(room).map(|caller| caller.ticket.number));
        }
        tickets
    }

    pub(super) fn live(&self) -> usize {
        self.places.len()
    }

    pub(super) fn live_of(&self, key: Key) -> usize {
        self.count_of(key, |_| true)
    }

    pub(super) fn idle_of(&self, key: Key) -> usize {
        self.count_of(key, |phase| matches!(phase, Phase::Idle { .. }))
    }

    pub(super) fn count(&self, is_counted: impl Fn(Phase) -> bool) -> usize {
        self.places.iter().filter(|place| is_counted(place.phase)).count()
    }

    pub(super) fn count_of(&self, key: Key, is_counted: impl Fn(Phase) -> bool) -> usize {
        let of_key = self.places.iter().filter(|place| place.key == key);
        of_key.filter(|place| is_counted(place.phase)).count()
    }

    pub(super) fn nth_place(&self, nth: usize, is_meant: impl Fn(Phase) -> bool) -> Option<usize> {
        let meant: Vec<_> =
            (0..self.places.len()).filter(|&at| is_meant(self.places[at].phase)).collect();
        Some(meant[nth.checked_rem(meant.len())?])
    }

    pub(super) fn index(&self, slot: SlotId) -> usize {
        self.places.iter().position(|place| place.slot == slot).expect("a known place")
    }

    pub(super) fn place(&self, slot: SlotId) -> &Place {
        &self.places[self.index(slot)]
    }
}
