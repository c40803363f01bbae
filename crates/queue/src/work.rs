//! What a queue runs, and what is known of it from outside while it does.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

use crate::job::{Finish, Outcome};
use crate::journal::Entry;
use crate::latch::{HasLatch, Latch, Wait};

/// The code of a job as the queue holds it.
pub(crate) type Code = Pin<Box<dyn Future<Output = Finish> + Send>>;

/// What a [`Queue`](crate::Queue) runs: a future, started when it is the job's turn.
///
/// What the future returns says how the job [finished](Finish): `()` is done, a `Result` is done or
/// failed. Values do not come out; the future puts them where the caller wants them.
///
/// # Examples
///
/// ```
/// use queue::{Job, Work};
///
/// let job = Job::new("key", Work::new(async { "7".parse::<u32>() }));
/// let stoppable = Work::stoppable(|stop| async move {
///     while !stop.is_requested() {
///         // One piece of the work.
///         # break;
///     }
/// });
/// ```
pub struct Work {
    /// None once the job runs.
    pub(crate) code: Option<Code>,
    pub(crate) pledge: Pledge,
    pub(crate) note: Option<Arc<[u8]>>,
    /// The job's record in the journal, if it has one.
    pub(crate) entry: Option<Entry>,
}

impl Work {
    /// Runs `future`; a cancelled job's future goes on until it ends or the grace is over.
    pub fn new<F>(future: F) -> Self
    where
        F: Future<Output: Into<Finish>> + Send + 'static,
    {
        Self::with_fate(future, Arc::new(Fate::new()))
    }

    /// Runs the future that `make` makes at once, and which learns through its [`Stop`] that it is to
    /// end early. It says that it did with [`Finish::Cancelled`]; anything else counts as it always does.
    pub fn stoppable<F>(make: impl FnOnce(Stop) -> F) -> Self
    where
        F: Future<Output: Into<Finish>> + Send + 'static,
    {
        let fate = Arc::new(Fate::new());
        let stop = Stop { fate: Arc::clone(&fate) };
        Self::with_fate(make(stop), fate)
    }

    /// Has the [`Journal`](crate::Journal) record the job, with a note from which the application can
    /// make the job again.
    #[must_use]
    pub fn noted(mut self, note: impl Into<Arc<[u8]>>) -> Self {
        self.note = Some(note.into());
        self
    }

    fn with_fate<F>(future: F, fate: Arc<Fate>) -> Self
    where
        F: Future<Output: Into<Finish>> + Send + 'static,
    {
        let code: Code = Box::pin(async move { future.await.into() });
        Self { code: Some(code), pledge: Pledge(fate), note: None, entry: None }
    }
}

/// Many may go at once, with their queue: a second panic would end the process.
impl Drop for Work {
    fn drop(&mut self) {
        drop_quietly(self.code.take());
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("note", &self.note).finish_non_exhaustive()
    }
}

/// What those who wait for a job and those who run it share.
#[derive(Debug)]
pub(crate) struct Fate {
    /// Set when the job has ended.
    pub(crate) ended: Latch<Outcome>,
    /// Set when the running job is to end early.
    pub(crate) stop: Latch<()>,
}

impl Fate {
    fn new() -> Self {
        Self { ended: Latch::new(), stop: Latch::new() }
    }
}

/// A fate that is fulfilled in any case: a job that is dropped before its end counts as cancelled, so
/// that nobody waits for ever.
#[derive(Debug)]
pub(crate) struct Pledge(Arc<Fate>);

impl Pledge {
    pub(crate) fn fate(&self) -> &Arc<Fate> {
        &self.0
    }
}

impl Drop for Pledge {
    fn drop(&mut self) {
        self.0.ended.set(Outcome::Cancelled);
    }
}

/// Drops what holds code of the caller's; a panic of its destructors ends here.
pub(crate) fn drop_quietly<T>(value: T) {
    // What a destructor panics with is of no use to anybody, and the hook has printed it.
    let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) else { return };
    // It may panic when it is dropped, too; then nothing is dropped any more.
    if let Err(last) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(last);
    }
}

/// Waits for the end of a job.
#[derive(Debug)]
pub(crate) struct Ended(pub(crate) Arc<Fate>);

impl HasLatch for Ended {
    type Value = Outcome;

    fn latch(&self) -> &Latch<Outcome> {
        &self.0.ended
    }
}

/// Waits for the request to end early.
#[derive(Debug)]
pub(crate) struct StopRequested(pub(crate) Arc<Fate>);

impl HasLatch for StopRequested {
    type Value = ();

    fn latch(&self) -> &Latch<()> {
        &self.0.stop
    }
}

/// Tells a running job that it is to end early.
#[derive(Clone, Debug)]
pub struct Stop {
    fate: Arc<Fate>,
}

impl Stop {
    /// Whether the job was cancelled.
    pub fn is_requested(&self) -> bool {
        self.fate.stop.get().is_some()
    }

    /// Waits until the job is cancelled; for ever, if it is not.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn requested(&self) {
        Wait::new(StopRequested(Arc::clone(&self.fate))).await;
    }
}
