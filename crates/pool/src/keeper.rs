//! Closes what has been idle for too long although nobody comes by.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::connect::{Key, Poolable};
use crate::seam::{self, Runtime};
use crate::shared::Shared;

/// The least time between two sweeps: each looks at all idle connections, and this bounds their cost.
const SWEEP_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Whether a keeper runs and what it waits for.
#[derive(Default)]
pub(crate) struct Keeping {
    /// When the keeper sweeps next; `None` while there is no keeper.
    sweeps_at: Option<Instant>,
    /// The runtime of a caller who had to wait.
    runtime: Option<Runtime>,
    wake: Arc<Notify>,
    due: Option<Due>,
}

/// What is to be done once the lock is free.
pub(crate) enum Due {
    /// Start the keeper.
    Start(Runtime, Arc<Notify>),
    /// It would sleep for too long.
    Wake(Arc<Notify>),
}

impl Keeping {
    /// The keeper may run where this caller does.
    pub(crate) fn runs_on(&mut self, runtime: &Runtime) {
        if self.runtime.is_none() {
            self.runtime = Some(runtime.clone());
        }
    }

    /// Sees to it that there is a sweep at `deadline` or soon after.
    pub(crate) fn expect_sweep(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        match self.sweeps_at {
            None => self.start(deadline),
            Some(at) if deadline + SWEEP_INTERVAL_MIN < at => self.wake(deadline),
            Some(_) => {}
        }
    }

    /// Lets the keeper look again: nothing may be left for it to do.
    pub(crate) fn look_again(&mut self) {
        if self.sweeps_at.is_some() {
            self.due = Some(Due::Wake(self.wake.clone()));
        }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// What is to be done now, each once.
    pub(crate) fn due(&mut self) -> Option<Due> {
        self.due.take()
    }

    fn start(&mut self, deadline: Instant) {
        if let Some(runtime) = self.runtime.clone() {
            self.sweeps_at = Some(deadline);
            self.due = Some(Due::Start(runtime, self.wake.clone()));
        }
    }

    fn wake(&mut self, deadline: Instant) {
        self.sweeps_at = Some(deadline);
        self.due = Some(Due::Wake(self.wake.clone()));
    }
}

impl Due {
    pub(crate) fn carry_out<K: Key, C: Poolable>(self, pool: Weak<Shared<K, C>>) {
        match self {
            Self::Start(runtime, wake) => {
                let keeper = Keeper { pool, is_done: false };
                runtime.spawn_timer(keeper.keep(wake));
            }
            Self::Wake(wake) => wake.notify_one(),
        }
    }
}

/// The task. It does not keep the pool alive, and ends when nothing is idle.
struct Keeper<K: Key, C: Poolable> {
    pool: Weak<Shared<K, C>>,
    is_done: bool,
}

impl<K: Key, C: Poolable> Keeper<K, C> {
    async fn keep(mut self, wake: Arc<Notify>) {
        while let Some(at) = self.sweep() {
            seam::until(at, wake.notified()).await;
        }
        self.is_done = true;
    }

    /// Closes what is over its time. Returns when to do it again, or `None` when there is no need.
    fn sweep(&self) -> Option<Instant> {
        let now = seam::now();
        self.pool.upgrade()?.change(|locked| {
            let deadline = locked.slots.sweep(now);
            let at = deadline.map(|deadline| deadline.max(now + SWEEP_INTERVAL_MIN));
            locked.keeping.sweeps_at = at;
            at
        })
    }
}

/// A keeper whose runtime ends before the pool has to be started anew elsewhere.
impl<K: Key, C: Poolable> Drop for Keeper<K, C> {
    fn drop(&mut self) {
        let pool = self.pool.upgrade().filter(|_| !self.is_done);
        if let Some(pool) = pool {
            pool.change(|locked| locked.keeping = Keeping::default());
        }
    }
}
