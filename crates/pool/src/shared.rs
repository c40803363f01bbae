//! Carries out what the core decides.

mod locked;
mod under_way;

use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use self::locked::{Core, Errands, Locked, Work};
use self::under_way::{Attempt, Closing, begin_close};
use crate::connect::{Bereaved, DynConnect, Key, Poolable};
use crate::error::GetError;
use crate::lease::{Home, Item, Lease, Lent, Renewing};
use crate::options::Options;
use crate::seam::{self, Runtime, within};
use crate::seats::{Found, SeatNumber};
use crate::slots::{Refused, SlotId, Ticket};
use crate::stats::CloseReason;
use crate::sync::Mutex;

/// A pool without its handles.
pub(crate) struct Shared<K: Key, C: Poolable> {
    me: Weak<Self>,
    connector: Box<dyn DynConnect<K, C>>,
    connect_timeout: Option<Duration>,
    close_timeout: Duration,
    waiters_max: usize,
    /// Whether a limit makes it matter how late it is.
    is_timed: bool,
    locked: Mutex<Locked<K, C>>,
    /// Told of every change once the pool is closed.
    pub(crate) emptied: Notify,
}

impl<K: Key, C: Poolable> Shared<K, C> {
    pub(crate) fn new(connector: Box<dyn DynConnect<K, C>>, options: Options) -> Arc<Self> {
        let is_timed = options.idle_timeout.is_some() || options.lifetime_max.is_some();
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            is_timed,
            connector,
            connect_timeout: options.connect_timeout,
            close_timeout: options.close_timeout,
            waiters_max: options.waiters_max,
            locked: Mutex::new(Locked::new(options)),
            emptied: Notify::new(),
        })
    }

    /// Changes the state and carries out what follows, without the lock.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Locked<K, C>) -> R) -> R {
        let mut locked = self.locked.lock();
        let result = change(&mut locked);
        if locked.has_errands() {
            let errands = locked.errands();
            drop(locked);
            self.carry_out(errands);
            return result;
        }
        let told = locked.only_told();
        drop(locked);
        if let Some(waker) = told {
            waker.wake();
        }
        result
    }

    /// Only reads.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&Core<K, C>) -> R) -> R {
        read(&self.locked.lock().slots)
    }

    /// Counts: what happened until now is in it.
    pub(crate) fn count<R>(&self, count: impl FnOnce(&Core<K, C>) -> R) -> R {
        let mut locked = self.locked.lock();
        locked.date();
        count(&locked.slots)
    }

    /// Reads the clock if a limit makes it matter: it is a third of the cost of a lease.
    fn clock(&self) -> Option<Instant> {
        self.is_timed.then(seam::now)
    }

    /// Lends an idle connection, if there is one.
    pub(crate) fn take(self: &Arc<Self>, key: &K, ticket: &mut Option<Ticket>) -> Option<Lease<C>> {
        let now = self.clock();
        let lent = self.change(|locked| locked.take(key, ticket, now))?;
        Some(self.lease(lent, now))
    }

    /// Does what is to be done, in order, and what follows from that.
    fn carry_out(&self, mut errands: Errands<K, C>) {
        errands.told.wake();
        loop {
            if let Some(due) = errands.keeper.take() {
                due.carry_out(self.me.clone());
            }
            match errands.works.pop_front() {
                Some(Work::Connect { slot, key, runtime }) => {
                    self.begin_connect(slot, key, runtime);
                }
                Some(Work::Close { slot, item }) => {
                    if let Some(more) = self.close(slot, *item) {
                        errands.add(more);
                    }
                }
                None => break,
            }
        }
        if errands.is_closed {
            self.emptied.notify_waiters();
        }
    }

    /// Closes a connection; in the background if that takes time. Returns what follows.
    fn close(&self, slot: SlotId, item: Item<C>) -> Option<Errands<K, C>> {
        let closing = Closing::new(self.me.upgrade()?, slot);
        let Some(closed) = begin_close(item.connection) else { return Some(closing.done()) };
        let limit = Some(self.close_timeout);
        item.runtime.spawn(async move {
            within(limit, closed).await;
            drop(closing);
        });
        None
    }

    fn begin_connect(&self, slot: SlotId, key: K, runtime: Runtime) {
        let Some(shared) = self.me.upgrade() else { return };
        let attempt = Attempt::new(shared, slot);
        runtime.clone().spawn(async move {
            match attempt.open(&key).await {
                Ok(connection) => attempt.connected(Item::fresh(connection, runtime)),
                Err(error) => attempt.failed(error),
            }
        });
    }

    fn lease(self: &Arc<Self>, lent: Lent<C>, now: Option<Instant>) -> Lease<C> {
        Lease::new(self.clone(), lent, now)
    }

    fn refused(&self, refused: Refused) -> GetError {
        match refused {
            Refused::Full => GetError::TooManyWaiting { waiters_max: self.waiters_max },
            Refused::Closed => GetError::Closed,
        }
    }
}

/// One caller on the way to a connection. Its place in line is given up on drop.
pub(crate) struct Caller<'a, K: Key, C: Poolable> {
    shared: &'a Arc<Shared<K, C>>,
    key: &'a K,
    ticket: Option<Ticket>,
    /// Where it sits while it is in line.
    seat: Option<SeatNumber>,
}

impl<'a, K: Key, C: Poolable> Caller<'a, K, C> {
    pub(crate) fn new(shared: &'a Arc<Shared<K, C>>, key: &'a K) -> Self {
        Self { shared, key, ticket: None, seat: None }
    }

    /// Waits for a connection. May be called again after that: the place in the order stays.
    fn poll_lease(&mut self, cx: &mut Context<'_>) -> Poll<Result<Lease<C>, GetError>> {
        match self.seat {
            None => self.claim(cx.waker()),
            Some(seat) => self.look(seat, cx.waker()),
        }
    }

    /// Takes an idle connection or gets in line.
    fn claim(&mut self, waker: &Waker) -> Poll<Result<Lease<C>, GetError>> {
        let Self { shared, key, ticket, seat } = self;
        let now = shared.clock();
        let mut refused = None;
        let lent = shared.change(|locked| {
            let lent = locked.take(key, ticket, now);
            if lent.is_none() {
                match locked.wait(key, ticket, waker, now) {
                    Ok(number) => *seat = Some(number),
                    Err(reason) => refused = Some(reason),
                }
            }
            lent
        });
        match (lent, refused) {
            (Some(lent), _) => Poll::Ready(Ok(shared.lease(lent, now))),
            (None, Some(reason)) => Poll::Ready(Err(shared.refused(reason))),
            (None, None) => Poll::Pending,
        }
    }

    /// Looks what became of it in line.
    fn look(&mut self, seat: SeatNumber, waker: &Waker) -> Poll<Result<Lease<C>, GetError>> {
        let seen = self.shared.locked.lock().look(seat, waker);
        let Some(Found::Told(told)) = seen else { return Poll::Pending };
        self.seat = None;
        Poll::Ready(told.map(|lent| self.shared.lease(lent, None)).map_err(|error| *error))
    }
}

/// Gets a connection that can be used.
impl<K: Key, C: Poolable> Future for Caller<'_, K, C> {
    type Output = Result<Lease<C>, GetError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Each turn but the last closes a connection that was open when the turn began.
        loop {
            let mut lease = ready!(self.poll_lease(cx))?;
            if lease.is_usable() {
                return Poll::Ready(Ok(lease));
            }
            lease.found_dead();
        }
    }
}

impl<K: Key, C: Poolable> Drop for Caller<'_, K, C> {
    fn drop(&mut self) {
        let (Some(seat), Some(ticket)) = (self.seat, self.ticket) else { return };
        let now = self.shared.clock();
        drop(self.shared.change(|locked| locked.give_up(self.key, ticket, seat, now)));
    }
}

impl<K: Key, C: Poolable> Home<C> for Shared<K, C> {
    fn give_back(&self, slot: SlotId, item: Box<Item<C>>) {
        let now = self.clock();
        self.change(|locked| locked.give_back(slot, item, now));
    }

    fn found_dead(&self, slot: SlotId, item: Box<Item<C>>) {
        self.change(|locked| locked.slots.found_dead(slot, item));
    }

    fn opened_at(&self, slot: SlotId) -> Instant {
        self.read(|slots| slots.opened_at(slot))
    }

    fn waited(&self, slot: SlotId) -> Duration {
        self.read(|slots| slots.waited(slot))
    }

    fn end(&self, slot: SlotId, item: Box<Item<C>>, reason: CloseReason) {
        self.change(|locked| locked.slots.end(slot, item, reason));
    }

    fn vanished(&self, slot: SlotId, reason: CloseReason) {
        self.change(|locked| locked.slots.vanished(slot, reason));
    }

    fn renew(self: Arc<Self>, slot: SlotId, item: Box<Item<C>>) -> Renewing<C> {
        let close_timeout = Some(self.close_timeout);
        let Some(key) = self.change(|locked| locked.slots.renew(slot)) else {
            self.end(slot, item, CloseReason::Discarded);
            return Box::pin(std::future::ready(Err(GetError::Closed)));
        };
        let attempt = Attempt::new(self, slot);
        Box::pin(async move {
            let Item { connection, runtime, .. } = *item;
            within(close_timeout, pin!(connection.close())).await;
            let connection = attempt.open(&key).await?;
            attempt.renewed();
            Ok(Item::fresh(connection, runtime))
        })
    }
}

impl<K: Key, C: Poolable> Bereaved for Shared<K, C> {
    fn lost(&self, slot: SlotId) {
        self.change(|locked| locked.slots.lost(slot));
    }
}
