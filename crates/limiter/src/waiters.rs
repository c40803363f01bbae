//! Whom to wake: the tasks that wait, and what they have been granted.

use std::collections::BTreeMap;
use std::task::{Context, Waker};

/// The tasks that wait in some line, by ticket.
#[derive(Debug)]
pub(crate) struct Waiters<T, G> {
    slots: BTreeMap<T, Slot<G>>,
}

#[derive(Debug)]
enum Slot<G> {
    Waiting(Waker),
    Granted(G),
}

impl<T: Ord + Copy, G> Waiters<T, G> {
    pub(crate) fn new() -> Self {
        Self { slots: BTreeMap::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Notes whom to wake for this ticket from now on.
    pub(crate) fn wait(&mut self, ticket: T, cx: &Context<'_>) {
        match self.slots.get_mut(&ticket) {
            Some(Slot::Waiting(waker)) => waker.clone_from(cx.waker()),
            Some(Slot::Granted(_)) => {}
            None => drop(self.slots.insert(ticket, Slot::Waiting(cx.waker().clone()))),
        }
    }

    /// Notes what a ticket has been granted, and returns whom to wake.
    pub(crate) fn grant(&mut self, ticket: T, grant: G) -> Option<Waker> {
        match self.slots.insert(ticket, Slot::Granted(grant)) {
            Some(Slot::Waiting(waker)) => Some(waker),
            Some(Slot::Granted(_)) | None => None,
        }
    }

    /// Returns what a ticket has been granted, once.
    pub(crate) fn take(&mut self, ticket: T) -> Option<G> {
        if !matches!(self.slots.get(&ticket), Some(Slot::Granted(_))) {
            return None;
        }
        self.leave(ticket)
    }

    /// Forgets a ticket; returns what it was granted and has not taken.
    pub(crate) fn leave(&mut self, ticket: T) -> Option<G> {
        match self.slots.remove(&ticket) {
            Some(Slot::Granted(grant)) => Some(grant),
            Some(Slot::Waiting(_)) | None => None,
        }
    }

    /// Whom to wake for a ticket that still waits.
    pub(crate) fn waker(&self, ticket: T) -> Option<Waker> {
        match self.slots.get(&ticket) {
            Some(Slot::Waiting(waker)) => Some(waker.clone()),
            Some(Slot::Granted(_)) | None => None,
        }
    }

    /// The ticket that has waited longest and still does.
    pub(crate) fn first_waiting(&self) -> Option<T> {
        let waits = |slot: &Slot<G>| matches!(slot, Slot::Waiting(_));
        self.slots.iter().find_map(|(ticket, slot)| waits(slot).then_some(*ticket))
    }
}
