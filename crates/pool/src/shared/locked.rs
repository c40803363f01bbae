//! What the lock of a pool guards.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Instant;

use crate::connect::{Key, Poolable};
use crate::error::GetError;
use crate::keeper::{Due, Keeping};
use crate::lease::{Item, Lent};
use crate::options::Options;
use crate::seam::{self, Runtime};
use crate::seats::{Found, SeatNumber, Seats};
use crate::slots::{Command, Fate, Refused, SlotId, Slots, Ticket};

/// What a caller who waited is told. Errors are rare, and as a pointer they leave no more to be copied than
/// there is for all others.
pub(crate) type Told<C> = Result<Lent<C>, Box<GetError>>;
/// The core, as this shell uses it.
pub(crate) type Core<K, C> = Slots<K, Box<Item<C>>, SeatNumber, SeatNumber>;

/// What the lock guards.
pub(crate) struct Locked<K: Key, C: Poolable> {
    pub(crate) slots: Core<K, C>,
    pub(crate) keeping: Keeping,
    seats: Seats<Told<C>, Runtime>,
    told: Wakers,
    /// Stands for any instant where none matters.
    began: Instant,
}

/// What is left to do once the lock is free.
pub(super) struct Errands<K, C> {
    pub(super) told: Wakers,
    pub(super) keeper: Option<Due>,
    pub(super) works: VecDeque<Work<K, C>>,
    /// Who waits for the end of the pool has to look again.
    pub(super) is_closed: bool,
}

/// What takes time.
pub(super) enum Work<K, C> {
    Connect { slot: SlotId, key: K, runtime: Runtime },
    Close { slot: SlotId, item: Box<Item<C>> },
}

/// Those who have to be woken: mostly one, for whom nothing is allocated.
#[derive(Default)]
pub(super) struct Wakers {
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl<K: Key, C: Poolable> Locked<K, C> {
    pub(super) fn new(options: Options) -> Self {
        Self {
            slots: Slots::new(options),
            keeping: Keeping::default(),
            seats: Seats::default(),
            told: Wakers::default(),
            began: seam::now(),
        }
    }

    /// Whether more follows from a change than that one caller has to be woken: mostly not.
    pub(super) fn has_errands(&self) -> bool {
        self.slots.has_commands()
            || self.keeping.is_due()
            || self.slots.is_closed()
            || !self.told.others.is_empty()
    }

    /// What follows from a change, each once.
    pub(super) fn errands(&mut self) -> Errands<K, C> {
        let mut works = VecDeque::new();
        while let Some(command) = self.slots.command() {
            match command {
                Command::Refuse { waiter } => self.tell(waiter, Err(Box::new(GetError::Closed))),
                Command::Connect { slot, key, place } => {
                    let runtime = self.seats.place(place).clone();
                    works.push_back(Work::Connect { slot, key, runtime });
                }
                Command::Close { slot, connection, .. } => {
                    works.push_back(Work::Close { slot, item: connection });
                }
            }
        }
        let (told, keeper) = (std::mem::take(&mut self.told), self.keeping.due());
        Errands { told, keeper, works, is_closed: self.slots.is_closed() }
    }

    /// The one caller to be woken where there are no errands.
    pub(super) fn only_told(&mut self) -> Option<Waker> {
        self.told.first.take()
    }

    /// Leaves a message for a caller in line, who is woken once the lock is free.
    #[inline(always)]
    pub(super) fn tell(&mut self, seat: SeatNumber, told: Told<C>) {
        if let Some(waker) = self.seats.tell(seat, told) {
            self.told.push(waker);
        }
    }

    /// Lends an idle connection, if there is one.
    pub(super) fn take(
        &mut self,
        key: &K,
        ticket: &mut Option<Ticket>,
        reading: Option<Instant>,
    ) -> Option<Lent<C>> {
        // Who has just come has not waited, whatever the time.
        let now = || if ticket.is_none() { self.began } else { seam::now() };
        let now = reading.unwrap_or_else(now);
        let ticket = *ticket.get_or_insert_with(|| self.slots.ticket(now));
        self.slots.take(key, ticket, now).map(Lent::from)
    }

    /// Puts a caller in line, in which the ticket keeps its place.
    pub(super) fn wait(
        &mut self,
        key: &K,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
        reading: Option<Instant>,
    ) -> Result<SeatNumber, Refused> {
        let now = reading.unwrap_or_else(seam::now);
        self.slots.date(now);
        let ticket = ticket.get_or_insert_with(|| self.slots.ticket(now));
        if ticket.since == self.began {
            ticket.since = now;
        }
        let runtime = Runtime::current();
        self.keeping.runs_on(&runtime);
        let seat = self.seats.take(waker.clone(), runtime);
        if let Err(refused) = self.slots.wait(key, *ticket, seat, seat) {
            // The waker in there is not the last one of its task, which is being polled.
            drop(self.seats.leave(seat));
            return Err(refused);
        }
        Ok(seat)
    }

    /// Returns what the caller in this seat was told, and gives the seat free; or has the caller woken
    /// by `waker` from now on.
    pub(super) fn look(&mut self, seat: SeatNumber, waker: &Waker) -> Option<Found<Told<C>>> {
        let seen = self.seats.look(seat, waker);
        if matches!(seen, Some(Found::Told(Ok(_)))) {
            self.date();
        }
        seen
    }

    /// Ends the waits that have no end yet. The clock is not read for each caller who is handed a
    /// connection, as it is the dearest part of handing it over: mostly whoever gave it back asks for
    /// another one and waits, and reads it then. It is read here at the latest, when the caller runs, or
    /// when somebody wants to know.
    pub(super) fn date(&mut self) {
        if self.slots.is_undated() {
            self.slots.date(seam::now());
        }
    }

    /// Takes a caller who gives up out of the line. A connection on its way to it goes to the next; all
    /// else is returned, to be dropped without the lock.
    pub(super) fn give_up(
        &mut self,
        key: &K,
        ticket: Ticket,
        seat: SeatNumber,
        reading: Option<Instant>,
    ) -> Option<Found<Told<C>>> {
        let left = self.seats.leave(seat);
        match left {
            Some(Found::Told(Ok(Lent { slot, item }))) => {
                let now = reading.unwrap_or_else(seam::now);
                self.slots.date(now);
                let fate = self.slots.unclaimed(slot, item, now);
                self.pass_on(fate);
                None
            }
            Some(Found::Asleep(_)) => {
                self.slots.cancel(key, ticket.number);
                left
            }
            _ => left,
        }
    }

    /// Takes back a connection that can be lent again.
    #[inline(always)]
    pub(super) fn give_back(&mut self, slot: SlotId, item: Box<Item<C>>, reading: Option<Instant>) {
        let fate = self.slots.give_back(slot, item, reading);
        self.pass_on(fate);
    }

    /// Tells whoever has to know what became of a connection.
    #[inline(always)]
    pub(super) fn pass_on(&mut self, fate: Fate<Box<Item<C>>, SeatNumber>) {
        match fate {
            Fate::Handed { waiter, granted } => self.tell(waiter, Ok(granted.into())),
            Fate::Idle { until } => self.keeping.expect_sweep(until),
            Fate::Closing => {}
        }
    }
}

impl<K, C> Errands<K, C> {
    /// Adds what follows from one of them.
    pub(super) fn add(&mut self, mut more: Self) {
        more.told.wake();
        self.keeper = self.keeper.take().or(more.keeper);
        self.works.append(&mut more.works);
        self.is_closed |= more.is_closed;
    }
}

impl Wakers {
    fn push(&mut self, waker: Waker) {
        match self.first {
            None => self.first = Some(waker),
            Some(_) => self.others.push(waker),
        }
    }

    /// Wakes all of them, first come first served.
    pub(super) fn wake(&mut self) {
        if let Some(first) = self.first.take() {
            first.wake();
            self.others.drain(..).for_each(Waker::wake);
        }
    }
}
