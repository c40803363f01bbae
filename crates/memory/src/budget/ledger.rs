//! Who gets the next free bytes: first come, first served. Pure: no lock, no clock, no waker.

use std::collections::{BTreeSet, VecDeque};

/// A place in the line.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Ticket(u64);

/// Where a ticket stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// Still in the line.
    Waiting,
    /// Out of the line with its bytes.
    Granted,
    /// Out of the line with nothing: the limit was cut below what it asked for.
    Refused,
}

/// Limit, free bytes and the line. `W` is what the shell keeps of a waiter: its waker.
#[derive(Debug)]
pub(super) struct Ledger<W> {
    limit_bytes: u64,
    /// Below zero after the limit was cut under what is reserved.
    free_bytes: i64,
    /// In the order of arrival, so sorted by ticket.
    line: VecDeque<Waiter<W>>,
    /// Tickets whose owners do not know yet that they are refused.
    refused: BTreeSet<Ticket>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiter<W> {
    ticket: Ticket,
    bytes: i64,
    waker: W,
}

impl<W> Ledger<W> {
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self {
            limit_bytes,
            free_bytes: signed(limit_bytes),
            line: VecDeque::new(),
            refused: BTreeSet::new(),
            next_ticket: 0,
        }
    }

    pub(super) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    pub(super) fn free_bytes(&self) -> i64 {
        self.free_bytes
    }

    pub(super) fn waiting(&self) -> usize {
        self.line.len()
    }

    /// Replaces the number of free bytes by what the gate held.
    pub(super) fn set_free_bytes(&mut self, free_bytes: i64) {
        self.free_bytes = free_bytes;
    }

    /// Takes `bytes` if they are free and nobody waits for them.
    pub(super) fn try_take(&mut self, bytes: i64) -> bool {
        let fits = self.line.is_empty() && bytes <= self.free_bytes;
        if fits {
            self.free_bytes -= bytes;
        }
        fits
    }

    /// Puts a waiter at the end of the line; `None` if its bytes would never fit.
    pub(super) fn join(&mut self, bytes: i64, waker: W) -> Option<Ticket> {
        if signed(self.limit_bytes) < bytes {
            return None;
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.line.push_back(Waiter { ticket, bytes, waker });
        Some(ticket)
    }

    /// Tells where a ticket stands, and keeps `waker` for it while it waits. Returns the waker that is
    /// not needed any more, to be dropped where the lock is free: with the last waker of a task may go
    /// all that the task holds, reservations too.
    pub(super) fn standing(&mut self, ticket: Ticket, waker: W) -> (Standing, W) {
        if let Some(place) = self.place(ticket) {
            let outdated = std::mem::replace(&mut self.line[place].waker, waker);
            return (Standing::Waiting, outdated);
        }
        let refused = self.refused.remove(&ticket);
        (if refused { Standing::Refused } else { Standing::Granted }, waker)
    }

    /// Takes a ticket out of the line, and its bytes back if it has them already. Returns its waker, to
    /// be dropped where the lock is free.
    pub(super) fn cancel(&mut self, ticket: Ticket, bytes: i64) -> Option<W> {
        if let Some(place) = self.place(ticket) {
            return self.line.remove(place).map(|waiter| waiter.waker);
        }
        if !self.refused.remove(&ticket) {
            self.give(bytes);
        }
        None
    }

    pub(super) fn give(&mut self, bytes: i64) {
        self.free_bytes += bytes;
    }

    /// Moves the limit. Returns the wakers of those who would now wait forever: they are refused.
    pub(super) fn set_limit(&mut self, limit_bytes: u64) -> Vec<W> {
        self.free_bytes += signed(limit_bytes) - signed(self.limit_bytes);
        self.limit_bytes = limit_bytes;
        let line = std::mem::take(&mut self.line);
        let (line, too_large): (VecDeque<_>, VecDeque<_>) =
            line.into_iter().partition(|waiter| waiter.bytes <= signed(limit_bytes));
        self.line = line;
        self.refused.extend(too_large.iter().map(|waiter| waiter.ticket));
        too_large.into_iter().map(|waiter| waiter.waker).collect()
    }

    /// Lets go from the head of the line whose bytes are free. Returns their wakers.
    pub(super) fn settle(&mut self) -> Vec<W> {
        let mut granted = Vec::new();
        while self.line.front().is_some_and(|head| head.bytes <= self.free_bytes) {
            let head = self.line.pop_front().expect("the line has a head");
            self.free_bytes -= head.bytes;
            granted.push(head.waker);
        }
        granted
    }

    fn place(&self, ticket: Ticket) -> Option<usize> {
        self.line.binary_search_by_key(&ticket, |waiter| waiter.ticket).ok()
    }
}

/// Limits and requests are at most `i64::MAX`; the budget's front sees to it.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
