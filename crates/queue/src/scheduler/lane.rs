//! The jobs of one key.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;

use super::account::Account;
use super::line::Line;
use super::rank::Rank;
use super::ready::Place;
use crate::arena::Arena;

/// Where a ready lane stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) place: Place,
    /// The job that it stands there for; none if its place is to be found anew in any case.
    pub(super) head: Option<Rank>,
}

/// What a key has queued and what it may do.
#[derive(Debug)]
pub(super) struct Lane<K> {
    pub(super) key: K,
    pub(super) jobs: Line,
    pub(super) running: usize,
    /// Its own cap, if it has one.
    pub(super) cap: Option<usize>,
    pub(super) weight: NonZeroU32,
    pub(super) paused: bool,
    /// None while it has neither queued nor running jobs.
    pub(super) account: Option<Account>,
    /// Where it stands among the ready ones, if it is one of them.
    pub(super) standing: Option<Standing>,
    /// Its worst-ranked job, as the index of all worst-ranked jobs knows it.
    pub(super) indexed_worst: Option<Rank>,
}

impl<K> Lane<K> {
    fn new(key: K) -> Self {
        Self {
            key,
            jobs: Line::default(),
            running: 0,
            cap: None,
            weight: NonZeroU32::MIN,
            paused: false,
            account: None,
            standing: None,
            indexed_worst: None,
        }
    }

    /// Gives back what was paid for a job and not spent.
    pub(super) fn refund(&mut self, unspent: u64) {
        if let Some(account) = self.account.as_mut().filter(|_| 0 < unspent) {
            account.refund(unspent);
            if let Some(standing) = &mut self.standing {
                standing.head = None;
            }
        }
    }

    /// Its best job and the job's index, if it may start one: a key that is paused or at its cap keeps
    /// its jobs and their ranks, but stays out of everybody's way.
    pub(super) fn eligible_head(&self, key_cap: usize) -> Option<(Rank, u32)> {
        if self.paused || self.cap.unwrap_or(key_cap) <= self.running {
            return None;
        }
        self.jobs.best()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.running == 0
    }

    pub(super) fn has_settings(&self) -> bool {
        self.cap.is_some() || self.paused || self.weight != NonZeroU32::MIN
    }
}

/// All lanes, found by key and by index.
#[derive(Debug)]
pub(super) struct Lanes<K> {
    arena: Arena<Lane<K>>,
    by_key: HashMap<K, u32>,
}

impl<K: Clone + Eq + Hash> Lanes<K> {
    pub(super) fn new() -> Self {
        Self { arena: Arena::new(), by_key: HashMap::new() }
    }

    pub(super) fn find(&self, key: &K) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    pub(super) fn find_or_insert(&mut self, key: &K) -> u32 {
        if let Some(index) = self.find(key) {
            return index;
        }
        let index = self.arena.insert(Lane::new(key.clone()));
        self.by_key.insert(key.clone(), index);
        index
    }

    pub(super) fn remove(&mut self, index: u32) {
        let lane = self.arena.remove(index);
        self.by_key.remove(&lane.key);
    }

    pub(super) fn contains(&self, index: u32) -> bool {
        self.arena.get(index).is_some()
    }

    pub(super) fn at(&self, index: u32) -> &Lane<K> {
        self.arena.at(index)
    }

    pub(super) fn at_mut(&mut self, index: u32) -> &mut Lane<K> {
        self.arena.at_mut(index)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lane<K>> {
        self.arena.iter().map(|(_, lane)| lane)
    }
}
