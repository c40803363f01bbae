//! What a transition brings about outside of the lock.

use std::sync::Arc;
use std::task::Waker;

use super::worker::Start;
use crate::job::Outcome;
use crate::latch::Latch;
use crate::work::{Fate, Work};

/// Gathered with the lock held, carried out without it: wakers and dropped futures are strangers'
/// code.
#[derive(Default)]
pub(super) struct Effects {
    /// Jobs to run.
    pub(super) starts: Vec<Start>,
    /// Jobs that ended, and whose waiters are to learn of it.
    pub(super) ended: Vec<(Work, Outcome)>,
    /// Jobs that are to end early.
    pub(super) stopped: Vec<Arc<Fate>>,
    /// Submitters that have room now, or never will; and those who wait for the queue to be idle.
    pub(super) opened: Vec<Arc<Latch<()>>>,
    /// Subscribers and the timer.
    pub(super) wakers: Vec<Waker>,
    /// Work that joined another.
    pub(super) dropped: Vec<Work>,
    /// The timer is to be started.
    pub(super) starts_timer: bool,
}

impl Effects {
    /// Tells everybody; what is to be started is left to the caller.
    pub(super) fn tell(&mut self) {
        for (work, outcome) in self.ended.drain(..) {
            work.pledge.fate().ended.set(outcome);
        }
        for fate in self.stopped.drain(..) {
            fate.stop.set(());
        }
        for latch in self.opened.drain(..) {
            latch.set(());
        }
        self.wakers.drain(..).for_each(Waker::wake);
        self.dropped.clear();
    }
}
