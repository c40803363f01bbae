//! The pool as its users see it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::connect::{Connect, Key, Poolable};
use crate::error::GetError;
use crate::lease::Lease;
use crate::options::Options;
use crate::seam::within;
use crate::shared::{Caller, Shared};
use crate::slots::Slots;
use crate::stats::Stats;

/// Connections by key, lent to one user at a time.
///
/// A cheap handle: clones lend from the same pool, and dropping the last one closes it. Connects run as
/// tasks on the runtime of the caller who waits, and one more task there closes what is idle for too long;
/// it needs tokio's timers.
///
/// # Fairness
///
/// See [`Slots`]: first come, first served, per key and, where the total cap is what callers
/// wait for, over all keys. Nobody is overtaken, so nobody starves.
///
/// # Examples
///
/// ```
/// use pool::{Options, Pool, Poolable};
///
/// struct Socket;
/// impl Poolable for Socket {}
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), pool::GetError> {
/// let connect = |_host: &'static str| async { Ok::<_, std::io::Error>(Socket) };
/// let pool = Pool::new(connect, Options { connections_max: 2, ..Options::default() });
/// {
///     let _socket = pool.get(&"example.org").await?;
/// }
/// assert!(pool.get(&"example.org").await?.reused());
/// assert_eq!(1, pool.stats().opened);
/// # Ok(()) }
/// ```
pub struct Pool<K: Key, C: Poolable> {
    owner: Arc<Owner<K, C>>,
}

/// Closes the pool when the last handle is dropped.
struct Owner<K: Key, C: Poolable>(Arc<Shared<K, C>>);

impl<K: Key, C: Poolable> Drop for Owner<K, C> {
    fn drop(&mut self) {
        self.0.change(|locked| {
            locked.slots.close();
            locked.keeping.look_again();
        });
    }
}

impl<K: Key, C: Poolable> Pool<K, C> {
    /// Returns an empty pool; nothing is opened before somebody asks.
    ///
    /// # Panics
    ///
    /// When a cap in `options` is 0.
    pub fn new(connector: impl Connect<K, Connection = C>, options: Options) -> Self {
        Self { owner: Arc::new(Owner(Shared::new(Box::new(connector), options))) }
    }

    /// Waits for a connection to `key`: an idle one, one that comes back, or a new one, whichever is
    /// first.
    ///
    /// A connection that has been idle is asked for its state before it is lent; a dead one is closed
    /// and the caller served again, at the same place in the order.
    ///
    /// # Errors
    ///
    /// [`GetError::Connect`], [`GetError::ConnectTimedOut`] and [`GetError::ConnectAborted`] when a connect
    /// for this key failed while this caller was first in line; each failed connect tells one caller.
    /// [`GetError::Closed`]; [`GetError::TooManyWaiting`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime when no connection is idle.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in line. A connect under way goes on, and its connection
    /// serves the next caller or becomes idle; a connection that was already on its way to this caller
    /// goes back.
    pub async fn get(&self, key: &K) -> Result<Lease<C>, GetError> {
        Caller::new(&self.owner.0, key).await
    }

    /// Like [`Pool::get`], but for no longer than `limit`.
    ///
    /// # Errors
    ///
    /// [`GetError::TimedOut`], and those of [`Pool::get`].
    ///
    /// # Panics
    ///
    /// Like [`Pool::get`].
    ///
    /// # Cancel safety
    ///
    /// Like [`Pool::get`].
    pub async fn get_timeout(&self, key: &K, limit: Duration) -> Result<Lease<C>, GetError> {
        let result = within(Some(limit), self.get(key)).await;
        result.unwrap_or(Err(GetError::TimedOut { after: limit }))
    }

    /// Lends a connection that is idle now, if there is one. Opens none and overtakes nobody.
    pub fn try_get(&self, key: &K) -> Option<Lease<C>> {
        let mut ticket = None;
        // Each turn but the last closes a connection that was open when the turn began.
        loop {
            let mut lease = self.owner.0.take(key, &mut ticket)?;
            if lease.is_usable() {
                return Some(lease);
            }
            lease.found_dead();
        }
    }

    /// Returns what the pool holds and has done, over all keys.
    pub fn stats(&self) -> Stats {
        self.owner.0.count(Slots::stats)
    }

    /// Returns the same key by key, for the keys with connections or callers and for the 1024 that had
    /// them last; in no order.
    pub fn stats_by_key(&self) -> Vec<(K, Stats)> {
        let owned = |(key, stats): (&K, Stats)| (key.clone(), stats);
        self.owner.0.count(|slots| slots.stats_by_key().map(owned).collect())
    }

    /// Sees to it that no connection of `key` that is open or being opened now serves a later caller:
    /// idle ones are closed now, the others when they come back. For a host that moved, or credentials
    /// that changed.
    pub fn drain(&self, key: &K) {
        self.owner.0.change(|locked| locked.slots.drain(key));
    }

    /// Sets both caps, at once. Lowered ones close idle connections, longest idle first, and others when
    /// they come back; nothing new begins until the live ones are below.
    ///
    /// # Panics
    ///
    /// When a cap is 0.
    pub fn resize(&self, connections_max: usize, connections_per_key_max: usize) {
        self.owner.0.change(|locked| {
            locked.slots.resize(connections_max, connections_per_key_max);
        });
    }

    /// Closes the pool for good: all who wait and all who will ask get [`GetError::Closed`], idle
    /// connections are closed now, the others when they come back.
    pub fn close(&self) {
        self.owner.0.change(|locked| {
            locked.slots.close();
            locked.keeping.look_again();
        });
    }

    /// Waits until the pool is closed and nothing of it is open any more.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn closed(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.owner.0.emptied.notified());
            emptied.as_mut().enable();
            if self.owner.0.read(|slots| slots.is_closed() && slots.live() == 0) {
                return;
            }
            emptied.await;
        }
    }
}

impl<K: Key, C: Poolable> Clone for Pool<K, C> {
    fn clone(&self) -> Self {
        Self { owner: self.owner.clone() }
    }
}

impl<K: Key, C: Poolable> fmt::Debug for Pool<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("stats", &self.stats()).finish()
    }
}
