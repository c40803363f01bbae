//! Many files: each waits for its turn.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use queue::{Outcome, Queue, Rules, Shutdown, Work};
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind};
use crate::job::{Event, FetchOptions, Fetched, Job};
use crate::redirect::origin;
use crate::transfer::Downloader;

/// Submitting waits when more are queued: their futures are not free.
const QUEUED_MAX: usize = 1024;

/// One of many, before its turn.
pub(crate) struct Turn<T> {
    /// Lower classes come first.
    pub(crate) class: u8,
    /// Within a class keys take turns.
    pub(crate) key: String,
    /// What errors name.
    pub(crate) object: String,
    pub(crate) work: BoxFuture<'static, Result<T, Error>>,
}

/// Hears how each has ended.
pub(crate) type Ended<T> = Arc<dyn Fn(usize, &Result<T, Error>) + Send + Sync>;

impl Downloader {
    /// Fetches many files, at most [`files_max`](crate::FetchOptions::files_max) at once, and returns what
    /// became of each, in the order of the jobs.
    ///
    /// Lower classes come first; within a class origins take turns. `tell` is called with the number of the
    /// job and what happens to it, `ended` as soon as a job has ended.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends all transfers soon; each keeps what was written for the next attempt.
    pub async fn fetch_all(
        &self,
        jobs: Vec<Job>,
        tell: impl Fn(usize, Event) + Send + Sync + 'static,
        ended: impl Fn(usize, &Result<Fetched, Error>) + Send + Sync + 'static,
    ) -> Vec<Result<Fetched, Error>> {
        let tell = Arc::new(tell);
        let turn = |(k, job): (usize, Job)| {
            let (key, class) = (origin(&job.url), job.class);
            let object = format!("{key}{}", job.url.path());
            let (this, tell) = (self.clone(), Arc::clone(&tell));
            let work = async move { this.fetch(&job, |event| tell(k, event)).await };
            Turn { class, key, object, work: work.boxed() }
        };
        in_turn(&self.inner.options, jobs.into_iter().enumerate().map(turn), Arc::new(ended)).await
    }
}

/// Runs many, at most `files_max` at once, and returns what became of each, in their order.
pub(crate) async fn in_turn<T: Send + 'static>(
    options: &FetchOptions,
    turns: impl Iterator<Item = Turn<T>>,
    ended: Ended<T>,
) -> Vec<Result<T, Error>> {
    let rules = Rules { cap: options.files_max, capacity: QUEUED_MAX, ..Rules::default() };
    let line = Turns(Queue::new(rules));
    let mut results = Vec::new();
    for (k, turn) in turns.enumerate() {
        let Turn { class, key, object, work } = turn;
        let (send, receive) = oneshot::channel();
        let done = Arc::clone(&ended);
        let work = Work::new(async move {
            let result = work.await;
            done(k, &result);
            let is_ok = result.is_ok();
            // Whoever asked may have gone.
            let _ = send.send(result);
            if is_ok { Ok(()) } else { Err(()) }
        });
        let queue_timeout = Some(options.queue_timeout);
        let job = queue::Job { class, queue_timeout, ..queue::Job::new(key, work) };
        let ticket = line.0.submit(job).await;
        let ended = Arc::clone(&ended);
        results.push(async move {
            if let Ok(result) = receive.await {
                return result;
            }
            let outcome = match ticket {
                Ok(ticket) => ticket.await,
                Err(_) => Outcome::Cancelled,
            };
            let result = Err(unfetched(outcome).of(&object));
            ended(k, &result);
            result
        });
    }
    join_all(results).await
}

/// The queue of one call; when that is dropped, what runs ends.
struct Turns(Queue<String>);

impl Drop for Turns {
    fn drop(&mut self) {
        let queue = self.0.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { queue.shutdown(Shutdown::Abort).await });
        }
    }
}

/// Why a job ended without a result.
fn unfetched(outcome: Outcome) -> Error {
    match outcome {
        Outcome::TimedOut => Error::new(ErrorKind::Network, "its turn did not come in time"),
        _ => Error::new(ErrorKind::Other, format!("the transfer {outcome}")),
    }
}
