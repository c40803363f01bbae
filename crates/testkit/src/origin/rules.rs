//! Fault rules with what they have seen and done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::fault::{Fault, FaultKind};
use crate::pace::Pace;

/// A rule at work. All counters are independent of each other: relaxed order is enough.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) fault: Fault,
    /// Requests on which it could act.
    seen: AtomicU64,
    /// Shared with the statistics, which outlive the rule.
    done: Arc<AtomicU64>,
    /// Bodies that are being sent under the rule; for `collapse`.
    bodies: AtomicU64,
    /// The schedule that all bodies share; for `collapse`.
    pub(crate) pace: Mutex<Pace>,
    /// A `collapse` has ended; those that wait for their time under it need wait no longer.
    pub(crate) relief: Notify,
}

impl Rule {
    pub(crate) fn new(fault: Fault, done: Arc<AtomicU64>) -> Self {
        let pace = Mutex::new(Pace::new(Instant::now()));
        let (seen, bodies) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { fault, seen, done, bodies, pace, relief: Notify::new() }
    }

    /// Counts one request on which the rule can act, and tells whether it is one that it acts on.
    pub(crate) fn acts(&self) -> bool {
        self.fault.counts_in(self.seen.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Counts one deed for the statistics.
    pub(crate) fn count(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts requests from 1 again.
    pub(crate) fn restart(&self) {
        self.seen.store(0, Ordering::Relaxed);
    }

    /// Returns how many bodies are being sent under the rule.
    pub(crate) fn bodies(&self) -> u64 {
        self.bodies.load(Ordering::Relaxed)
    }

    /// Counts a body until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Within {
        self.bodies.fetch_add(1, Ordering::Relaxed);
        Within { rule: Arc::clone(self), is_counted: AtomicBool::new(false) }
    }
}

/// One body under a rule.
#[derive(Debug)]
pub(crate) struct Within {
    pub(crate) rule: Arc<Rule>,
    is_counted: AtomicBool,
}

impl Within {
    /// Counts the body among those that the rule has slowed down, once.
    pub(crate) fn count(&self) {
        if !self.is_counted.swap(true, Ordering::Relaxed) {
            self.rule.count();
        }
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        let left = self.rule.bodies.fetch_sub(1, Ordering::Relaxed) - 1;
        if matches!(self.rule.fault.kind(), FaultKind::Collapse { bodies, .. } if *bodies == left) {
            *self.rule.pace.lock() = Pace::new(Instant::now());
            self.rule.relief.notify_waiters();
        }
    }
}
