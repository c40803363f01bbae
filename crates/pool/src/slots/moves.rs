//! The moves that the calls of [`Slots`] are made of.
//!
//! What a connection goes through that is handed on is inlined as a whole, here and in the shell, so that
//! it is written once where it ends up: nearly half of what these moves took was to wait for copies of
//! copies.

use std::hash::Hash;
use std::time::{Duration, Instant};

use super::{Command, Fate, Granted, Phase, Slot, SlotId, Slots, Ticket, sooner};
use crate::stats::{CloseReason, Stats};

impl<K: Clone + Eq + Hash, T, W, P: Clone> Slots<K, T, W, P> {
    /// Begins connects and evictions until there is room for nobody or nobody is in line.
    ///
    /// Evicted connections keep their place until they are closed, so no more of them are evicted than
    /// the callers in line need.
    pub(super) fn settle(&mut self) {
        if self.demand == 0 {
            return;
        }
        while let Some((_, &lane)) = self.line.first_key_value() {
            if self.live < self.options.connections_max {
                self.begin_connect(lane);
            } else if let Some(victim) = self.idle.oldest().filter(|_| self.closing < self.demand) {
                self.close_idle(victim, CloseReason::Evicted);
            } else {
                return;
            }
        }
    }

    /// Brings a lane's part in the line up to date after any change of its waiters or places.
    pub(super) fn refresh(&mut self, number: u32) {
        let lane = self.lanes.get_mut(number);
        let (demand_before, next_before) = (lane.demand, lane.next_up);
        let demand = lane.demand_within(self.options.connections_per_key_max);
        if demand == 0 && demand_before == 0 {
            return;
        }
        lane.set_demand(demand);
        self.demand = self.demand - demand_before + lane.demand;
        if lane.next_up != next_before {
            if let Some(ticket) = next_before {
                self.line.remove(&ticket);
            }
            if let Some(ticket) = lane.next_up {
                self.line.insert(ticket, number);
            }
        }
    }

    fn begin_connect(&mut self, number: u32) {
        let index = self.free.pop().unwrap_or_else(|| self.new_slot());
        let lane = self.lanes.get_mut(number);
        let next_up = lane.next_up.and_then(|ticket| lane.waiters.get(ticket));
        let place = next_up.expect("a lane in line has a next caller").place.clone();
        let slot = &mut self.slots[index as usize];
        slot.lane = number;
        slot.epoch = lane.epoch;
        slot.phase = Phase::Connecting;
        lane.covering += 1;
        lane.stats.connecting += 1;
        self.live += 1;
        let slot = SlotId::new(index, slot.generation);
        self.commands.push_back(Command::Connect { slot, key: lane.key.clone(), place });
        self.refresh(number);
    }

    fn new_slot(&mut self) -> u32 {
        let index = u32::try_from(self.slots.len()).expect("connections are fewer than 2^32");
        self.slots.push(Slot {
            generation: 0,
            lane: 0,
            epoch: 0,
            opened_at: None,
            expires_at: None,
            reused: false,
            waited: Duration::ZERO,
            waits_since: None,
            phase: Phase::Free,
        });
        index
    }

    /// Counts a connect as done and returns its lane.
    pub(super) fn opened(&mut self, index: u32, now: Instant, random: u32) -> u32 {
        let share = f64::from(random) / (f64::from(u32::MAX) + 1.0);
        let cut = self.options.lifetime_jitter.mul_f64(share);
        let lifetime = self.options.lifetime_max.map(|lifetime| lifetime.saturating_sub(cut));
        let slot = &mut self.slots[index as usize];
        slot.opened_at = Some(now);
        slot.expires_at = lifetime.and_then(|lifetime| now.checked_add(lifetime));
        let stats = &mut self.lanes.get_mut(slot.lane).stats;
        stats.connecting -= 1;
        stats.opened += 1;
        slot.lane
    }

    /// Takes in a connection, just opened or `reused`, with all that follows from it.
    #[inline(always)]
    pub(super) fn take_in(
        &mut self,
        index: u32,
        connection: T,
        now: Option<Instant>,
        reused: bool,
    ) -> Fate<T, W> {
        let number = self.slots[index as usize].lane;
        let fate = self.serve(index, connection, now, reused);
        // One who waited less asks for no more places, and a connection handed on makes no room.
        let is_handed_on = reused && matches!(fate, Fate::Handed { .. });
        if !is_handed_on || self.lanes.get(number).demand != 0 {
            self.refresh(number);
            self.settle();
        }
        fate
    }

    /// Closes the connection if it may not be lent again, else hands it to the first in line, else makes
    /// it idle.
    #[inline(always)]
    fn serve(
        &mut self,
        index: u32,
        connection: T,
        now: Option<Instant>,
        reused: bool,
    ) -> Fate<T, W> {
        let lane = self.slots[index as usize].lane;
        let first = self.lanes.get(lane).waiters.first();
        let outranked = || first.filter(|&first| reused && self.outranks(first)).is_some();
        let reason = match self.spent(index, now, reused || first.is_none()) {
            None if outranked() => Some(CloseReason::Evicted),
            reason => reason,
        };
        match (reason, first) {
            (Some(reason), _) => {
                self.begin_closing(index, connection, reason);
                Fate::Closing
            }
            (None, Some(_)) => self.hand(index, connection, now, reused),
            (None, None) => {
                self.make_idle(index, connection, now);
                Fate::Idle { until: self.deadline(index) }
            }
        }
    }

    /// Whether a caller of another key, who came before `ticket`, still needs a place.
    fn outranks(&self, ticket: u64) -> bool {
        if self.line.is_empty() {
            return false;
        }
        let mut older = 0;
        for (_, &lane) in self.line.range(..ticket) {
            let enough = self.closing + 1 - older;
            older += self.lanes.get(lane).demand_before(ticket, enough);
            if self.closing < older {
                return true;
            }
        }
        false
    }

    /// Why a connection that is not idle may not be lent. One just opened for a caller in line (not
    /// `is_checked`) serves it once, even if it is short-lived or its key was drained meanwhile.
    fn spent(&self, index: u32, now: Option<Instant>, is_checked: bool) -> Option<CloseReason> {
        let slot = &self.slots[index as usize];
        let is_past = |at: Instant| now.is_some_and(|now| at <= now);
        if self.is_closed {
            Some(CloseReason::PoolClosed)
        } else if self.over_cap(slot.lane) {
            Some(CloseReason::CapLowered)
        } else if is_checked && slot.epoch != self.lanes.get(slot.lane).epoch {
            Some(CloseReason::Drained)
        } else if is_checked && slot.expires_at.is_some_and(is_past) {
            Some(CloseReason::Lifetime)
        } else {
            None
        }
    }

    /// Whether more is live than the caps allow, what is closing already not counted.
    pub(super) fn over_cap(&self, lane: u32) -> bool {
        let stats = &self.lanes.get(lane).stats;
        self.options.connections_max < self.live - self.closing
            || self.options.connections_per_key_max < stats.live() - stats.closing
    }

    #[inline(always)]
    fn hand(
        &mut self,
        index: u32,
        connection: T,
        now: Option<Instant>,
        reused: bool,
    ) -> Fate<T, W> {
        let slot = &mut self.slots[index as usize];
        slot.phase = Phase::Leased;
        let lane = self.lanes.get_mut(slot.lane);
        let entry = lane.waiters.pop_first().expect("the caller looked before");
        self.waiting -= 1;
        let waited = now.map_or(Duration::ZERO, |now| now.saturating_duration_since(entry.since));
        let granted = self.lend(index, connection, reused, waited);
        if now.is_none() {
            self.slots[index as usize].waits_since = Some(entry.since);
            self.undated.push(index);
        }
        Fate::Handed { waiter: entry.waiter, granted }
    }

    fn make_idle(&mut self, index: u32, connection: T, now: Option<Instant>) {
        let slot = &mut self.slots[index as usize];
        slot.phase = Phase::Idle { connection, since: now };
        let lane = self.lanes.get_mut(slot.lane);
        lane.stats.idle += 1;
        self.lane_links.push(&mut lane.idle, index);
        self.idle_links.push(&mut self.idle, index);
    }

    pub(super) fn lend_idle(&mut self, index: u32, ticket: Ticket, now: Instant) -> Granted<T> {
        let connection = self.leave_idle(index);
        let waited = now.saturating_duration_since(ticket.since);
        self.lend(index, connection, true, waited)
    }

    #[inline(always)]
    fn lend(&mut self, index: u32, connection: T, reused: bool, waited: Duration) -> Granted<T> {
        let slot = &mut self.slots[index as usize];
        (slot.reused, slot.waited, slot.waits_since) = (reused, waited, None);
        let stats = &mut self.lanes.get_mut(slot.lane).stats;
        stats.leased += 1;
        stats.reused += u64::from(reused);
        stats.fresh += u64::from(!reused);
        stats.waits.record(waited);
        Granted { slot: self.id(index), connection, reused }
    }

    /// Takes back what [`Slots::lend`] counted.
    pub(super) fn uncount(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.waits_since = None;
        let Slot { reused, waited, .. } = *slot;
        let stats = self.stats_mut(index);
        stats.leased -= 1;
        stats.reused -= u64::from(reused);
        stats.fresh -= u64::from(!reused);
        stats.waits.forget(waited);
    }

    pub(super) fn close_idle(&mut self, index: u32, reason: CloseReason) {
        let connection = self.leave_idle(index);
        self.begin_closing(index, connection, reason);
    }

    /// Takes a connection out of the chains; its place is then as good as leased.
    fn leave_idle(&mut self, index: u32) -> T {
        let slot = &mut self.slots[index as usize];
        let lane = self.lanes.get_mut(slot.lane);
        self.lane_links.remove(&mut lane.idle, index);
        self.idle_links.remove(&mut self.idle, index);
        lane.stats.idle -= 1;
        match std::mem::replace(&mut slot.phase, Phase::Leased) {
            Phase::Idle { connection, .. } => connection,
            _ => unreachable!("only idle connections are in the chains"),
        }
    }

    pub(super) fn begin_closing(&mut self, index: u32, connection: T, reason: CloseReason) {
        self.slots[index as usize].phase = Phase::Closing(reason);
        self.stats_mut(index).closing += 1;
        self.closing += 1;
        self.commands.push_back(Command::Close { slot: self.id(index), connection, reason });
    }

    pub(super) fn count_discarded(&mut self, index: u32) {
        let stats = self.stats_mut(index);
        stats.leased -= 1;
        stats.discarded += 1;
    }

    /// The counts of the key that holds this place.
    pub(super) fn stats_mut(&mut self, index: u32) -> &mut Stats {
        &mut self.lanes.get_mut(self.slots[index as usize].lane).stats
    }

    /// Gives a place free, to whoever is next.
    pub(super) fn free(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.phase = Phase::Free;
        slot.waits_since = None;
        slot.generation = slot.generation.wrapping_add(1);
        let lane = slot.lane;
        self.free.push(index);
        self.live -= 1;
        self.refresh(lane);
        self.settle();
        self.lanes.tidy(lane);
    }

    /// Why an idle connection may not be lent any more.
    pub(super) fn expired(&self, index: u32, now: Instant) -> Option<CloseReason> {
        let slot = &self.slots[index as usize];
        let over = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if over(slot.expires_at) {
            Some(CloseReason::Lifetime)
        } else if over(self.idle_until(slot)) {
            Some(CloseReason::IdleTimeout)
        } else {
            None
        }
    }

    /// When an idle connection has to be closed.
    pub(super) fn deadline(&self, index: u32) -> Option<Instant> {
        let slot = &self.slots[index as usize];
        sooner(slot.expires_at, self.idle_until(slot))
    }

    fn idle_until(&self, slot: &Slot<T>) -> Option<Instant> {
        let Phase::Idle { since, .. } = slot.phase else { return None };
        since?.checked_add(self.options.idle_timeout?)
    }

    fn id(&self, index: u32) -> SlotId {
        SlotId::new(index, self.slots[index as usize].generation)
    }

    pub(super) fn expect_leased(&self, slot: SlotId) -> u32 {
        self.expect(slot, "leased", |phase| matches!(phase, Phase::Leased))
    }

    /// The index of `slot`, which the shell says is in this phase.
    #[track_caller]
    pub(super) fn expect(
        &self,
        slot: SlotId,
        phase: &str,
        is_right: impl Fn(&Phase<T>) -> bool,
    ) -> u32 {
        let found = &self.slots[slot.index() as usize];
        let right = found.generation == slot.generation() && is_right(&found.phase);
        assert!(right, "the connection of {slot:?} is not {phase}");
        slot.index()
    }
}
