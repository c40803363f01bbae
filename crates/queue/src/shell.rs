//! The async queue: waits around the scheduler that decides.

mod effects;
mod inner;
mod options;
mod room;
mod state;
mod timer;
mod worker;

use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use self::inner::Inner;
pub use self::options::{Options, Shutdown, WaitError};
use crate::counters::Snapshot;
use crate::events::Events;
use crate::job::{Id, Job, Outcome, Refused, State as JobState};
use crate::latch::Wait;
use crate::rules::Rules;
use crate::ticket::Ticket;
use crate::work::{Ended, Work};

/// Runs jobs on the caller's runtime, in the order and within the limits of its [`Rules`].
///
/// Clones are handles to the same queue. When the last handle is dropped, what runs goes on, what can
/// start without outside help is started, and what is left then ends as cancelled.
///
/// # Examples
///
/// ```
/// use queue::{Job, Outcome, Queue, Rules, Work};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let queue = Queue::new(Rules { cap: 8, key_cap: 2, ..Rules::default() });
/// let fetch = Work::new(async { std::io::Result::Ok(4096) });
/// let ticket = queue.submit(Job { class: 1, ..Job::new("hub.example", fetch) }).await?;
/// assert_eq!(Outcome::Done, ticket.await);
/// # Ok::<(), queue::Refused<&str, Work>>(())
/// # }).unwrap();
/// ```
pub struct Queue<K> {
    inner: Arc<Inner<K>>,
}

impl<K: Clone + Eq + Hash + Send + 'static> Queue<K> {
    /// An empty queue that runs its jobs on the current runtime.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime that keeps time (`enable_time`).
    pub fn new(rules: Rules) -> Self {
        Self::with_options(rules, Options::default())
    }

    /// An empty queue that runs its jobs on the current runtime.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime that keeps time (`enable_time`).
    pub fn with_options(rules: Rules, options: Options<K>) -> Self {
        Self { inner: Arc::new(Inner::new(rules, options)) }
    }

    /// Queues a job, and starts it if it may start. Under [`Overflow::Wait`] it waits for room, first
    /// come, first served.
    ///
    /// A job whose unique name is in use is dropped, and the ticket is one of the job that is there.
    ///
    /// A job that submits into the queue that runs it holds its slot while it waits for room, which comes
    /// when another job starts: [`try_submit`](Self::try_submit) does not wait.
    ///
    /// [`Overflow::Wait`]: crate::Overflow::Wait
    ///
    /// # Errors
    ///
    /// Gives the job back: the queue is shut down, is full under another policy, or the journal
    /// failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future queues nothing; the job is dropped with it.
    pub async fn submit(&self, job: Job<K, Work>) -> Result<Ticket, Refused<K, Work>> {
        let attempt = self.inner.transition(|state, now, effects| match state.line_up(&job) {
            Some(place) => Err((job, place)),
            None => Ok(state.submit(job, now, effects)),
        });
        let (job, (number, latch)) = match attempt {
            Ok(result) => return result,
            Err(must_wait) => must_wait,
        };
        let mut in_line = InLine { queue: self, number: Some(number) };
        Wait::new(latch).await;
        in_line.number = None;
        self.inner.transition(|state, now, effects| {
            state.room.leave(number);
            state.submit(job, now, effects)
        })
    }

    /// Queues a job, and starts it if it may start, without waiting for room.
    ///
    /// # Errors
    ///
    /// Gives the job back as [`submit`](Self::submit) does, or because the queue is full.
    pub fn try_submit(&self, job: Job<K, Work>) -> Result<Ticket, Refused<K, Work>> {
        self.inner.transition(|state, now, effects| state.submit(job, now, effects))
    }

    /// Ends a job. A queued one will never start, and ends at once. A running one is asked to
    /// [stop](crate::Stop), and its future is dropped after the
    /// [grace](Options::stop_grace); what it returns before then counts.
    ///
    /// Returns the state that it saw; none if the job had ended. Those who joined a unique job share
    /// its fate.
    pub fn cancel(&self, id: Id) -> Option<JobState> {
        self.inner.transition(|state, _, effects| state.cancel(id, effects))
    }

    /// Waits until a job ends, at most for `timeout`; for ever, if the clock does not reach that far.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`] leaves the job alone. [`WaitError::Unknown`] if the job is not among
    /// the latest [`history_max`](Options::history_max) that ended.
    ///
    /// # Panics
    ///
    /// If it has to wait outside of a tokio runtime that keeps time; any such will do, not only that of
    /// the queue.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn wait(&self, id: Id, timeout: Duration) -> Result<Outcome, WaitError> {
        let fate = {
            let state = self.inner.state.lock();
            match state.fate(id) {
                Some(fate) => fate,
                None => return state.past(id).ok_or(WaitError::Unknown),
            }
        };
        let runtime = &self.inner.runtime;
        let mut ended = pin!(Wait::new(Ended(fate)));
        let mut sleep = pin!(runtime.sleep_until(runtime.now().saturating_add(timeout)));
        std::future::poll_fn(|cx| match ended.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
            Poll::Pending => sleep.as_mut().poll(cx).map(|()| Err(WaitError::TimedOut)),
        })
        .await
    }

    /// Waits until nothing is queued and nothing runs.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn idle(&self) {
        let latch = {
            let mut state = self.inner.state.lock();
            if state.is_idle() {
                return;
            }
            state.idle_latch()
        };
        Wait::new(latch).await;
    }

    /// Lets nothing in and starts nothing any more, cancels what is queued, and waits until nothing
    /// runs. May be called again, with another mode too.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the queue shut down.
    pub async fn shutdown(&self, how: Shutdown) {
        self.inner.transition(|state, _, effects| state.shut_down(how, effects));
        self.idle().await;
    }

    /// Lets at most `cap` jobs run at once. Where more run already, nothing starts until fewer do.
    pub fn set_cap(&self, cap: usize) {
        self.inner.transition(|state, _, _| state.scheduler.set_cap(cap));
    }

    /// Lets at most `cap` jobs of a key run at once. The key is remembered until
    /// [`reset_key`](Self::reset_key).
    pub fn set_key_cap(&self, key: &K, cap: usize) {
        self.inner.transition(|state, _, _| state.scheduler.set_key_cap(key, cap));
    }

    /// Gives a key `weight` times the share of a key of weight 1. The key is remembered until
    /// [`reset_key`](Self::reset_key).
    pub fn set_weight(&self, key: &K, weight: NonZeroU32) {
        self.inner.transition(|state, _, _| state.scheduler.set_weight(key, weight));
    }

    /// Starts no job of a key until [`resume`](Self::resume). Those that run go on.
    pub fn pause(&self, key: &K) {
        self.inner.transition(|state, _, _| state.scheduler.pause(key));
    }

    /// Starts jobs of a paused key again.
    pub fn resume(&self, key: &K) {
        self.inner.transition(|state, _, _| state.scheduler.resume(key));
    }

    /// Takes all settings of a key back.
    pub fn reset_key(&self, key: &K) {
        self.inner.transition(|state, _, _| state.scheduler.reset_key(key));
    }

    /// Puts a queued job into another class, as if it had been submitted into it; false if it is not
    /// queued.
    pub fn reprioritize(&self, id: Id, class: u8) -> bool {
        self.inner.transition(|state, _, _| state.scheduler.reprioritize(id, class))
    }

    /// Where a job is on its way; none if it ended.
    pub fn state(&self, id: Id) -> Option<JobState> {
        self.inner.state.lock().scheduler.state(id)
    }

    /// This moment, key by key. Linear in the keys; the queue waits meanwhile.
    pub fn snapshot(&self) -> Snapshot<K> {
        let state = self.inner.state.lock();
        let (waiting, journal_failures) = (state.room.waiting(), state.journal_failures);
        Snapshot { waiting, journal_failures, ..state.scheduler.snapshot() }
    }

    /// What happens from now on.
    pub fn subscribe(&self) -> Events<K> {
        self.inner.state.lock().teller.subscribe()
    }
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K: Clone + Eq + Hash> fmt::Debug for Queue<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counters = self.inner.state.lock().scheduler.counters();
        f.debug_struct("Queue").field("counters", &counters).finish_non_exhaustive()
    }
}

/// A submitter in the line for room; leaves it when it is dropped.
struct InLine<'a, K: Clone + Eq + Hash + Send + 'static> {
    queue: &'a Queue<K>,
    number: Option<u64>,
}

impl<K: Clone + Eq + Hash + Send + 'static> Drop for InLine<'_, K> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.queue.inner.transition(|state, _, _| state.room.leave(number));
        }
    }
}
