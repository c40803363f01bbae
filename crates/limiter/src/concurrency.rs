//! How many at once: the handle that tasks share.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::sync::Mutex;
use crate::waiters::{Slot, Waiters};
use crate::{SlotTicket, Slots};

/// A limit on how many do something at once. A clone is another handle of the same limit.
///
/// # Fairness and order
///
/// First come, first served; nobody passes those who wait.
///
/// # Examples
///
/// ```
/// use limiter::ConcurrencyLimit;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let limit = ConcurrencyLimit::new(2);
/// let first = limit.acquire().await;
/// let second = limit.acquire().await;
/// assert!(limit.try_acquire().is_none());
/// drop(first);
/// assert!(limit.try_acquire().is_some());
/// # drop(second);
/// # }
/// ```
#[derive(Clone)]
pub struct ConcurrencyLimit {
    shared: Arc<Mutex<State>>,
}

struct State {
    slots: Slots,
    waiters: Waiters<SlotTicket, ()>,
}

/// The right to be one of those in flight; dropping it gives it back.
#[derive(Debug)]
#[must_use = "dropping a permit gives it back at once"]
pub struct ConcurrencyPermit {
    limit: ConcurrencyLimit,
}

impl ConcurrencyLimit {
    /// Returns a limit of this many permits; with 0 nobody is let in until it is resized.
    pub fn new(limit: usize) -> Self {
        let state = State { slots: Slots::new(limit), waiters: Waiters::new() };
        Self { shared: Arc::new(Mutex::new(state)) }
    }

    /// Waits for a permit.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the place in the line and nothing else; a permit that was granted but
    /// not yet received goes to the next.
    pub async fn acquire(&self) -> ConcurrencyPermit {
        let mut waiting = Waiting { limit: self, ticket: None };
        poll_fn(|cx| waiting.poll(cx)).await;
        ConcurrencyPermit { limit: self.clone() }
    }

    /// Returns a permit if one is free and nobody waits.
    pub fn try_acquire(&self) -> Option<ConcurrencyPermit> {
        let taken = self.shared.lock().slots.try_take();
        taken.then(|| ConcurrencyPermit { limit: self.clone() })
    }

    /// Changes the number of permits. Where fewer are left than are in flight, those go on, and nobody
    /// else is let in until enough have ended.
    pub fn resize(&self, limit: usize) {
        self.change(|state| state.slots.resize(limit));
    }

    /// Returns the number of permits.
    pub fn limit(&self) -> usize {
        self.shared.lock().slots.limit()
    }

    /// Returns how many permits are out.
    pub fn in_flight(&self) -> usize {
        self.shared.lock().slots.in_use()
    }

    /// Returns how many wait for a permit.
    pub fn waiting(&self) -> usize {
        self.shared.lock().slots.waiting()
    }

    fn change<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.shared.lock();
        let result = act(&mut state);
        let woken = state.settle();
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        result
    }
}

impl State {
    /// Hands out what has been granted and returns whom to wake.
    fn settle(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        while let Some(ticket) = self.slots.next_grant() {
            woken.extend(self.waiters.grant(ticket, ()));
        }
        woken
    }
}

/// A request of a task: made when first polled, taken back when dropped.
struct Waiting<'a> {
    limit: &'a ConcurrencyLimit,
    ticket: Option<SlotTicket>,
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.limit.shared.lock();
        if self.ticket.is_none() && state.slots.try_take() {
            return Poll::Ready(());
        }
        let ticket = *self.ticket.get_or_insert_with(|| state.slots.enqueue());
        let outdated = state.waiters.wait(ticket, cx);
        let granted = state.waiters.take(ticket);
        drop(state);
        drop(outdated);
        if granted.is_none() {
            return Poll::Pending;
        }
        self.ticket = None;
        Poll::Ready(())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else {
            return;
        };
        // Under one lock: between two, the slot could be granted to nobody.
        let left = self.limit.change(|state| {
            let left = state.waiters.leave(ticket);
            match left {
                Some(Slot::Granted(())) => state.slots.put_back(),
                Some(Slot::Waiting(_)) | None => drop(state.slots.cancel(ticket)),
            }
            left
        });
        drop(left);
    }
}

impl Drop for ConcurrencyPermit {
    fn drop(&mut self) {
        self.limit.change(|state| state.slots.put_back());
    }
}

impl fmt::Debug for ConcurrencyLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimit").field("limit", &self.limit()).finish_non_exhaustive()
    }
}
