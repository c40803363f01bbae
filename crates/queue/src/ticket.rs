//! What a submitter holds of its job.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::job::{Id, Outcome};
use crate::latch::Wait;
use crate::work::{Ended, Fate};

/// A submitted job: its name, and a future of its end.
///
/// Dropping a ticket changes nothing for the job, which goes its way;
/// [`Queue::cancel`](crate::Queue::cancel) ends it.
///
/// # Cancel safety
///
/// Awaiting `&mut ticket` and dropping that future loses nothing.
#[derive(Debug)]
pub struct Ticket {
    id: Id,
    joined: bool,
    ended: Wait<Ended>,
}

impl Ticket {
    pub(crate) fn new(id: Id, fate: Arc<Fate>, joined: bool) -> Self {
        Self { id, joined, ended: Wait::new(Ended(fate)) }
    }

    /// The name of the job.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Whether the job was there already, under the same unique name, and this submission only joined
    /// it.
    pub fn is_joined(&self) -> bool {
        self.joined
    }

    /// How the job ended, if it did.
    pub fn outcome(&self) -> Option<Outcome> {
        self.ended.holder.0.ended.get()
    }
}

impl Future for Ticket {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.ended).poll(cx)
    }
}
