//! Carries out what the core decides.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use crate::connect::{Bereaved, BoxError, CloseNotice, DynConnect, Key, Poolable};
use crate::error::GetError;
use crate::keeper::Keeping;
use crate::lease::{Home, Item, Lease, Renewing};
use crate::options::Options;
use crate::seam::{self, Runtime, within};
use crate::slots::{Command, Granted, Refused, SlotId, Slots, Ticket};
use crate::stats::CloseReason;
use crate::sync::Mutex;

/// Finds a waiting caller again.
pub(crate) type Waiter<C> = oneshot::Sender<Result<Lease<C>, GetError>>;
/// Where a waiting caller listens.
pub(crate) type Receiver<C> = oneshot::Receiver<Result<Lease<C>, GetError>>;

type Decision<K, C> = Command<K, Item<C>, Waiter<C>, Runtime>;
type Commands<K, C> = VecDeque<Decision<K, C>>;

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

/// What the lock guards.
pub(crate) struct Locked<K: Key, C: Poolable> {
    pub(crate) slots: Slots<K, Item<C>, Waiter<C>, Runtime>,
    pub(crate) keeping: Keeping,
    /// Stands for any instant where none matters.
    began: Instant,
}

/// What a caller gets at once: a connection, or a place in line.
pub(crate) enum Claim<C: Poolable> {
    Lease(Lease<C>),
    Wait(Receiver<C>),
    Refused(GetError),
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
            locked: Mutex::new(Locked {
                slots: Slots::new(options),
                keeping: Keeping::default(),
                began: seam::now(),
            }),
            emptied: Notify::new(),
        })
    }

    /// Changes the state and carries out what follows, without the lock.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Locked<K, C>) -> R) -> R {
        let mut locked = self.locked.lock();
        let result = change(&mut locked);
        if !locked.has_consequences() {
            return result;
        }
        let first = locked.slots.command();
        let others = if first.is_some() { locked.slots.commands() } else { Commands::new() };
        let keeper = locked.keeping.due();
        let is_closed = locked.slots.is_closed();
        drop(locked);

        if let Some(due) = keeper {
            due.carry_out(self.me.clone());
        }
        if let Some(first) = first {
            self.carry_out(first, others);
        }
        if is_closed {
            self.emptied.notify_waiters();
        }
        result
    }

    /// Reads the clock if a limit makes it matter: it is a third of the cost of a lease.
    fn clock(&self) -> Option<Instant> {
        self.is_timed.then(seam::now)
    }

    /// Only reads.
    pub(crate) fn read<R>(
        &self,
        read: impl FnOnce(&Slots<K, Item<C>, Waiter<C>, Runtime>) -> R,
    ) -> R {
        read(&self.locked.lock().slots)
    }

    /// Lends an idle connection, if there is one.
    pub(crate) fn take(self: &Arc<Self>, key: &K, ticket: &mut Option<Ticket>) -> Option<Lease<C>> {
        let now = self.clock();
        let granted = self.change(|locked| locked.take(key, ticket, now))?;
        Some(Lease::new(self.clone(), granted, now))
    }

    /// Lends an idle connection or puts the caller in line, in which the ticket keeps its place.
    pub(crate) fn claim(self: &Arc<Self>, key: &K, ticket: &mut Option<Ticket>) -> Claim<C> {
        let now = self.clock();
        let mut line = None;
        let granted = self.change(|locked| {
            let granted = locked.take(key, ticket, now);
            if granted.is_none() {
                line = Some(locked.wait(key, ticket, now));
            }
            granted
        });
        if let Some(granted) = granted {
            return Claim::Lease(Lease::new(self.clone(), granted, now));
        }
        match line {
            Some(Ok(receiver)) => Claim::Wait(receiver),
            Some(Err(Refused::Full)) => {
                Claim::Refused(GetError::TooManyWaiting { waiters_max: self.waiters_max })
            }
            Some(Err(Refused::Closed)) | None => Claim::Refused(GetError::Closed),
        }
    }

    /// Does what is to be done, in order, and what follows from that.
    fn carry_out(&self, first: Decision<K, C>, others: Commands<K, C>) {
        let mut next = Some(first);
        let mut commands = others;
        while let Some(command) = next {
            match command {
                Command::Connect { slot, key, place } => self.begin_connect(slot, key, place),
                Command::Close { slot, connection, .. } => {
                    commands.extend(self.close(slot, connection));
                }
                Command::Hand { waiter, granted } => self.hand(waiter, granted),
                Command::Refuse { waiter } => drop(waiter.send(Err(GetError::Closed))),
            }
            next = commands.pop_front();
        }
    }

    fn hand(&self, waiter: Waiter<C>, granted: Granted<Item<C>>) {
        let Some(home) = self.me.upgrade() else { return };
        if let Err(Ok(lease)) = waiter.send(Ok(Lease::new(home, granted, None))) {
            lease.unclaimed();
        }
    }

    /// Closes a connection; in the background if that takes time. Returns what follows.
    fn close(&self, slot: SlotId, item: Item<C>) -> Commands<K, C> {
        let Some(shared) = self.me.upgrade() else { return Commands::new() };
        let closing = Closing { shared, slot, is_over: false };
        let mut closed = Box::pin(item.connection.close());
        if closed.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            let limit = Some(self.close_timeout);
            item.runtime.spawn(async move {
                within(limit, closed).await;
                drop(closing);
            });
            return Commands::new();
        }
        closing.done()
    }

    fn begin_connect(&self, slot: SlotId, key: K, runtime: Runtime) {
        let Some(shared) = self.me.upgrade() else { return };
        let attempt = Attempt { shared, slot, is_over: false };
        runtime.clone().spawn(async move {
            match attempt.open(&key).await {
                Ok(connection) => attempt.connected(Item { connection, runtime }),
                Err(error) => attempt.failed(error),
            }
        });
    }
}

impl<K: Key, C: Poolable> Locked<K, C> {
    /// What the core takes for now: the reading, if there was need for one, or if callers wait whose
    /// waits are counted.
    fn now(&self, reading: Option<Instant>) -> Instant {
        let counts = || 0 < self.slots.waiting();
        reading.unwrap_or_else(|| if counts() { seam::now() } else { self.began })
    }

    /// Whether there is more to do than the change itself: mostly not.
    fn has_consequences(&self) -> bool {
        self.slots.has_commands() || self.keeping.is_due() || self.slots.is_closed()
    }

    fn take(
        &mut self,
        key: &K,
        ticket: &mut Option<Ticket>,
        reading: Option<Instant>,
    ) -> Option<Granted<Item<C>>> {
        // Who has just come has not waited, whatever the time.
        let now = || if ticket.is_none() { self.began } else { seam::now() };
        let now = reading.unwrap_or_else(now);
        let ticket = *ticket.get_or_insert_with(|| self.slots.ticket(now));
        self.slots.take(key, ticket, now)
    }

    fn wait(
        &mut self,
        key: &K,
        ticket: &mut Option<Ticket>,
        reading: Option<Instant>,
    ) -> Result<Receiver<C>, Refused> {
        let now = reading.unwrap_or_else(seam::now);
        let ticket = ticket.get_or_insert_with(|| self.slots.ticket(now));
        if ticket.since == self.began {
            ticket.since = now;
        }
        let runtime = Runtime::current();
        let (waiter, receiver) = oneshot::channel();
        self.keeping.runs_on(&runtime);
        self.slots.wait(key, *ticket, waiter, runtime)?;
        Ok(receiver)
    }

    fn give_back(&mut self, slot: SlotId, item: Item<C>, reading: Option<Instant>) {
        let now = self.now(reading);
        let deadline = self.slots.give_back(slot, item, now);
        self.keeping.expect_sweep(deadline);
    }

    fn unclaimed(&mut self, granted: Granted<Item<C>>, reading: Option<Instant>) {
        let now = self.now(reading);
        let deadline = self.slots.unclaimed(granted, now);
        self.keeping.expect_sweep(deadline);
    }
}

impl<K: Key, C: Poolable> Home<C> for Shared<K, C> {
    fn give_back(&self, slot: SlotId, item: Item<C>) {
        let now = self.clock();
        self.change(|locked| locked.give_back(slot, item, now));
    }

    fn unclaimed(&self, granted: Granted<Item<C>>) {
        let now = self.clock();
        self.change(|locked| locked.unclaimed(granted, now));
    }

    fn found_dead(&self, slot: SlotId, item: Item<C>, waited: Duration) {
        self.change(|locked| locked.slots.found_dead(slot, item, waited));
    }

    fn end(&self, slot: SlotId, item: Item<C>, reason: CloseReason) {
        self.change(|locked| locked.slots.end(slot, item, reason));
    }

    fn vanished(&self, slot: SlotId, reason: CloseReason) {
        self.change(|locked| locked.slots.vanished(slot, reason));
    }

    fn renew(self: Arc<Self>, slot: SlotId, item: Item<C>) -> Renewing<C> {
        let close_timeout = Some(self.close_timeout);
        let Some(key) = self.change(|locked| locked.slots.renew(slot)) else {
            self.end(slot, item, CloseReason::Discarded);
            return Box::pin(std::future::ready(Err(GetError::Closed)));
        };
        let attempt = Attempt { shared: self, slot, is_over: false };
        Box::pin(async move {
            let Item { connection, runtime } = item;
            within(close_timeout, pin!(connection.close())).await;
            let connection = attempt.open(&key).await?;
            let opened_at = attempt.renewed();
            Ok((Item { connection, runtime }, opened_at))
        })
    }
}

impl<K: Key, C: Poolable> Bereaved for Shared<K, C> {
    fn lost(&self, slot: SlotId) {
        self.change(|locked| locked.slots.lost(slot));
    }
}

/// A connect under way. Whatever becomes of it, its place is given free or taken.
struct Attempt<K: Key, C: Poolable> {
    shared: Arc<Shared<K, C>>,
    slot: SlotId,
    is_over: bool,
}

impl<K: Key, C: Poolable> Attempt<K, C> {
    async fn open(&self, key: &K) -> Result<C, GetError> {
        let home: Weak<Shared<K, C>> = self.shared.me.clone();
        let notice = CloseNotice { slot: self.slot, home };
        let limit = self.shared.connect_timeout;
        let opening = self.shared.connector.connect_boxed(key, notice);
        match within(limit, opening).await {
            Some(result) => result.map_err(|error: BoxError| GetError::Connect(error)),
            None => Err(GetError::ConnectTimedOut { after: limit.unwrap_or_default() }),
        }
    }

    fn connected(mut self, item: Item<C>) {
        self.is_over = true;
        let (now, random) = (seam::now(), seam::random());
        self.shared.change(|locked| {
            let deadline = locked.slots.connected(self.slot, item, now, random);
            locked.keeping.expect_sweep(deadline);
        });
    }

    fn renewed(mut self) -> Instant {
        self.is_over = true;
        let (now, random) = (seam::now(), seam::random());
        self.shared.change(|locked| locked.slots.renewed(self.slot, now, random));
        now
    }

    fn failed(mut self, error: GetError) {
        self.fail(error);
    }

    fn fail(&mut self, error: GetError) {
        self.is_over = true;
        let told = self.shared.change(|locked| locked.slots.failed(self.slot));
        if let Some(waiter) = told {
            drop(waiter.send(Err(error)));
        }
    }
}

impl<K: Key, C: Poolable> Drop for Attempt<K, C> {
    fn drop(&mut self) {
        if !self.is_over {
            self.fail(GetError::ConnectAborted);
        }
    }
}

/// A close under way. Whatever becomes of it, its place is given free.
struct Closing<K: Key, C: Poolable> {
    shared: Arc<Shared<K, C>>,
    slot: SlotId,
    is_over: bool,
}

impl<K: Key, C: Poolable> Closing<K, C> {
    /// Gives the place free and leaves it to the caller to carry out what follows: a long chain of them
    /// is a loop there and no recursion.
    fn done(mut self) -> Commands<K, C> {
        self.is_over = true;
        let mut locked = self.shared.locked.lock();
        locked.slots.closed(self.slot);
        locked.slots.commands()
    }
}

impl<K: Key, C: Poolable> Drop for Closing<K, C> {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.change(|locked| locked.slots.closed(self.slot));
        }
    }
}
