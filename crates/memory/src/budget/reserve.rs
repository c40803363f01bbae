//! Waiting in the line.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::ledger::{Standing, Ticket};
use super::{Budget, Refused, Reservation};

/// The future of [`Budget::reserve`]; owned, `'static`, for any executor.
///
/// # Cancel safety
///
/// Dropping it takes no bytes and gives up the place in the line.
#[derive(Debug)]
#[must_use = "nobody waits before the first poll"]
pub struct Reserve {
    budget: Budget,
    bytes: u64,
    ticket: Option<Ticket>,
}

impl Reserve {
    pub(super) fn new(budget: Budget, bytes: u64) -> Self {
        Self { budget, bytes, ticket: None }
    }

    /// Takes the bytes, or a place in the line, and then has the caches make room.
    fn arrive(&mut self, waker: &Waker) -> Poll<Result<Reservation, Refused>> {
        if self.budget.take(self.bytes) {
            return Poll::Ready(Ok(self.budget.granted(self.bytes)));
        }
        self.ticket = self.budget.shared().with_ledger(|ledger| {
            let bytes = i64::try_from(self.bytes).ok()?;
            ledger.join(bytes, waker.clone())
        });
        let Some(ticket) = self.ticket else {
            return Poll::Ready(Err(self.budget.refused(self.bytes)));
        };
        // First the place, then the caches: whoever fills a cache after this sees that somebody waits.
        self.budget.reclaim_for(self.bytes);
        self.look(ticket, waker)
    }

    fn look(&mut self, ticket: Ticket, waker: &Waker) -> Poll<Result<Reservation, Refused>> {
        let (standing, outdated) =
            self.budget.shared().with_ledger(|ledger| ledger.standing(ticket, waker.clone()));
        drop(outdated);
        if standing == Standing::Waiting {
            return Poll::Pending;
        }
        self.ticket = None;
        Poll::Ready(match standing {
            Standing::Granted => Ok(self.budget.granted(self.bytes)),
            _ => Err(self.budget.refused(self.bytes)),
        })
    }
}

impl Future for Reserve {
    type Output = Result<Reservation, Refused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.ticket {
            Some(ticket) => self.look(ticket, cx.waker()),
            None => self.arrive(cx.waker()),
        }
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let bytes = i64::try_from(self.bytes).expect("more than a limit never gets a ticket");
        drop(self.budget.shared().with_ledger(|ledger| ledger.cancel(ticket, bytes)));
    }
}
