//! A connection lent out: gives it back when dropped.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::thread::panicking;
use std::time::{Duration, Instant};

use crate::connect::{Poolable, State};
use crate::error::GetError;
use crate::seam::{self, Runtime};
use crate::slots::{Granted, SlotId};
use crate::stats::CloseReason;

/// A connection and the runtime on which it was opened and will be closed. Boxed once when it is opened: it
/// goes through many hands until its next user has it, and what is copied there is a pointer then.
#[derive(Debug)]
pub(crate) struct Item<C> {
    pub(crate) connection: C,
    pub(crate) runtime: Runtime,
    /// Whether it had been idle or lent before its lease.
    reused: bool,
    /// Whether it is to be closed at the end of its lease.
    poisoned: bool,
    /// When it was lent, where the clock was read for it.
    lent_at: Option<Instant>,
}

impl<C> Item<C> {
    /// A connection that was just opened.
    pub(crate) fn fresh(connection: C, runtime: Runtime) -> Box<Self> {
        Box::new(Self { connection, runtime, reused: false, poisoned: false, lent_at: None })
    }
}

/// A connection on the way to its user. It is copied at each step of the way, so it is two words without a
/// gap: a flag among them is copied with the bytes after it, piece by piece, and each piece waits for the
/// one before to be stored. That took an eighth of what it costs to wait for a connection.
#[derive(Debug)]
pub(crate) struct Lent<C> {
    pub(crate) slot: SlotId,
    pub(crate) item: Box<Item<C>>,
}

impl<C> From<Granted<Box<Item<C>>>> for Lent<C> {
    #[inline(always)]
    fn from(granted: Granted<Box<Item<C>>>) -> Self {
        let Granted { slot, connection: mut item, reused } = granted;
        item.reused = reused;
        Self { slot, item }
    }
}

/// A connection on loan, and where it goes back to.
struct Loan<C> {
    home: Arc<dyn Home<C>>,
    lent: Lent<C>,
}

/// Where leases end.
pub(crate) trait Home<C>: Send + Sync {
    /// Takes back a connection that can be lent again.
    fn give_back(&self, slot: SlotId, item: Box<Item<C>>);
    /// Takes back a connection that was dead when it was about to be lent, and closes it.
    fn found_dead(&self, slot: SlotId, item: Box<Item<C>>);
    /// When the connection of a lease was opened.
    fn opened_at(&self, slot: SlotId) -> Instant;
    /// How long the user of a lease had waited for it.
    fn waited(&self, slot: SlotId) -> Duration;
    /// Ends a lease and closes the connection.
    fn end(&self, slot: SlotId, item: Box<Item<C>>, reason: CloseReason);
    /// Ends a lease whose connection the pool does not get back.
    fn vanished(&self, slot: SlotId, reason: CloseReason);
    /// Closes the connection and opens another one in its place.
    fn renew(self: Arc<Self>, slot: SlotId, item: Box<Item<C>>) -> Renewing<C>;
}

/// Becomes a new connection.
pub(crate) type Renewing<C> = Pin<Box<dyn Future<Output = Result<Box<Item<C>>, GetError>> + Send>>;

/// A connection lent out; dropping it gives it back.
///
/// On drop the pool asks for the connection's [`State`] and lends it again or closes it. It is also closed
/// when the drop happens because the thread panics: whoever used it did not come to the end. Leases may
/// be dropped anywhere, outside of a runtime too. A lease that is leaked takes its place for ever.
///
/// # Examples
///
/// ```
/// # use pool::{Options, Pool, Poolable};
/// # struct Socket; impl Poolable for Socket {}
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), pool::GetError> {
/// # let connect = |_: &str| async { Ok::<_, std::io::Error>(Socket) };
/// # let pool: Pool<&str, Socket> = Pool::new(connect, Options::default());
/// let first = pool.get(&"db").await?;
/// assert!(!first.reused());
/// drop(first);
/// assert!(pool.get(&"db").await?.reused());
/// # Ok(()) }
/// ```
#[must_use = "dropping a lease gives its connection back at once"]
pub struct Lease<C: Poolable> {
    /// `None` only after the lease was ended by other means than by dropping it.
    loan: Option<Loan<C>>,
}

impl<C: Poolable> Lease<C> {
    /// Lends it, at an instant where the clock was read.
    pub(crate) fn new(home: Arc<dyn Home<C>>, mut lent: Lent<C>, now: Option<Instant>) -> Self {
        lent.item.lent_at = now;
        Self { loan: Some(Loan { home, lent }) }
    }

    /// Whether the connection had been idle or lent before: its peer may have closed it meanwhile, and a
    /// first failure need not mean that the peer is ill.
    pub fn reused(&self) -> bool {
        self.loan().lent.item.reused
    }

    /// How long ago the connection was opened. Takes the pool's lock for a moment.
    pub fn age(&self) -> Duration {
        let Loan { home, lent } = self.loan();
        seam::now().saturating_duration_since(home.opened_at(lent.slot))
    }

    /// How long the caller waited for it. Takes the pool's lock for a moment.
    pub fn waited(&self) -> Duration {
        let Loan { home, lent } = self.loan();
        home.waited(lent.slot)
    }

    /// The instant at which it was lent, if the clock was read then: who needs the present right after
    /// need not read it again.
    #[cfg(feature = "http")]
    pub(crate) fn lent_at(&self) -> Option<Instant> {
        self.loan().lent.item.lent_at
    }

    /// Ends the lease and closes the connection.
    pub fn discard(mut self) {
        self.poison();
    }

    /// Sees to it that the connection is closed when the lease is dropped.
    pub fn poison(&mut self) {
        self.loan_mut().lent.item.poisoned = true;
    }

    /// Takes the connection out of the pool, which counts it as closed and gives its place away.
    pub fn detach(mut self) -> C {
        let Loan { home, lent } = self.take_loan();
        home.vanished(lent.slot, CloseReason::Detached);
        lent.item.connection
    }

    /// Closes the connection and opens another one in its place: certainly a new one, and without
    /// standing in line again. It counts as a lease discarded and a fresh one begun.
    ///
    /// # Errors
    ///
    /// [`GetError::Connect`], [`GetError::ConnectTimedOut`] and [`GetError::Closed`]; the connection is
    /// closed in any case.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection and gives its place free.
    pub async fn renew(mut self) -> Result<Self, GetError> {
        let Loan { home, lent: Lent { slot, item } } = self.take_loan();
        let item = home.clone().renew(slot, item).await?;
        Ok(Self::new(home, Lent { slot, item }, None))
    }

    /// Takes the connection out of the lease, which is over.
    fn take_loan(&mut self) -> Loan<C> {
        self.loan.take().expect("only what ends a lease takes its connection")
    }

    fn loan(&self) -> &Loan<C> {
        self.loan.as_ref().expect("only what ends a lease takes its connection")
    }

    fn loan_mut(&mut self) -> &mut Loan<C> {
        self.loan.as_mut().expect("only what ends a lease takes its connection")
    }

    /// Whether the connection can be used: it is new, or says so itself.
    pub(crate) fn is_usable(&mut self) -> bool {
        !self.reused() || self.state() == State::Reusable
    }

    /// Closes a connection that died before its user saw it.
    pub(crate) fn found_dead(mut self) {
        let Loan { home, lent } = self.take_loan();
        home.found_dead(lent.slot, lent.item);
    }
}

impl<C: Poolable> Drop for Lease<C> {
    fn drop(&mut self) {
        let Some(Loan { home, lent: Lent { slot, mut item } }) = self.loan.take() else { return };
        if item.poisoned || panicking() {
            home.end(slot, item, CloseReason::Discarded);
            return;
        }
        let fuse = Fuse { home: &*home, slot };
        let state = item.connection.state();
        std::mem::forget(fuse);
        match state {
            State::Reusable => home.give_back(slot, item),
            State::Dead => home.end(slot, item, CloseReason::Unusable),
        }
    }
}

/// Gives the place free should the connection panic when asked for its state.
struct Fuse<'a, C> {
    home: &'a dyn Home<C>,
    slot: SlotId,
}

impl<C> Drop for Fuse<'_, C> {
    fn drop(&mut self) {
        self.home.vanished(self.slot, CloseReason::Unusable);
    }
}

impl<C: Poolable> Deref for Lease<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.loan().lent.item.connection
    }
}

impl<C: Poolable> DerefMut for Lease<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.loan_mut().lent.item.connection
    }
}

impl<C: Poolable + fmt::Debug> fmt::Debug for Lease<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("connection", &**self)
            .field("reused", &self.reused())
            .finish_non_exhaustive()
    }
}
