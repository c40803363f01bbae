//! Runs jobs, one after the other, as long as there are any.

use std::future::Future;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::effects::Effects;
use super::inner::Inner;
use crate::job::{Finish, Id};
use crate::latch::Wait;
use crate::seam::{Runtime, yield_now};
use crate::work::{Code, Fate, StopRequested, drop_quietly};

/// A job that was started and is to be run.
pub(super) struct Start {
    pub(super) id: Id,
    pub(super) code: Code,
    pub(super) fate: Arc<Fate>,
}

/// So many jobs run in a row before the worker lets other tasks of its thread have a turn: often
/// enough for them, seldom enough not to be felt by jobs of a microsecond.
const JOBS_IN_A_ROW_MAX: usize = 64;

/// A task that runs jobs. It takes the next one itself when one ends, so that a task is started for
/// each job that finds a slot free, not for each job.
pub(super) struct Worker<K: Clone + Eq + Hash> {
    inner: Arc<Inner<K>>,
    /// The job that runs: whatever becomes of the task, its end is told.
    running: Option<Id>,
    effects: Effects,
}

impl<K: Clone + Eq + Hash + Send + 'static> Worker<K> {
    /// Runs this job, and those that come after it.
    pub(super) fn spawn(inner: &Arc<Inner<K>>, start: Start) {
        let (effects, running) = (Effects::default(), Some(start.id));
        let worker = Self { inner: Arc::clone(inner), running, effects };
        inner.runtime.spawn(worker.run(start));
    }

    async fn run(mut self, first: Start) {
        let mut next = Some(first);
        let mut in_a_row = 0;
        while let Some(Start { id, code, fate }) = next.take() {
            self.running = Some(id);
            let finish = Running::new(&self.inner, code, fate).await;
            next = self.inner.finish(id, finish, &mut self.effects);
            self.running = next.as_ref().map(|start| start.id);
            in_a_row += 1;
            if in_a_row == JOBS_IN_A_ROW_MAX {
                in_a_row = 0;
                yield_now().await;
            }
        }
    }
}

/// The task was dropped with a job in it: its runtime is gone, and no job can run any more. (Whatever a
/// job panics with ends in [`Running`]; a waker that panics ends the queue.)
impl<K: Clone + Eq + Hash> Drop for Worker<K> {
    fn drop(&mut self) {
        if let Some(id) = self.running {
            self.inner.lost(id);
        }
    }
}

/// A job that runs: until it ends, or does not end in time after it was asked to.
struct Running<'a> {
    code: Option<Code>,
    stop: Wait<StopRequested>,
    grace: Grace,
    runtime: &'a Runtime,
}

enum Grace {
    /// It may take as long as it likes.
    Unlimited(Duration),
    /// It was asked to end.
    Limited(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl<'a> Running<'a> {
    fn new<K>(inner: &'a Inner<K>, code: Code, fate: Arc<Fate>) -> Self {
        let (code, stop) = (Some(code), Wait::new(StopRequested(fate)));
        Self { code, stop, grace: Grace::Unlimited(inner.stop_grace), runtime: &inner.runtime }
    }

    fn poll_code(&mut self, cx: &mut Context<'_>) -> Poll<Finish> {
        let code = self.code.as_mut().expect("not polled after its end");
        let polled = catch_unwind(AssertUnwindSafe(|| code.as_mut().poll(cx)));
        let polled = polled.unwrap_or_else(|payload| {
            drop_quietly(payload);
            Poll::Ready(Finish::Failed)
        });
        if polled.is_ready() {
            drop_quietly(self.code.take());
        }
        polled
    }

    fn poll_grace(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Grace::Unlimited(grace) = self.grace {
            std::task::ready!(Pin::new(&mut self.stop).poll(cx));
            let until = self.runtime.now().saturating_add(grace);
            self.grace = Grace::Limited(Box::pin(self.runtime.sleep_until(until)));
        }
        match &mut self.grace {
            Grace::Limited(sleep) => sleep.as_mut().poll(cx),
            Grace::Unlimited(_) => Poll::Pending,
        }
    }
}

impl Future for Running<'_> {
    type Output = Finish;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Finish> {
        if let Poll::Ready(finish) = self.poll_code(cx) {
            return Poll::Ready(finish);
        }
        std::task::ready!(self.poll_grace(cx));
        drop_quietly(self.code.take());
        Poll::Ready(Finish::Cancelled)
    }
}
