//! Jobs that tests can look into and hold up.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use queue::{Job, Queue, Work};
use tokio::sync::Semaphore;
use tokio::task::yield_now;

/// A job of this key that ends at once.
pub(crate) fn no_op(key: &'static str) -> Job<&'static str, Work> {
    Job::new(key, Work::new(async {}))
}

/// Jobs that run until they are let go.
#[derive(Clone)]
pub(crate) struct Gate {
    open: Arc<Semaphore>,
    running: Arc<AtomicUsize>,
    started: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// Counts a job as running until it is dropped, however it ends.
struct Presence(Arc<AtomicUsize>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Gate {
    pub(crate) fn new() -> Self {
        let zero = || Arc::new(AtomicUsize::new(0));
        Self { open: Arc::new(Semaphore::new(0)), running: zero(), started: zero(), most: zero() }
    }

    /// A job of this key that stands at the gate.
    pub(crate) fn job(&self, key: &'static str) -> Job<&'static str, Work> {
        Job::new(key, self.work())
    }

    pub(crate) fn work(&self) -> Work {
        let gate = self.clone();
        Work::new(async move {
            gate.started.fetch_add(1, Ordering::SeqCst);
            let running = gate.running.fetch_add(1, Ordering::SeqCst) + 1;
            gate.most.fetch_max(running, Ordering::SeqCst);
            let _presence = Presence(Arc::clone(&gate.running));
            gate.open.acquire().await.expect("the gate is never closed").forget();
        })
    }

    /// Lets so many jobs through.
    pub(crate) fn open(&self, jobs: usize) {
        self.open.add_permits(jobs);
    }

    /// How many jobs stand at the gate.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    /// How many jobs ever came to the gate.
    pub(crate) fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    /// How many jobs stood at the gate at the same time, at most.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// The only waker of a task that holds something: to drop it drops that.
pub(crate) fn waker_that_holds<T: Send + Sync + 'static>(held: T) -> Waker {
    struct Holds<T>(T);
    impl<T: Send + Sync> Wake for Holds<T> {
        fn wake(self: Arc<Self>) {}
    }
    Waker::from(Arc::new(Holds(held)))
}

/// Polls once with a waker that does nothing.
pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Lets all tasks run that can; time stands still meanwhile.
pub(crate) async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

/// Queued and running jobs.
pub(crate) fn load(queue: &Queue<&'static str>) -> (u64, u64) {
    let counters = queue.snapshot().counters;
    let all = counters.queued() + counters.running() + counters.ended();
    assert_eq!(counters.submitted, all, "submitted = queued + running + ended");
    (counters.queued(), counters.running())
}
