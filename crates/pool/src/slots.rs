//! The pure core: who gets which connection when. No clock, no randomness, no I/O, no tasks.

mod chain;
mod lane;
mod line;
mod moves;
mod terms;
mod whole;

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use self::chain::{Chain, Links};
use self::lane::{Lanes, Waiter};
pub use self::terms::{Command, Fate, Granted, Refused, SlotId, Ticket};
use crate::options::{Options, Reuse};
use crate::stats::CloseReason;

/// The places of a pool and the callers in line for them.
///
/// `K` is the key, `T` the connection, `W` whatever finds a waiting caller again, `P` whatever tells where
/// a connect runs. Nothing in here waits or calls out: each call changes the state and leaves
/// [`Command`]s, which the shell takes with [`Slots::commands`] and carries out. [`crate::Pool`] is such a
/// shell.
///
/// # The order of service
///
/// - Within a key callers are served by ticket. Whatever comes first, a connection handed back or one
///   just opened, serves the first of them; the other one becomes idle.
/// - Where the total cap is what they wait for, callers of all keys are served by ticket: the idle
///   connection that was returned longest ago gives way to them, and a connection handed back gives way
///   too if the caller who needs its place came before all who could use it as it is.
///
/// # Cost
///
/// Taking and giving back take constant time; with callers in line, time logarithmic in their number and
/// linear in the connects under way for the key.
///
/// # Examples
///
/// ```
/// use std::time::Instant;
/// use pool::{Command, Fate, Options, Slots};
///
/// let now = Instant::now();
/// let mut slots = Slots::new(Options::default());
/// let ticket = slots.ticket(now);
/// assert!(slots.take(&"db", ticket, now).is_none(), "nothing is idle yet");
/// slots.wait(&"db", ticket, "caller", ()).unwrap();
///
/// let Some(Command::Connect { slot, key: "db", .. }) = slots.command() else { unreachable!() };
/// let fate = slots.connected(slot, "connection", now, 0);
/// assert!(matches!(fate, Fate::Handed { waiter: "caller", .. }));
/// ```
#[derive(Debug)]
pub struct Slots<K, T, W, P> {
    options: Options,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    lanes: Lanes<K, W, P>,
    /// All idle connections, by the instant of their return.
    idle: Chain,
    idle_links: Links,
    /// The same, key by key.
    lane_links: Links,
    /// The lanes that wait for nothing but the total cap, by the ticket of their next caller.
    line: BTreeMap<u64, u32>,
    /// The sum of the lanes' demands.
    demand: usize,
    live: usize,
    closing: usize,
    waiting: usize,
    tickets: u64,
    is_closed: bool,
    /// Places of callers whose wait may not be counted to its end yet.
    undated: Vec<u32>,
    commands: VecDeque<Command<K, T, W, P>>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    lane: u32,
    epoch: u32,
    opened_at: Option<Instant>,
    expires_at: Option<Instant>,
    /// Of its last lease: whether the connection was a used one, and how long the caller had waited.
    reused: bool,
    waited: Duration,
    /// When that wait began, until it is known when it ended.
    waits_since: Option<Instant>,
    phase: Phase<T>,
}

#[derive(Debug)]
enum Phase<T> {
    Free,
    /// A connect is under way for whoever is first in line when it is done.
    Connecting,
    /// A connect is under way for the one who holds the lease.
    Renewing,
    Idle {
        connection: T,
        /// `None` where nobody had to know.
        since: Option<Instant>,
    },
    Leased,
    Closing(CloseReason),
}

impl<K: Clone + Eq + Hash, T, W, P: Clone> Slots<K, T, W, P> {
    /// Returns an empty pool.
    ///
    /// # Panics
    ///
    /// When a cap is 0: nobody would ever be served.
    pub fn new(options: Options) -> Self {
        options.check();
        Self {
            options,
            slots: Vec::new(),
            free: Vec::new(),
            lanes: Lanes::new(),
            idle: Chain::default(),
            idle_links: Links::default(),
            lane_links: Links::default(),
            line: BTreeMap::new(),
            demand: 0,
            live: 0,
            closing: 0,
            waiting: 0,
            tickets: 0,
            is_closed: false,
            undated: Vec::new(),
            commands: VecDeque::new(),
        }
    }

    /// Whether there is anything to be done.
    #[cfg(feature = "tokio")]
    pub(crate) fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// Returns what is to be done next; each command is returned once.
    pub fn command(&mut self) -> Option<Command<K, T, W, P>> {
        self.commands.pop_front()
    }

    /// Returns all that is to be done, in order.
    pub fn commands(&mut self) -> VecDeque<Command<K, T, W, P>> {
        if self.commands.is_empty() { VecDeque::new() } else { std::mem::take(&mut self.commands) }
    }

    /// Returns the next place in the order of arrival.
    pub fn ticket(&mut self, now: Instant) -> Ticket {
        self.tickets += 1;
        Ticket { number: self.tickets, since: now }
    }

    /// Lends an idle connection of `key`, if there is one that is neither too long idle nor too old; too
    /// long idle and too old ones that it meets are closed.
    ///
    /// Nobody is overtaken: while callers wait for a key, none of its connections is idle.
    pub fn take(&mut self, key: &K, ticket: Ticket, now: Instant) -> Option<Granted<T>> {
        let lane = self.lanes.find(key)?;
        loop {
            let idle = &self.lanes.get(lane).idle;
            let index = match self.options.reuse {
                Reuse::Newest => idle.newest(),
                Reuse::Oldest => idle.oldest(),
            }?;
            match self.expired(index, now) {
                Some(reason) => self.close_idle(index, reason),
                None => return Some(self.lend_idle(index, ticket, now)),
            }
        }
    }

    /// Puts a caller in line for `key`. A connect begins unless the caps forbid it or those under way
    /// are enough for all who wait.
    ///
    /// # Errors
    ///
    /// [`Refused`] when the pool was closed or too many callers wait; nothing has changed then.
    pub fn wait(&mut self, key: &K, ticket: Ticket, waiter: W, place: P) -> Result<(), Refused> {
        if self.is_closed {
            return Err(Refused::Closed);
        }
        if self.options.waiters_max <= self.waiting {
            return Err(Refused::Full);
        }
        let lane = self.lanes.find_or_open(key);
        let entry = Waiter { waiter, place, since: ticket.since };
        self.lanes.get_mut(lane).waiters.insert(ticket.number, entry);
        self.waiting += 1;
        self.refresh(lane);
        self.settle();
        Ok(())
    }

    /// Takes a caller out of the line and returns it, or `None` if it is not in line any more.
    ///
    /// The connect that was begun for it goes on and serves the next, or becomes idle.
    pub fn cancel(&mut self, key: &K, number: u64) -> Option<W> {
        let lane = self.lanes.find(key)?;
        let entry = self.lanes.get_mut(lane).waiters.remove(number)?;
        self.waiting -= 1;
        self.refresh(lane);
        self.lanes.tidy(lane);
        Some(entry.waiter)
    }

    /// Takes in the connection that was opened for `slot`. It serves the first caller in line, or becomes
    /// idle.
    ///
    /// Its lifetime is shortened by the share `random` / 2^32 of the jitter.
    pub fn connected(
        &mut self,
        slot: SlotId,
        connection: T,
        now: Instant,
        random: u32,
    ) -> Fate<T, W> {
        let index = self.expect(slot, "connecting", |phase| matches!(phase, Phase::Connecting));
        let lane = self.opened(index, now, random);
        self.lanes.get_mut(lane).covering -= 1;
        self.take_in(index, connection, Some(now), false)
    }

    /// Gives the place of a failed connect free and returns the caller who has to be told: the first in
    /// line. `None` when nobody waits any more, or when the connect was that of [`Slots::renew`].
    pub fn failed(&mut self, slot: SlotId) -> Option<W> {
        let index = self.expect(slot, "connecting", |phase| {
            matches!(phase, Phase::Connecting | Phase::Renewing)
        });
        let renewing = matches!(self.slots[index as usize].phase, Phase::Renewing);
        let lane = self.lanes.get_mut(self.slots[index as usize].lane);
        lane.stats.connecting -= 1;
        lane.stats.connects_failed += 1;
        let mut told = None;
        if !renewing {
            lane.covering -= 1;
            told = lane.waiters.pop_first();
        }
        self.waiting -= usize::from(told.is_some());
        self.free(index);
        told.map(|entry| entry.waiter)
    }

    /// Takes back a connection that can be lent again.
    ///
    /// Where [`Options`] limit no time, `now` may be `None`, so that the clock need not be read. A caller
    /// who gets the connection then has waited until the next call of [`Slots::date`], and until then counts
    /// as one who did not wait. With a limit, `None` means that it was not reached.
    #[inline(always)]
    pub fn give_back(&mut self, slot: SlotId, connection: T, now: Option<Instant>) -> Fate<T, W> {
        let index = self.expect_leased(slot);
        let stats = self.stats_mut(index);
        stats.leased -= 1;
        stats.returned += 1;
        self.take_in(index, connection, now, true)
    }

    /// Takes back a connection that its caller never received: it does not count as lent. Otherwise like
    /// [`Slots::give_back`].
    pub fn unclaimed(&mut self, slot: SlotId, connection: T, now: Instant) -> Fate<T, W> {
        let index = self.expect_leased(slot);
        self.uncount(index);
        self.take_in(index, connection, Some(now), true)
    }

    /// Ends all waits `now` that were left without an end by [`Slots::give_back`]. To be called between that
    /// and the moment at which the caller runs again, whenever the clock is read for something else, and
    /// before anybody looks at the counts.
    pub fn date(&mut self, now: Instant) {
        while let Some(index) = self.undated.pop() {
            let slot = &mut self.slots[index as usize];
            let Some(since) = slot.waits_since.take() else { continue };
            slot.waited = now.saturating_duration_since(since);
            let waits = &mut self.lanes.get_mut(slot.lane).stats.waits;
            waits.forget(Duration::ZERO);
            waits.record(slot.waited);
        }
    }

    /// Whether [`Slots::date`] is called for.
    pub fn is_undated(&self) -> bool {
        !self.undated.is_empty()
    }

    /// When the connection of a lease was opened.
    ///
    /// # Panics
    ///
    /// When `slot` is not leased.
    pub fn opened_at(&self, slot: SlotId) -> Instant {
        let index = self.expect_leased(slot);
        self.slots[index as usize].opened_at.expect("a connection that is lent was opened")
    }

    /// How long the caller had waited who got this lease.
    ///
    /// # Panics
    ///
    /// When `slot` is not leased.
    pub fn waited(&self, slot: SlotId) -> Duration {
        self.slots[self.expect_leased(slot) as usize].waited
    }

    /// Ends a lease whose connection will not be lent again, and has it closed.
    pub fn end(&mut self, slot: SlotId, connection: T, reason: CloseReason) {
        let index = self.expect_leased(slot);
        self.count_discarded(index);
        self.begin_closing(index, connection, reason);
    }

    /// Ends a lease whose connection the pool does not get back: it was detached, or died with its user.
    pub fn vanished(&mut self, slot: SlotId, reason: CloseReason) {
        let index = self.expect_leased(slot);
        self.count_discarded(index);
        self.stats_mut(index).closed.count(reason);
        self.free(index);
    }

    /// Ends a lease whose connection was found dead before its user saw it: it does not count as lent,
    /// and is closed.
    pub fn found_dead(&mut self, slot: SlotId, connection: T) {
        let index = self.expect_leased(slot);
        self.uncount(index);
        self.begin_closing(index, connection, CloseReason::Lost);
    }

    /// Gives the place of a closed connection free.
    pub fn closed(&mut self, slot: SlotId) {
        let index = self.expect(slot, "closing", |phase| matches!(phase, Phase::Closing(_)));
        let phase = std::mem::replace(&mut self.slots[index as usize].phase, Phase::Free);
        let stats = self.stats_mut(index);
        stats.closing -= 1;
        if let Phase::Closing(reason) = phase {
            stats.closed.count(reason);
        }
        self.closing -= 1;
        self.free(index);
    }

    /// Counts the connection of a lease as closed, keeps its place, and counts a connect as begun there
    /// for the same user. The shell has closed the one and calls [`Slots::renewed`] or [`Slots::failed`]
    /// after the other. Returns the key to connect to; `None` when the pool was closed, which begins
    /// nothing any more, and then nothing has changed.
    pub fn renew(&mut self, slot: SlotId) -> Option<K> {
        let index = self.expect_leased(slot);
        if self.is_closed {
            return None;
        }
        let slot = &mut self.slots[index as usize];
        slot.phase = Phase::Renewing;
        let lane = self.lanes.get_mut(slot.lane);
        slot.epoch = lane.epoch;
        lane.stats.leased -= 1;
        lane.stats.discarded += 1;
        lane.stats.closed.count(CloseReason::Discarded);
        lane.stats.connecting += 1;
        Some(lane.key.clone())
    }

    /// Counts the new connection of [`Slots::renew`] as opened, and as lent to the same user.
    pub fn renewed(&mut self, slot: SlotId, now: Instant, random: u32) {
        let index = self.expect(slot, "renewing", |phase| matches!(phase, Phase::Renewing));
        let lane = self.opened(index, now, random);
        self.slots[index as usize].phase = Phase::Leased;
        let stats = &mut self.lanes.get_mut(lane).stats;
        stats.leased += 1;
        stats.fresh += 1;
        stats.waits.record(Duration::ZERO);
    }

    /// Closes the connection of `slot` if it is idle: it was seen to end. Anything else is ignored; who
    /// uses the connection will notice, and a stale name means that it is gone already.
    pub fn lost(&mut self, slot: SlotId) {
        let place = self.slots.get(slot.index() as usize);
        let named = place.filter(|place| place.generation == slot.generation());
        if named.is_some_and(|slot| matches!(slot.phase, Phase::Idle { .. })) {
            self.close_idle(slot.index(), CloseReason::Lost);
        }
    }
}

/// The earlier of two instants that may never come.
fn sooner(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
