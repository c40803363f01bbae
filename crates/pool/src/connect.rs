//! What the pool asks of connections and of what opens them.

use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Weak;

use crate::slots::SlotId;

/// Any error of a connector.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What tells connections apart: a host, a shard, `()`. Implemented for all types that can be one.
pub trait Key: Clone + Eq + Hash + Send + Sync + 'static {}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Key for K {}

/// Whether a connection can be lent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It is open, nothing of an earlier use is left in it, and nothing unasked has arrived.
    Reusable,
    /// It is closed, or half used, or says that it will close.
    Dead,
}

/// A connection as the pool sees it.
pub trait Poolable: Send + 'static {
    /// Tells whether it can be lent again. Asked when it comes back and once more right before it is
    /// lent again; it has to answer without waiting, and is asked without any lock held.
    ///
    /// The default has no doubts.
    fn state(&mut self) -> State {
        State::Reusable
    }

    /// Closes it; done when it takes no place any more. Until then its place is not given away, but no
    /// longer than [`Options::close_timeout`](crate::Options::close_timeout). Where it panics it is done,
    /// and the pool's users hear nothing of it.
    ///
    /// The default drops it.
    fn close(self) -> impl Future<Output = ()> + Send
    where
        Self: Sized,
    {
        drop(self);
        std::future::ready(())
    }
}

/// Opens connections.
///
/// Functions from a key to a future are connectors:
///
/// ```
/// # use pool::{Options, Pool, Poolable};
/// struct Socket(u16);
/// impl Poolable for Socket {}
///
/// let connect = |port: u16| async move { Ok::<_, std::io::Error>(Socket(port)) };
/// let pool: Pool<u16, Socket> = Pool::new(connect, Options::default());
/// ```
pub trait Connect<K>: Send + Sync + 'static {
    /// What it opens.
    type Connection: Poolable;
    /// Why it could not.
    type Error: Into<BoxError>;

    /// Opens a connection to `key`.
    ///
    /// It runs as a task of its own, so that its work is not lost when the caller gives up. It is
    /// dropped when it takes longer than [`Options::connect_timeout`](crate::Options::connect_timeout).
    /// A connection that learns of its own end keeps `notice` to say so.
    fn connect(
        &self,
        key: &K,
        notice: CloseNotice,
    ) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send;
}

impl<K, C, E, F, Opening> Connect<K> for F
where
    K: Key,
    C: Poolable,
    E: Into<BoxError>,
    F: Fn(K) -> Opening + Send + Sync + 'static,
    Opening: Future<Output = Result<C, E>> + Send,
{
    type Connection = C;
    type Error = E;

    fn connect(&self, key: &K, _: CloseNotice) -> impl Future<Output = Result<C, E>> + Send {
        self(key.clone())
    }
}

/// A connector of which only the key and the connection are known.
pub(crate) trait DynConnect<K, C>: Send + Sync {
    fn connect_boxed<'a>(&'a self, key: &'a K, notice: CloseNotice) -> Opening<'a, C>;
}

pub(crate) type Opening<'a, C> = Pin<Box<dyn Future<Output = Result<C, BoxError>> + Send + 'a>>;

impl<K: Key, N: Connect<K>> DynConnect<K, N::Connection> for N {
    fn connect_boxed<'a>(&'a self, key: &'a K, notice: CloseNotice) -> Opening<'a, N::Connection> {
        Box::pin(async move { self.connect(key, notice).await.map_err(Into::into) })
    }
}

/// Tells the pool that a connection has ended while nobody used it.
///
/// Whoever drives a connection in the background sends it after the end, so that the pool need not wait
/// for the next user to find out. Not sending it is harmless: the state of a connection is asked before
/// it is lent.
pub struct CloseNotice {
    pub(crate) slot: SlotId,
    pub(crate) home: Weak<dyn Bereaved>,
}

impl CloseNotice {
    /// Says that the connection has ended. Ignored when it is in use or gone already.
    pub fn send(self) {
        if let Some(home) = self.home.upgrade() {
            home.lost(self.slot);
        }
    }
}

impl fmt::Debug for CloseNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CloseNotice").field(&self.slot).finish()
    }
}

/// Who wants to know of the end of a connection.
pub(crate) trait Bereaved: Send + Sync {
    fn lost(&self, slot: SlotId);
}
