//! Many files: each waits for its turn.

use std::sync::Arc;

use futures::future::join_all;
use queue::{Outcome, Queue, Rules, Shutdown, Work};
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind};
use crate::job::{Event, Fetched, Job};
use crate::redirect::origin;
use crate::transfer::Downloader;

/// Submitting waits when more are queued: their futures are not free.
const QUEUED_MAX: usize = 1024;

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
        let options = &self.inner.options;
        let rules = Rules { cap: options.files_max, capacity: QUEUED_MAX, ..Rules::default() };
        let turns = Turns(Queue::new(rules));
        let (tell, ended) = (Arc::new(tell), Arc::new(ended));
        let mut results = Vec::with_capacity(jobs.len());
        for (k, job) in jobs.into_iter().enumerate() {
            let (send, receive) = oneshot::channel();
            let (address, key) = (job.url.path().to_owned(), origin(&job.url));
            let (class, tell, done) = (job.class, Arc::clone(&tell), Arc::clone(&ended));
            let this = self.clone();
            let work = Work::new(async move {
                let result = this.fetch(&job, |event| tell(k, event)).await;
                done(k, &result);
                let is_ok = result.is_ok();
                // Whoever asked may have gone.
                let _ = send.send(result);
                if is_ok { Ok(()) } else { Err(()) }
            });
            let queue_timeout = Some(options.queue_timeout);
            let ticket =
                turns.0.submit(queue::Job { class, queue_timeout, ..queue::Job::new(key, work) });
            let ticket = ticket.await;
            let ended = Arc::clone(&ended);
            results.push(async move {
                if let Ok(result) = receive.await {
                    return result;
                }
                let outcome = match ticket {
                    Ok(ticket) => ticket.await,
                    Err(_) => Outcome::Cancelled,
                };
                let result = Err(unfetched(outcome).of(&address));
                ended(k, &result);
                result
            });
        }
        join_all(results).await
    }
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
