//! The calls of [`Slots`] that concern a whole key or the whole pool.

use std::hash::Hash;
use std::time::Instant;

use super::lane::Waiter;
use super::{Command, Slots, sooner};
use crate::stats::{CloseReason, Stats};

impl<K: Clone + Eq + Hash, T, W, P: Clone> Slots<K, T, W, P> {
    /// Closes all idle connections that are too long idle or too old. Returns the instant at which the
    /// next one will be, or `None` if none is idle or nothing limits them.
    pub fn sweep(&mut self, now: Instant) -> Option<Instant> {
        let mut next = self.idle.oldest();
        let mut earliest = None;
        while let Some(index) = next {
            next = self.idle_links.after(index);
            match self.expired(index, now) {
                Some(reason) => self.close_idle(index, reason),
                None => earliest = sooner(earliest, self.deadline(index)),
            }
        }
        earliest
    }

    /// Sees to it that no connection of `key` that is open or being opened now is lent to a later
    /// caller: idle ones are closed, the others when they come back.
    pub fn drain(&mut self, key: &K) {
        let Some(lane) = self.lanes.find(key) else { return };
        self.lanes.get_mut(lane).epoch += 1;
        while let Some(index) = self.lanes.get(lane).idle.oldest() {
            self.close_idle(index, CloseReason::Drained);
        }
    }

    /// Closes the pool for good: all who wait are refused, idle connections are closed, the others when
    /// they come back.
    pub fn close(&mut self) {
        self.is_closed = true;
        for lane in self.lanes.numbers() {
            let waiters = &mut self.lanes.get_mut(lane).waiters;
            self.waiting -= waiters.len();
            let refused = waiters.take_all();
            self.refresh(lane);
            let refuse = |entry: Waiter<W, P>| Command::Refuse { waiter: entry.waiter };
            self.commands.extend(refused.map(refuse));
            self.lanes.tidy(lane);
        }
        while let Some(index) = self.idle.oldest() {
            self.close_idle(index, CloseReason::PoolClosed);
        }
    }

    /// Whether the pool was closed.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// How many callers wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many places are taken.
    pub fn live(&self) -> usize {
        self.live
    }

    /// What the pool holds and has done, over all keys.
    pub fn stats(&self) -> Stats {
        self.lanes.total()
    }

    /// The same key by key, for the keys with connections or callers and for the 1024 that had them last.
    pub fn stats_by_key(&self) -> impl Iterator<Item = (&K, Stats)> {
        self.lanes.iter().map(|lane| (&lane.key, lane.stats()))
    }

    /// Sets both caps. Lowered ones close idle connections at once, longest idle first, and others when
    /// they come back; nothing new begins until the live ones are below.
    ///
    /// # Panics
    ///
    /// When a cap is 0: nobody would ever be served.
    pub fn resize(&mut self, connections_max: usize, connections_per_key_max: usize) {
        self.options.connections_max = connections_max;
        self.options.connections_per_key_max = connections_per_key_max;
        self.options.check();
        let mut next = self.idle.oldest();
        while let Some(index) = next {
            next = self.idle_links.after(index);
            if self.over_cap(self.slots[index as usize].lane) {
                self.close_idle(index, CloseReason::CapLowered);
            }
        }
        for lane in self.lanes.numbers() {
            self.refresh(lane);
        }
        self.settle();
    }
}
