//! How many at once: the decisions, without a runtime.

use std::collections::{BTreeSet, VecDeque};

/// A number of slots, those in use and the line of those who wait: the decisions of `ConcurrencyLimit`.
///
/// First come, first served. Every slot in use is put back exactly once by whoever drives it; shrinking
/// below what is in use takes nothing away, but grants nothing until enough have been put back.
///
/// # Examples
///
/// ```
/// use limiter::Slots;
///
/// let mut slots = Slots::new(1);
/// assert!(slots.try_take());
/// let second = slots.enqueue();
/// assert_eq!(None, slots.next_grant());
/// slots.put_back();
/// assert_eq!(Some(second), slots.next_grant());
/// ```
#[derive(Clone, Debug)]
pub struct Slots {
    limit: usize,
    in_use: usize,
    line: BTreeSet<SlotTicket>,
    granted: VecDeque<SlotTicket>,
    tickets: u64,
}

/// A request that waits for one of [`Slots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotTicket(u64);

impl Slots {
    /// Returns this many slots, none in use. With 0 slots nothing is granted until they are resized.
    pub fn new(limit: usize) -> Self {
        Self { limit, in_use: 0, line: BTreeSet::new(), granted: VecDeque::new(), tickets: 0 }
    }

    /// Takes a slot if one is free and nobody waits; returns whether it did.
    pub fn try_take(&mut self) -> bool {
        let is_free = self.in_use < self.limit && self.line.is_empty();
        self.in_use += usize::from(is_free);
        is_free
    }

    /// Puts a request at the end of the line.
    pub fn enqueue(&mut self) -> SlotTicket {
        let ticket = SlotTicket(self.tickets);
        self.tickets += 1;
        self.line.insert(ticket);
        self.grant();
        ticket
    }

    /// Takes a request out of the line; returns whether it was still waiting there.
    pub fn cancel(&mut self, ticket: SlotTicket) -> bool {
        self.line.remove(&ticket)
    }

    /// Puts a slot back that was in use.
    ///
    /// # Panics
    ///
    /// When none is in use: something was put back twice.
    pub fn put_back(&mut self) {
        self.in_use = self.in_use.checked_sub(1).expect("a slot is put back once");
        self.grant();
    }

    /// Changes the number of slots.
    pub fn resize(&mut self, limit: usize) {
        self.limit = limit;
        self.grant();
    }

    /// Returns the next of the requests that have got a slot, in their order.
    pub fn next_grant(&mut self) -> Option<SlotTicket> {
        self.granted.pop_front()
    }

    /// Returns the number of slots.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Returns how many slots are in use; more than there are, for a while after shrinking.
    pub fn in_use(&self) -> usize {
        self.in_use
    }

    /// Returns how many requests wait.
    pub fn waiting(&self) -> usize {
        self.line.len()
    }

    fn grant(&mut self) {
        while self.in_use < self.limit {
            let Some(ticket) = self.line.pop_first() else {
                break;
            };
            self.in_use += 1;
            self.granted.push_back(ticket);
        }
    }
}
