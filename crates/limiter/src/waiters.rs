//! Whom to wake: the tasks that wait, and what they have been granted.
//!
//! Wakers go in and out, and none is dropped in here, under the lock of whoever asks: to drop the last one
//! of a task may drop all that the task holds, permits and places in this very line too.

use std::collections::BTreeMap;
use std::task::{Context, Waker};

/// The tasks that wait in some line, by ticket.
#[derive(Debug)]
pub(crate) struct Waiters<T, G> {
    slots: BTreeMap<T, Slot<G>>,
}

/// What is known of a ticket.
#[derive(Debug)]
pub(crate) enum Slot<G> {
    /// Its task is woken by this, which is to be dropped where the lock is free.
    Waiting(Waker),
    /// It was granted this, and its task does not know yet.
    Granted(G),
}

impl<T: Ord + Copy, G> Waiters<T, G> {
    pub(crate) fn new() -> Self {
        Self { slots: BTreeMap::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Notes whom to wake for this ticket from now on, and returns whom no longer.
    #[must_use = "a waker is dropped where the lock is free"]
    pub(crate) fn wait(&mut self, ticket: T, cx: &Context<'_>) -> Option<Waker> {
        match self.slots.get_mut(&ticket) {
            Some(Slot::Waiting(waker)) if waker.will_wake(cx.waker()) => None,
            Some(Slot::Waiting(waker)) => Some(std::mem::replace(waker, cx.waker().clone())),
            Some(Slot::Granted(_)) => None,
            None => {
                self.slots.insert(ticket, Slot::Waiting(cx.waker().clone()));
                None
            }
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
        match self.leave(ticket) {
            Some(Slot::Granted(grant)) => Some(grant),
            Some(Slot::Waiting(_)) | None => None,
        }
    }

    /// Forgets a ticket; returns what was known of it.
    #[must_use = "a waker is dropped where the lock is free"]
    pub(crate) fn leave(&mut self, ticket: T) -> Option<Slot<G>> {
        self.slots.remove(&ticket)
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
