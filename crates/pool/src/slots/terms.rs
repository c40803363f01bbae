//! What the core and its shell say to each other.

use std::time::{Duration, Instant};

use crate::stats::CloseReason;

/// The name of one place in the pool. It is never used again for another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// A caller's place in the order of arrival. Keep it over several attempts to keep the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its rank: lower came first.
    pub number: u64,
    /// When it came.
    pub since: Instant,
}

/// A connection lent out.
#[derive(Debug)]
pub struct Granted<T> {
    /// Its place; every later call about this lease names it.
    pub slot: SlotId,
    /// The connection.
    pub connection: T,
    /// When it was opened.
    pub opened_at: Instant,
    /// Whether it had been idle or lent before, so that its peer may have closed it meanwhile.
    pub reused: bool,
    /// How long the caller waited.
    pub waited: Duration,
}

/// What the shell has to do after a call, in this order.
#[derive(Debug)]
pub enum Command<K, T, W, P> {
    /// Open a connection, then call [`Slots::connected`](crate::Slots::connected) or
    /// [`Slots::failed`](crate::Slots::failed).
    Connect {
        /// The place it will have.
        slot: SlotId,
        /// Where to.
        key: K,
        /// Where to run it: that of the caller who needs it most.
        place: P,
    },
    /// Give a connection to a caller who waits; call [`Slots::unclaimed`](crate::Slots::unclaimed) if
    /// the caller has gone.
    Hand {
        /// The caller.
        waiter: W,
        /// What the caller gets.
        granted: Granted<T>,
    },
    /// Close a connection, then call [`Slots::closed`](crate::Slots::closed).
    Close {
        /// Its place, taken until it is closed.
        slot: SlotId,
        /// The connection.
        connection: T,
        /// Why.
        reason: CloseReason,
    },
    /// Tell a caller who waits that the pool was closed.
    Refuse {
        /// The caller.
        waiter: W,
    },
}

/// Why a caller may not wait.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// The pool was closed.
    Closed,
    /// As many callers wait as may.
    Full,
}
