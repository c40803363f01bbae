//! Settings of keys and of the whole, changed while jobs wait and run.

use std::hash::Hash;
use std::num::NonZeroU32;

use super::Scheduler;
use super::account::allowance;
use super::lane::Lane;

/// A key with settings is remembered even while it has no jobs, until [`reset_key`](Self::reset_key).
impl<K: Clone + Eq + Hash, J> Scheduler<K, J> {
    /// Lets at most `cap` jobs run at once. Where more run already, nothing starts until fewer do.
    pub fn set_cap(&mut self, cap: usize) {
        self.rules.cap = cap;
    }

    /// Lets at most `cap` jobs of a key run at once. Where more run already, none of them starts
    /// until fewer do; queued ones keep their ranks.
    pub fn set_key_cap(&mut self, key: &K, cap: usize) {
        self.change(key, |lane| lane.cap = Some(cap));
    }

    /// Gives a key `weight` times the share of a key of weight 1.
    pub fn set_weight(&mut self, key: &K, weight: NonZeroU32) {
        self.change(key, |lane| lane.weight = weight);
    }

    /// Starts no job of a key. Those that run go on; queued ones keep their ranks, and age.
    pub fn pause(&mut self, key: &K) {
        self.change(key, |lane| lane.paused = true);
    }

    /// Starts jobs of a paused key again.
    pub fn resume(&mut self, key: &K) {
        self.change(key, |lane| lane.paused = false);
    }

    /// Takes all settings of a key back: no cap of its own, weight 1, not paused.
    pub fn reset_key(&mut self, key: &K) {
        self.change(key, |lane| {
            lane.cap = None;
            lane.weight = NonZeroU32::MIN;
            lane.paused = false;
        });
    }

    fn change(&mut self, key: &K, change: impl FnOnce(&mut Lane<K>)) {
        let index = self.lanes.find_or_insert(key);
        let lane = self.lanes.at_mut(index);
        if let (Some(standing), Some(account)) = (&mut lane.standing, &mut lane.account) {
            // Rounds that are over count by the old weight, and the new one may change its place.
            let present = self.rounds.present(standing.place.class());
            account.collect(present, allowance(self.rules.quantum, lane.weight));
            standing.head = None;
        }
        change(lane);
        self.settle(index);
    }
}
