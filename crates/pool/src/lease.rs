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

/// A connection and the runtime on which it was opened and will be closed.
#[derive(Debug)]
pub(crate) struct Item<C> {
    pub(crate) connection: C,
    pub(crate) runtime: Runtime,
}

/// Where leases end.
pub(crate) trait Home<C>: Send + Sync {
    /// Takes back a connection that can be lent again.
    fn give_back(&self, slot: SlotId, item: Item<C>);
    /// Takes back a connection that its caller never received.
    fn unclaimed(&self, granted: Granted<Item<C>>);
    /// Takes back a connection that was dead when it was about to be lent, and closes it.
    fn found_dead(&self, slot: SlotId, item: Item<C>, waited: Duration);
    /// Ends a lease and closes the connection.
    fn end(&self, slot: SlotId, item: Item<C>, reason: CloseReason);
    /// Ends a lease whose connection the pool does not get back.
    fn vanished(&self, slot: SlotId, reason: CloseReason);
    /// Closes the connection and opens another one in its place.
    fn renew(self: Arc<Self>, slot: SlotId, item: Item<C>) -> Renewing<C>;
}

/// Becomes a new connection and the instant at which it was opened.
pub(crate) type Renewing<C> =
    Pin<Box<dyn Future<Output = Result<(Item<C>, Instant), GetError>> + Send>>;

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
    home: Arc<dyn Home<C>>,
    slot: SlotId,
    /// `None` only after the lease was ended by other means than by dropping it.
    item: Option<Item<C>>,
    opened_at: Instant,
    reused: bool,
    waited: Duration,
    /// When it was lent, where the clock was read for it.
    lent_at: Option<Instant>,
    poisoned: bool,
}

impl<C: Poolable> Lease<C> {
    pub(crate) fn new(
        home: Arc<dyn Home<C>>,
        granted: Granted<Item<C>>,
        lent_at: Option<Instant>,
    ) -> Self {
        let Granted { slot, connection, opened_at, reused, waited } = granted;
        let (item, poisoned) = (Some(connection), false);
        Self { home, slot, item, opened_at, reused, waited, lent_at, poisoned }
    }

    /// Whether the connection had been idle or lent before: its peer may have closed it meanwhile, and a
    /// first failure need not mean that the peer is ill.
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// How long ago the connection was opened.
    pub fn age(&self) -> Duration {
        seam::now().saturating_duration_since(self.opened_at)
    }

    /// How long the caller waited for it.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The instant at which it was lent, if the clock was read then: who needs the present right after
    /// need not read it again.
    #[cfg(feature = "http")]
    pub(crate) fn lent_at(&self) -> Option<Instant> {
        self.lent_at
    }

    /// Ends the lease and closes the connection.
    pub fn discard(mut self) {
        self.poison();
    }

    /// Sees to it that the connection is closed when the lease is dropped.
    pub fn poison(&mut self) {
        self.poisoned = true;
    }

    /// Takes the connection out of the pool, which counts it as closed and gives its place away.
    pub fn detach(mut self) -> C {
        let item = self.take_item();
        self.home.vanished(self.slot, CloseReason::Detached);
        item.connection
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
        let item = self.take_item();
        let (item, opened_at) = self.home.clone().renew(self.slot, item).await?;
        self.item = Some(item);
        self.opened_at = opened_at;
        self.reused = false;
        self.lent_at = None;
        self.poisoned = false;
        Ok(self)
    }

    /// Takes the connection out of the lease, which is over.
    fn take_item(&mut self) -> Item<C> {
        self.item.take().expect("only what ends a lease takes its connection")
    }

    /// Gives back what the caller never received.
    pub(crate) fn unclaimed(mut self) {
        let Some(connection) = self.item.take() else { return };
        let Self { slot, opened_at, reused, waited, .. } = self;
        self.home.unclaimed(Granted { slot, connection, opened_at, reused, waited });
    }

    /// Whether the connection can be used: it is new, or says so itself.
    pub(crate) fn is_usable(&mut self) -> bool {
        !self.reused || self.state() == State::Reusable
    }

    /// Closes a connection that died before its user saw it.
    pub(crate) fn found_dead(mut self) {
        if let Some(item) = self.item.take() {
            self.home.found_dead(self.slot, item, self.waited);
        }
    }
}

impl<C: Poolable> Drop for Lease<C> {
    fn drop(&mut self) {
        let Some(mut item) = self.item.take() else { return };
        if self.poisoned || panicking() {
            self.home.end(self.slot, item, CloseReason::Discarded);
            return;
        }
        let fuse = Fuse { home: &*self.home, slot: self.slot };
        let state = item.connection.state();
        std::mem::forget(fuse);
        match state {
            State::Reusable => self.home.give_back(self.slot, item),
            State::Dead => self.home.end(self.slot, item, CloseReason::Unusable),
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
        &self.item.as_ref().expect("only what ends a lease takes its connection").connection
    }
}

impl<C: Poolable> DerefMut for Lease<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.item.as_mut().expect("only what ends a lease takes its connection").connection
    }
}

impl<C: Poolable + fmt::Debug> fmt::Debug for Lease<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("connection", &self.item.as_ref().map(|item| &item.connection))
            .field("reused", &self.reused)
            .finish_non_exhaustive()
    }
}
