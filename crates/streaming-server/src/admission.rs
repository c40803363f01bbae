//! Who may generate: so many at once, so many in line.
//!
//! [`Scheduler`] decides the order; here is who waits for it. A place is a [`Permit`], in line or
//! running: dropping it leaves, wherever it stands, and lets the next one in.

use std::sync::Arc;
use std::time::Duration;

use queue::{Finish, Id, Job, Overflow, Rules, Scheduler};
use tokio::sync::oneshot;

use crate::options::Options;
use crate::seam::Clock;
use crate::sync::Mutex;

/// Why a request may not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// So many wait already.
    Full,
    /// The server stops.
    Draining,
    /// Its turn did not come in time.
    TimedOut,
}

/// Who asks, and for how much.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Whose request it is: fair shares are between keys.
    pub(crate) key: Arc<str>,
    /// 0 is served first.
    pub(crate) class: u8,
    /// Tokens at most.
    pub(crate) cost: u64,
}

/// Tells somebody in line that the turn has come, or never will.
type Answer = Option<oneshot::Sender<Result<(), Refusal>>>;

#[derive(Debug)]
struct State {
    scheduler: Scheduler<Arc<str>, Answer>,
    draining: bool,
}

/// The door.
#[derive(Debug)]
pub(crate) struct Admission {
    state: Mutex<State>,
    clock: Clock,
    /// Told when the last one has left.
    empty: tokio::sync::Notify,
}

impl Admission {
    pub(crate) fn new(options: &Options, clock: Clock) -> Self {
        let rules = Rules {
            cap: options.running_max,
            capacity: options.queued_max,
            overflow: Overflow::Reject,
            // A turn's worth: keys take turns request by request unless theirs are larger.
            quantum: 1024,
            ..Rules::default()
        };
        let state = State { scheduler: Scheduler::new(rules), draining: false };
        Self { state: Mutex::new(state), clock, empty: tokio::sync::Notify::new() }
    }

    /// Waits for a turn, first come, first served within a key and class.
    ///
    /// # Errors
    ///
    /// Why there is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in line.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        entry: Entry,
        timeout: Duration,
    ) -> Result<Permit, Refusal> {
        let (permit, answer) = self.enter(entry)?;
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(Ok(()))) => Ok(permit),
            Ok(Ok(Err(refusal))) => Err(refusal),
            // The sender lives as long as the place in line, which the permit holds.
            Ok(Err(_)) => Err(Refusal::Draining),
            Err(_) => Err(Refusal::TimedOut),
        }
    }

    fn enter(
        self: &Arc<Self>,
        entry: Entry,
    ) -> Result<(Permit, oneshot::Receiver<Result<(), Refusal>>), Refusal> {
        let (sender, receiver) = oneshot::channel();
        let now = self.now();
        let mut state = self.state.lock();
        if state.draining {
            return Err(Refusal::Draining);
        }
        let job = Job { class: entry.class, cost: entry.cost, ..Job::new(entry.key, Some(sender)) };
        let pushed = state.scheduler.push(job, now).map_err(|_| Refusal::Full)?;
        state.start_all(now);
        drop(state);
        Ok((Permit { admission: Arc::clone(self), id: pushed.id }, receiver))
    }

    /// Refuses everybody in line and whoever comes.
    pub(crate) fn drain(&self) {
        let mut state = self.state.lock();
        state.draining = true;
        let ids: Vec<Id> = state.scheduler.ids().map(|(id, _)| id).collect();
        for id in ids {
            if let Some(Some(sender)) = state.scheduler.cancel(id) {
                // Whoever has gone need not be told.
                let _ = sender.send(Err(Refusal::Draining));
            }
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.state.lock().draining
    }

    /// How many run, and how many wait.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let counters = self.state.lock().scheduler.counters();
        (counters.running(), counters.queued())
    }

    /// Waits until nothing runs.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub(crate) async fn empty(&self) {
        loop {
            let told = self.empty.notified();
            if self.counts().0 == 0 {
                return;
            }
            told.await;
        }
    }

    fn leave(&self, id: Id) {
        let now = self.now();
        let mut state = self.state.lock();
        if state.scheduler.cancel(id).is_none() {
            state.scheduler.finish(id, Finish::Done);
        }
        state.start_all(now);
        let is_empty = state.scheduler.counters().running() == 0;
        drop(state);
        if is_empty {
            self.empty.notify_waiters();
        }
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.clock.now_ns())
    }
}

impl State {
    /// Starts whoever may.
    fn start_all(&mut self, now: Duration) {
        while let Some(id) = self.scheduler.next(now) {
            if let Some(sender) = self.scheduler.work_mut(id).and_then(Option::take) {
                // Whoever has gone leaves by dropping the permit.
                let _ = sender.send(Ok(()));
            }
        }
    }
}

/// A place, in line or running. Dropping it leaves.
#[derive(Debug)]
#[must_use = "dropping a permit leaves the line"]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    id: Id,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.leave(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn door(running_max: usize, queued_max: usize) -> Arc<Admission> {
        let options = Options { running_max, queued_max, ..Options::default() };
        Arc::new(Admission::new(&options, Clock::start()))
    }

    fn entry() -> Entry {
        Entry { key: "".into(), class: 0, cost: 16 }
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    async fn admit(door: &Arc<Admission>) -> Result<Permit, Refusal> {
        door.admit(entry(), Duration::from_secs(5)).await
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_taken_in_order_and_given_up_by_dropping() {
        let door = door(1, 2);
        let first = admit(&door).await.unwrap();
        let mut second = pin!(admit(&door));
        assert!(poll(second.as_mut()).is_pending());
        {
            let mut third = pin!(admit(&door));
            assert!(poll(third.as_mut()).is_pending());
            assert_eq!(Err(Refusal::Full), admit(&door).await.map(drop));
        }
        assert_eq!((1, 1), door.counts());
        drop(first);
        let second = second.await.unwrap();
        assert_eq!((1, 0), door.counts());
        drop(second);
        assert_eq!((0, 0), door.counts());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_does_not_come_in_time_is_refused() {
        let door = door(1, 2);
        let _first = admit(&door).await.unwrap();
        assert_eq!(Err(Refusal::TimedOut), admit(&door).await.map(drop));
        assert_eq!((1, 0), door.counts());
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_refuses_the_line_and_lets_the_running_finish() {
        let door = door(1, 2);
        let first = admit(&door).await.unwrap();
        let mut second = pin!(admit(&door));
        assert!(poll(second.as_mut()).is_pending());
        door.drain();
        assert_eq!(Err(Refusal::Draining), second.await.map(drop));
        assert_eq!(Err(Refusal::Draining), admit(&door).await.map(drop));
        let mut empty = pin!(door.empty());
        assert!(poll(empty.as_mut()).is_pending());
        drop(first);
        empty.await;
    }
}
