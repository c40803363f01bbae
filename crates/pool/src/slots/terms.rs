//! What the core and its shell say to each other.

use std::time::Instant;

use crate::stats::CloseReason;

/// The name of one place in the pool. It is never used again for another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId(u64);

impl SlotId {
    /// One number and not two: it goes through many hands, and halves that are written apart and read
    /// as one make the processor wait.
    pub(super) fn new(index: u32, generation: u32) -> Self {
        Self(u64::from(generation) << u32::BITS | u64::from(index))
    }

    pub(super) fn index(self) -> u32 {
        self.0 as u32
    }

    pub(super) fn generation(self) -> u32 {
        (self.0 >> u32::BITS) as u32
    }
}

/// A caller's place in the order of arrival. Keep it over several attempts to keep the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its rank: lower came first.
    pub number: u64,
    /// When it came.
    pub since: Instant,
}

/// A connection lent out. It goes from hand to hand by value, and so holds no more than its user needs
/// at once: the rest is told by [`Slots::opened_at`](crate::Slots::opened_at) and
/// [`Slots::waited`](crate::Slots::waited).
#[derive(Debug)]
pub struct Granted<T> {
    /// Its place; every later call about this lease names it.
    pub slot: SlotId,
    /// The connection.
    pub connection: T,
    /// Whether it had been idle or lent before, so that its peer may have closed it meanwhile.
    pub reused: bool,
}

/// What became of a connection that the pool took in.
#[derive(Debug)]
#[must_use = "a connection that was handed on is in here"]
pub enum Fate<T, W> {
    /// It goes to a caller who waits, who is no longer in line; call
    /// [`Slots::unclaimed`](crate::Slots::unclaimed) if the caller has gone.
    Handed {
        /// The caller.
        waiter: W,
        /// What the caller gets.
        granted: Granted<T>,
    },
    /// It is idle.
    Idle {
        /// When it will have to be swept if it stays idle until then; `None` when nothing limits it.
        until: Option<Instant>,
    },
    /// It may not be lent again, and a [`Command`] says to close it.
    Closing,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The pool was closed.
    Closed,
    /// As many callers wait as may.
    Full,
}
