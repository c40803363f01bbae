//! What is kept for one key: its waiters in order, its idle connections, its counts.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Instant;

use super::chain::Chain;
use super::line::Line;
use crate::stats::Stats;

/// How many keys without connections and callers keep their counts. The counts of the others go on in
/// the totals alone: a client that follows links meets keys without end.
const EMPTY_LANES_MAX: usize = 1024;

/// One caller in line.
#[derive(Debug)]
pub(super) struct Waiter<W, P> {
    pub(super) waiter: W,
    /// Where a connect on behalf of this caller runs.
    pub(super) place: P,
    pub(super) since: Instant,
}

/// One key's line.
#[derive(Debug)]
pub(super) struct Lane<K, W, P> {
    pub(super) key: K,
    /// Connections of an earlier epoch are not lent again: the key was drained since.
    pub(super) epoch: u32,
    /// Connects under way that serve whoever is first in line when they are done. They cover as many
    /// waiters from the head; only the others ask for more.
    pub(super) covering: usize,
    pub(super) idle: Chain,
    pub(super) waiters: Line<Waiter<W, P>>,
    /// Connects that could begin for this key if only the total cap allowed it.
    pub(super) demand: usize,
    /// The ticket of the first waiter that no connect covers, while there is demand.
    pub(super) next_up: Option<u64>,
    pub(super) stats: Stats,
    /// Whether it is among the empty ones, or was and waits to be looked at.
    is_listed: bool,
}

impl<K, W, P> Lane<K, W, P> {
    fn new(key: K) -> Self {
        Self {
            key,
            epoch: 0,
            covering: 0,
            idle: Chain::default(),
            waiters: Line::default(),
            demand: 0,
            next_up: None,
            stats: Stats::default(),
            is_listed: false,
        }
    }

    /// How many connects the waiters ask for who are not covered, with a cap of `connections_max`.
    pub(super) fn demand_within(&self, connections_max: usize) -> usize {
        let uncovered = self.waiters.len().saturating_sub(self.covering);
        uncovered.min(connections_max.saturating_sub(self.stats.live()))
    }

    /// Sets `demand`, and `next_up` with it.
    pub(super) fn set_demand(&mut self, demand: usize) {
        self.demand = demand;
        let next_up = || self.waiters.nth(self.covering).map(|(number, _)| number);
        self.next_up = if demand == 0 { None } else { next_up() };
    }

    /// How many of the connects that could begin are for tickets before `number`; counts up to `enough`.
    pub(super) fn demand_before(&self, number: u64, enough: usize) -> usize {
        let from = self.next_up.unwrap_or(number).min(number);
        self.waiters.count(from, number, self.demand.min(enough))
    }

    /// What it holds and has done.
    pub(super) fn stats(&self) -> Stats {
        Stats { waiting: self.waiters.len(), ..self.stats }
    }

    fn is_empty(&self) -> bool {
        self.waiters.is_empty() && self.stats.live() == 0
    }
}

/// All keys that matter, found by key or by number.
#[derive(Debug)]
pub(super) struct Lanes<K, W, P> {
    numbers: HashMap<K, u32>,
    lanes: Vec<Option<Lane<K, W, P>>>,
    free: Vec<u32>,
    /// Lanes that were empty when they were listed, longest ago first.
    empty: VecDeque<u32>,
    /// The counts of lanes that were forgotten.
    forgotten: Stats,
    /// The lane that was found last: most users ask for the same key again, and to compare is cheaper
    /// than to hash.
    recent: Option<u32>,
}

impl<K: Clone + Eq + Hash, W, P> Lanes<K, W, P> {
    pub(super) fn new() -> Self {
        Self {
            numbers: HashMap::new(),
            lanes: Vec::new(),
            free: Vec::new(),
            empty: VecDeque::new(),
            forgotten: Stats::default(),
            recent: None,
        }
    }

    pub(super) fn find(&mut self, key: &K) -> Option<u32> {
        let recent = self.recent.filter(|&number| self.get(number).key == *key);
        self.recent = recent.or_else(|| self.numbers.get(key).copied());
        self.recent
    }

    pub(super) fn find_or_open(&mut self, key: &K) -> u32 {
        if let Some(number) = self.find(key) {
            return number;
        }
        let lane = Some(Lane::new(key.clone()));
        let number = match self.free.pop() {
            Some(number) => {
                self.lanes[number as usize] = lane;
                number
            }
            None => {
                self.lanes.push(lane);
                u32::try_from(self.lanes.len() - 1).expect("keys are fewer than slots and waiters")
            }
        };
        self.numbers.insert(key.clone(), number);
        number
    }

    pub(super) fn get(&self, number: u32) -> &Lane<K, W, P> {
        self.lanes[number as usize].as_ref().expect("a numbered lane is open")
    }

    pub(super) fn get_mut(&mut self, number: u32) -> &mut Lane<K, W, P> {
        self.lanes[number as usize].as_mut().expect("a numbered lane is open")
    }

    pub(super) fn numbers(&self) -> Vec<u32> {
        self.numbers.values().copied().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lane<K, W, P>> {
        self.lanes.iter().flatten()
    }

    /// The sum over all keys, forgotten ones included.
    pub(super) fn total(&self) -> Stats {
        let mut total = self.forgotten;
        for lane in self.iter() {
            total += &lane.stats();
        }
        total
    }

    /// Lists the lane if it is empty, and forgets those that have been empty for longest.
    pub(super) fn tidy(&mut self, number: u32) {
        let lane = self.get_mut(number);
        if !lane.is_empty() || lane.is_listed {
            return;
        }
        lane.is_listed = true;
        self.empty.push_back(number);
        while EMPTY_LANES_MAX < self.empty.len() {
            let Some(oldest) = self.empty.pop_front() else { return };
            self.forget_if_empty(oldest);
        }
    }

    fn forget_if_empty(&mut self, number: u32) {
        let lane = self.get_mut(number);
        lane.is_listed = false;
        if !lane.is_empty() {
            return;
        }
        if let Some(lane) = self.lanes[number as usize].take() {
            self.forgotten += &lane.stats;
            self.numbers.remove(&lane.key);
            self.free.push(number);
            self.recent = None;
        }
    }
}
