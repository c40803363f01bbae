//! A naive model of the pure core: every call and every command is applied to plain lists, and every
//! promise is checked by looking at all of them.

mod checks;
mod views;

use std::time::Instant;

use pool::{CloseReason, Command, Fate, Granted, Options, Refused, SlotId, Slots, Ticket};

pub(crate) type Key = u8;
/// A connection: a number that is never used twice.
pub(crate) type Number = u64;

pub(crate) const KEYS: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Connecting,
    Renewing,
    Idle { since: Instant },
    Leased,
    Closing(CloseReason),
}

#[derive(Clone, Copy, Debug)]
struct Place {
    slot: SlotId,
    key: Key,
    phase: Phase,
    connection: Option<Number>,
    expires_at: Option<Instant>,
    /// Opened, or begun to be, before its key was drained.
    stale: bool,
}

#[derive(Clone, Copy, Debug)]
struct Caller {
    key: Key,
    ticket: Ticket,
}

/// The core and the model, side by side.
pub(crate) struct World {
    pub(crate) slots: Slots<Key, Number, u64, ()>,
    pub(crate) options: Options,
    pub(crate) now: Instant,
    places: Vec<Place>,
    /// In order of arrival.
    callers: Vec<Caller>,
    leases: Vec<Granted<Number>>,
    connections: Number,
    is_closed: bool,
    opened: u64,
    closed: Vec<CloseReason>,
    checkouts: u64,
    refused: usize,
    /// Leases whose wait has no end yet, and when it began.
    undated: Vec<(SlotId, Instant)>,
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            slots: Slots::new(options.clone()),
            options,
            now: Instant::now(),
            places: Vec::new(),
            callers: Vec::new(),
            leases: Vec::new(),
            connections: 0,
            is_closed: false,
            opened: 0,
            closed: Vec::new(),
            checkouts: 0,
            refused: 0,
            undated: Vec::new(),
        }
    }

    /// A caller comes: gets an idle connection, or waits.
    pub(crate) fn get(&mut self, key: Key) {
        let ticket = self.slots.ticket(self.now);
        let granted = self.slots.take(&key, ticket, self.now);
        let closed_first = self.apply_commands();
        if let Some(granted) = granted {
            let place = self.place(granted.slot);
            assert!(matches!(place.phase, Phase::Idle { .. }), "lent {place:?}");
            assert!(!self.is_expired(place), "lent {place:?} at {:?}", self.now);
            assert!(!place.stale, "lent a drained connection");
            assert!(granted.reused);
            self.lend(granted);
            return;
        }
        assert!(closed_first || self.idle_of(key) == 0, "idle connections were not lent");
        let caller = Caller { key, ticket };
        match self.slots.wait(&key, ticket, ticket.number, ()) {
            Ok(()) => self.callers.push(caller),
            Err(Refused::Closed) => assert!(self.is_closed),
            Err(Refused::Full) => assert_eq!(self.options.waiters_max, self.callers.len()),
        }
    }

    pub(crate) fn cancel(&mut self, nth: usize) {
        let Some(nth) = nth.checked_rem(self.callers.len()) else { return };
        let Caller { key, ticket } = self.callers.remove(nth);
        assert_eq!(Some(ticket.number), self.slots.cancel(&key, ticket.number));
        assert_eq!(None, self.slots.cancel(&key, ticket.number));
    }

    /// A connect ends well.
    pub(crate) fn connected(&mut self, nth: usize, random: u32) {
        let Some(at) = self.nth_place(nth, |phase| phase == Phase::Connecting) else { return };
        self.connections += 1;
        self.opened += 1;
        let slot = self.open(at, random);
        let fate = self.slots.connected(slot, self.connections, self.now, random);
        self.taken_in(at, fate, true);
    }

    /// A connect fails.
    pub(crate) fn failed(&mut self, nth: usize) {
        let connecting = |phase| matches!(phase, Phase::Connecting | Phase::Renewing);
        let Some(at) = self.nth_place(nth, connecting) else { return };
        let Place { slot, key, phase, .. } = self.places.remove(at);
        let told = self.slots.failed(slot);
        let first = self.callers.iter().position(|caller| caller.key == key);
        let expected = first.filter(|_| phase == Phase::Connecting);
        assert_eq!(expected.map(|first| self.callers.remove(first).ticket.number), told);
    }

    /// A lease ends.
    pub(crate) fn end(&mut self, nth: usize, how: How) {
        let Some(nth) = nth.checked_rem(self.leases.len()) else { return };
        let granted = self.leases.remove(nth);
        self.undated.retain(|(slot, _)| *slot != granted.slot);
        let at = self.index(granted.slot);
        match how {
            How::Return | How::ReturnUndated => {
                let is_dated = matches!(how, How::Return) || self.is_timed();
                self.places[at].phase = Phase::Idle { since: self.now };
                let now = is_dated.then_some(self.now);
                let fate = self.slots.give_back(granted.slot, granted.connection, now);
                self.taken_in(at, fate, is_dated);
            }
            How::Unclaimed => {
                self.checkouts -= 1;
                self.places[at].phase = Phase::Idle { since: self.now };
                let fate = self.slots.unclaimed(granted.slot, granted.connection, self.now);
                self.taken_in(at, fate, true);
            }
            How::Discard => {
                self.slots.end(granted.slot, granted.connection, CloseReason::Discarded);
            }
            How::FoundDead => {
                if !granted.reused {
                    return self.leases.push(granted);
                }
                self.checkouts -= 1;
                self.slots.found_dead(granted.slot, granted.connection);
            }
            How::Vanish => {
                self.places.remove(at);
                self.closed.push(CloseReason::Detached);
                self.slots.vanished(granted.slot, CloseReason::Detached);
            }
            How::Renew => {
                let key = self.slots.renew(granted.slot);
                assert_eq!(self.is_closed, key.is_none());
                if self.is_closed {
                    return self.leases.push(granted);
                }
                assert_eq!(Some(self.places[at].key), key);
                self.places[at].phase = Phase::Renewing;
                self.places[at].connection = None;
                self.places[at].stale = false;
                self.closed.push(CloseReason::Discarded);
            }
        }
    }

    /// The connect of a lease that is renewed ends well.
    pub(crate) fn renewed(&mut self, nth: usize, random: u32) {
        let Some(at) = self.nth_place(nth, |phase| phase == Phase::Renewing) else { return };
        self.connections += 1;
        self.opened += 1;
        let slot = self.open(at, random);
        self.slots.renewed(slot, self.now, random);
        assert_eq!(self.now, self.slots.opened_at(slot));
        self.lend(Granted { slot, connection: self.connections, reused: false });
    }

    /// A close is done.
    pub(crate) fn closed(&mut self, nth: usize) {
        let closing = |phase| matches!(phase, Phase::Closing(_));
        let Some(at) = self.nth_place(nth, closing) else { return };
        let place = self.places.remove(at);
        let Phase::Closing(reason) = place.phase else { unreachable!() };
        self.closed.push(reason);
        self.slots.closed(place.slot);
    }

    /// A connection says that it ended, wherever it is; or a stale name does.
    pub(crate) fn lost(&mut self, nth: usize) {
        let Some(nth) = nth.checked_rem(self.places.len()) else { return };
        self.slots.lost(self.places[nth].slot);
        if matches!(self.places[nth].phase, Phase::Idle { .. }) {
            let lost = self.places[nth].slot;
            self.apply_commands();
            assert_eq!(Phase::Closing(CloseReason::Lost), self.place(lost).phase);
        }
    }

    /// The clock is read: waits that had no end yet end now, each once.
    pub(crate) fn date(&mut self) {
        self.slots.date(self.now);
        assert!(!self.slots.is_undated());
        for (slot, since) in self.undated.drain(..) {
            assert_eq!(self.now - since, self.slots.waited(slot));
        }
    }

    pub(crate) fn sweep(&mut self) {
        let next = self.slots.sweep(self.now);
        self.apply_commands();
        let idle = self.places.iter().filter(|place| matches!(place.phase, Phase::Idle { .. }));
        let deadlines: Vec<_> = idle.map(|place| self.deadline(place)).collect();
        assert!(deadlines.iter().flatten().all(|&at| self.now < at), "swept, but not all");
        assert_eq!(deadlines.into_iter().flatten().min(), next);
    }

    pub(crate) fn drain(&mut self, key: Key) {
        for place in self.places.iter_mut().filter(|place| place.key == key) {
            place.stale = true;
        }
        self.slots.drain(&key);
        self.apply_commands();
        assert_eq!(0, self.idle_of(key), "drained, but idle");
    }

    pub(crate) fn resize(&mut self, total: usize, per_key: usize) {
        self.options.connections_max = total;
        self.options.connections_per_key_max = per_key;
        self.slots.resize(total, per_key);
    }

    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        self.slots.close();
        let waiting = self.callers.len();
        let refused = self.refused;
        self.apply_commands();
        assert_eq!(waiting, self.refused - refused, "everybody who waited is told");
        assert!(self.callers.is_empty());
        assert!((0..KEYS).all(|key| self.idle_of(key) == 0), "closed, but idle");
    }

    /// Applies the commands one by one, each checked against the state at its moment. Returns whether
    /// there were any.
    pub(crate) fn apply_commands(&mut self) -> bool {
        let commands = self.slots.commands();
        let any = !commands.is_empty();
        for command in commands {
            match command {
                Command::Connect { slot, key, .. } => self.begin_connect(slot, key),
                Command::Close { slot, connection, reason } => {
                    self.begin_close(slot, connection, reason);
                }
                Command::Refuse { waiter } => {
                    assert!(self.is_closed);
                    self.callers.retain(|caller| caller.ticket.number != waiter);
                    self.refused += 1;
                }
            }
        }
        any
    }

    fn begin_connect(&mut self, slot: SlotId, key: Key) {
        let next = self.wanting().into_iter().min().expect("somebody wants it");
        let caller = self.callers.iter().find(|caller| caller.ticket.number == next);
        assert_eq!(caller.map(|caller| caller.key), Some(key), "not the turn of this key");
        assert!(!self.is_closed);
        assert!(self.places.iter().all(|place| place.slot != slot), "two in {slot:?}");
        let (phase, connection) = (Phase::Connecting, None);
        let place = Place { slot, key, phase, connection, expires_at: None, stale: false };
        self.places.push(place);
        assert!(self.live() <= self.options.connections_max, "over the total cap");
        assert!(self.live_of(key) <= self.options.connections_per_key_max, "over the key's cap");
    }

    fn hand(&mut self, waiter: u64, granted: Granted<Number>, is_dated: bool) {
        let place = *self.place(granted.slot);
        let first = self.callers.iter().position(|caller| caller.key == place.key);
        let first = first.expect("somebody waits");
        assert_eq!(waiter, self.callers[first].ticket.number, "barged");
        if granted.reused {
            let closing = self.count(|phase| matches!(phase, Phase::Closing(_)));
            let older = self.wanting().into_iter().filter(|&ticket| ticket < waiter).count();
            assert!(older <= closing, "{older} callers of other keys came before {waiter}");
            assert!(!place.stale && !self.is_past(place.expires_at), "handed {place:?}");
        }
        let caller = self.callers.remove(first);
        if is_dated {
            assert_eq!(self.now - caller.ticket.since, self.slots.waited(granted.slot));
        } else {
            assert!(self.slots.is_undated());
            self.undated.push((granted.slot, caller.ticket.since));
        }
        self.lend(granted);
    }

    fn begin_close(&mut self, slot: SlotId, connection: Number, reason: CloseReason) {
        let at = self.index(slot);
        self.check_reason(&self.places[at], reason);
        let place = &mut self.places[at];
        assert_eq!(Some(connection), place.connection);
        assert!(!matches!(place.phase, Phase::Closing(_)), "closed twice");
        place.phase = Phase::Closing(reason);
    }

    fn check_reason(&self, place: &Place, reason: CloseReason) {
        let was_idle = matches!(place.phase, Phase::Idle { .. });
        let holds = match reason {
            CloseReason::IdleTimeout => was_idle && self.is_expired(place),
            CloseReason::Lifetime => self.is_past(place.expires_at),
            CloseReason::Lost | CloseReason::Discarded => true,
            CloseReason::Evicted => {
                let closing = self.count(|phase| matches!(phase, Phase::Closing(_)));
                closing < self.wanting().len()
            }
            CloseReason::Drained => place.stale,
            CloseReason::CapLowered => {
                self.options.connections_max < self.live()
                    || self.options.connections_per_key_max < self.live_of(place.key)
            }
            CloseReason::PoolClosed => self.is_closed,
            _ => false,
        };
        assert!(holds, "{reason:?} of {place:?}");
    }

    fn lend(&mut self, granted: Granted<Number>) {
        let at = self.index(granted.slot);
        let place = &mut self.places[at];
        assert_eq!(Some(granted.connection), place.connection);
        place.phase = Phase::Leased;
        let twice = self.leases.iter().any(|lease| lease.connection == granted.connection);
        assert!(!twice, "a connection in two hands");
        self.leases.push(granted);
        self.checkouts += 1;
    }

    fn open(&mut self, at: usize, random: u32) -> SlotId {
        let share = f64::from(random) / (f64::from(u32::MAX) + 1.0);
        let cut = self.options.lifetime_jitter.mul_f64(share);
        let place = &mut self.places[at];
        place.connection = Some(self.connections);
        place.phase = Phase::Idle { since: self.now };
        place.expires_at = self.options.lifetime_max.map(|lifetime| self.now + (lifetime - cut));
        place.slot
    }

    /// A connection that the model has as idle was taken in, and this became of it.
    fn taken_in(&mut self, at: usize, fate: Fate<Number, u64>, is_dated: bool) {
        let slot = self.places[at].slot;
        match fate {
            Fate::Handed { waiter, granted } => {
                assert_eq!(slot, granted.slot);
                self.hand(waiter, granted, is_dated);
            }
            Fate::Idle { until } => {
                assert_eq!(self.deadline(&self.places[at]), until);
            }
            Fate::Closing => {
                self.apply_commands();
                assert!(matches!(self.place(slot).phase, Phase::Closing(_)), "not to be closed");
            }
        }
    }
}

/// How a lease ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    Return,
    /// Without a reading of the clock, if no limit in time asks for one.
    ReturnUndated,
    Unclaimed,
    Discard,
    FoundDead,
    Vanish,
    Renew,
}
