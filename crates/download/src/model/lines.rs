//! Many models: each waits for its turn.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use queue::{Finish, Id, Job, Outcome, Queue, Rules, Shutdown, Ticket, WaitError, Work};

use super::ensure::Models;
use super::event::{Ensured, ModelEvent};
use super::journal::ModelJournal;
use super::roster::Priority;
use super::spec::ModelSpec;
use crate::error::{Error, ErrorKind};
use crate::seam::Clock;

/// Models at once: enough that the end of one, which waits for its last file, is filled by the next.
const MODELS_MAX: usize = 4;
/// Models that may be queued; above it submitting waits.
const QUEUED_MAX: usize = 10_000;
/// Slots that are kept before those that nobody waits for are forgotten.
const SLOTS_MAX: usize = 2 * QUEUED_MAX;

/// How a line is served.
#[derive(Clone, Debug)]
pub struct ModelLineOptions {
    /// Models at once, at most.
    pub models_max: usize,
    /// How long a model may wait for its turn; for ever, if `None`.
    pub queue_timeout: Option<Duration>,
    /// Where the line is recorded, so that it outlives the process.
    pub journal: Option<ModelJournal>,
}

impl Default for ModelLineOptions {
    /// Four at once, no time-out, no journal.
    fn default() -> Self {
        Self { models_max: MODELS_MAX, queue_timeout: None, journal: None }
    }
}

/// What became of a model, for all who asked for it.
type Slot = Arc<Ended>;
type Ended = OnceLock<Result<Ensured, Arc<Error>>>;

/// The slots of the models in the line, by wish. What is cancelled before its turn leaves its own behind.
type Slots = Arc<Mutex<HashMap<String, Weak<Ended>>>>;

/// A line of models that are brought one after the other, some at once. Clones are handles to the same.
///
/// Lower classes come first, and age. Two who ask for the same model, with the same wishes, share one
/// transfer.
///
/// # Examples
///
/// ```no_run
/// # async fn example(models: download::Models) -> Result<(), Box<dyn std::error::Error>> {
/// use download::{ModelLine, ModelLineOptions, Priority};
///
/// let line = ModelLine::new(models, ModelLineOptions::default());
/// let first = line.submit("org/a".parse()?, Priority::Normal, |_| {}).await?;
/// let second = line.submit("org/b".parse()?, Priority::High, |_| {}).await?;
/// println!("{} in progress", line.snapshot().active_downloads);
/// println!("{:?} {:?}", first.done().await, second.done().await);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ModelLine {
    queue: Queue<String>,
    models: Models,
    slots: Slots,
    options: Arc<ModelLineOptions>,
    clock: Clock,
}

impl fmt::Debug for ModelLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelLine").field("snapshot", &self.snapshot()).finish_non_exhaustive()
    }
}

/// A line at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LineSnapshot {
    /// Models that wait.
    pub queued: usize,
    /// Models that are being brought.
    pub active_downloads: usize,
    /// Models that are here.
    pub done: u64,
    /// Models that could not be had, or were given up.
    pub failed: u64,
    /// The share of the submitted that are here, from 0 to 1.
    pub completion_rate: f64,
    /// Bytes per second over the network, on average since the line began.
    pub average_bytes_per_s: f64,
}

/// A model in the line.
#[derive(Debug)]
pub struct ModelTicket {
    ticket: Ticket,
    slot: Slot,
    name: String,
}

impl ModelTicket {
    /// Returns what names the model in the line.
    #[must_use]
    pub fn id(&self) -> Id {
        self.ticket.id()
    }

    /// Waits until the model is here, or not to be had.
    ///
    /// # Errors
    ///
    /// As [`Models::ensure`]; `Network` when its turn did not come in time, `Other` when it was cancelled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing for the model.
    pub async fn done(self) -> Result<Ensured, Arc<Error>> {
        let outcome = self.ticket.await;
        if let Some(result) = self.slot.get() {
            return result.clone();
        }
        let (kind, message) = match outcome {
            Outcome::TimedOut => (ErrorKind::Network, "its turn did not come in time".to_owned()),
            outcome => (ErrorKind::Other, format!("it was {outcome}")),
        };
        Err(Arc::new(Error::new(kind, message).of(&self.name)))
    }
}

impl ModelLine {
    /// Returns an empty line.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(models: Models, options: ModelLineOptions) -> Self {
        let rules = Rules { cap: options.models_max, capacity: QUEUED_MAX, ..Rules::default() };
        let journal = options.journal.clone().map(|journal| Box::new(journal) as Box<_>);
        let queue =
            Queue::with_options(rules, queue::Options { journal, ..queue::Options::default() });
        let (slots, clock) = (Arc::default(), Clock::start());
        Self { queue, models, slots, options: Arc::new(options), clock }
    }

    /// Puts a model into the line; waits while that is full. `tell` is called with what happens to the
    /// model, unless somebody else asked for it before.
    ///
    /// # Errors
    ///
    /// `Other` when the line is shut down or its journal cannot be written.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future puts nothing into the line.
    pub async fn submit(
        &self,
        spec: ModelSpec,
        priority: Priority,
        tell: impl Fn(ModelEvent) + Send + Sync + 'static,
    ) -> Result<ModelTicket, Error> {
        let (name, key) = (spec.name(), spec.key());
        let recorded = self.options.journal.as_ref().and_then(|journal| journal.unfinished(&key));
        let slot = self.slot(&key);
        let work = self.work(spec, (key.clone(), Arc::clone(&slot)), tell);
        let job = match recorded {
            Some(recorded) => recorded.into_job(work),
            None => Job::new(name.clone(), work.noted(name.clone().into_bytes())),
        };
        let (class, queue_timeout) = (priority.class(), self.options.queue_timeout);
        let job = Job { class, queue_timeout, unique: Some(key.into()), ..job };
        match self.queue.submit(job).await {
            Ok(ticket) => Ok(ModelTicket { ticket, slot, name }),
            Err(refused) => {
                let message = format!("it was not queued: {}", refused.why);
                Err(Error::new(ErrorKind::Other, message).of(&name))
            }
        }
    }

    /// Brings all models of a list, each in its turn, and returns when all have ended. `tell` and
    /// `ended` are called with the number of the model.
    ///
    /// Models that ended well before the process was killed, by the journal, are not brought again
    /// where they are still here.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the models in the line; [`shutdown`](Self::shutdown) ends them.
    pub async fn bring_all(
        &self,
        models: Vec<(ModelSpec, Priority)>,
        tell: impl Fn(usize, ModelEvent) + Send + Sync + 'static,
        ended: impl Fn(usize, &Result<Ensured, Arc<Error>>),
    ) {
        let tell = Arc::new(tell);
        let ended = &ended;
        let mut waits = FuturesUnordered::new();
        for (k, (spec, priority)) in models.into_iter().enumerate() {
            if let Some(here) = self.ended_before(&spec).await {
                ended(k, &Ok(here));
                continue;
            }
            let tell = Arc::clone(&tell);
            match self.submit(spec, priority, move |event| tell(k, event)).await {
                Ok(ticket) => waits.push(async move { ended(k, &ticket.done().await) }),
                Err(error) => ended(k, &Err(Arc::new(error))),
            }
        }
        if let Some(journal) = &self.options.journal {
            // After a power cut more is done than need be, if this fails.
            let _ = journal.commit();
        }
        while waits.next().await.is_some() {}
    }

    /// A model that the journal knows to have ended well, if it is still here.
    async fn ended_before(&self, spec: &ModelSpec) -> Option<Ensured> {
        let (_, is_done) = self.options.journal.as_ref()?.ended_times(&spec.key())?;
        if is_done { self.models.find(spec).await } else { None }
    }

    /// The slot of those who wait for the same, or a new one.
    fn slot(&self, key: &str) -> Slot {
        let mut slots = self.slots.lock();
        if SLOTS_MAX <= slots.len() {
            slots.retain(|_, slot| 0 < slot.strong_count());
        }
        slots.get(key).and_then(Weak::upgrade).unwrap_or_else(|| {
            let slot = Slot::default();
            slots.insert(key.to_owned(), Arc::downgrade(&slot));
            slot
        })
    }

    fn work(
        &self,
        spec: ModelSpec,
        (key, slot): (String, Slot),
        tell: impl Fn(ModelEvent) + Send + Sync + 'static,
    ) -> Work {
        let (models, slots) = (self.models.clone(), Arc::clone(&self.slots));
        Work::stoppable(move |stop| async move {
            let result = tokio::select! {
                result = models.ensure(&spec, tell) => Some(result),
                () = stop.requested() => None,
            };
            // From now on, who asks for it asks anew.
            slots.lock().remove(&key);
            match result {
                Some(result) => {
                    let finish = if result.is_ok() { Finish::Done } else { Finish::Failed };
                    // Nobody else sets it: the job runs once.
                    let _ = slot.set(result.map_err(Arc::new));
                    finish
                }
                None => Finish::Cancelled,
            }
        })
    }

    /// Ends a model: a queued one never starts, a running one keeps what was written for the next time.
    /// Those who asked for it too share its fate. Returns whether it had not ended.
    pub fn cancel(&self, id: Id) -> bool {
        self.queue.cancel(id).is_some()
    }

    /// Starts no model of this name until [`resume`](Self::resume); what runs goes on.
    pub fn pause(&self, name: &str) {
        self.queue.pause(&name.to_owned());
    }

    /// Starts models of a paused name again.
    pub fn resume(&self, name: &str) {
        self.queue.resume(&name.to_owned());
    }

    /// Brings at most so many models at once; 0 pauses the whole line.
    pub fn set_models_max(&self, models_max: usize) {
        self.queue.set_cap(models_max);
    }

    /// Waits until a model ends, for so long at most.
    ///
    /// # Errors
    ///
    /// [`WaitError`]: the time is over, or the model ended long ago.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn wait(&self, id: Id, timeout: Duration) -> Result<Outcome, WaitError> {
        self.queue.wait(id, timeout).await
    }

    /// Returns this moment.
    #[must_use]
    pub fn snapshot(&self) -> LineSnapshot {
        let counters = self.queue.snapshot().counters;
        let traffic = self.models.inner.hub.downloader().traffic();
        let seconds = self.clock.now().as_secs_f64().max(1e-3);
        let submitted = counters.submitted.max(1) as f64;
        LineSnapshot {
            queued: counters.queued() as usize,
            active_downloads: counters.running() as usize,
            done: counters.done,
            failed: counters.ended() - counters.done,
            completion_rate: counters.done as f64 / submitted,
            average_bytes_per_s: traffic.fetched_bytes as f64 / seconds,
        }
    }

    /// Lets nothing in any more and ends what runs, which keeps what was written; the journal keeps
    /// what was not ended for the next time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the line shut down.
    pub async fn shutdown(&self) {
        self.queue.shutdown(Shutdown::Abort).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cache, Downloader, FetchOptions, Hub, HubOptions, ModelsOptions};

    #[tokio::test]
    async fn what_is_cancelled_before_its_turn_is_forgotten() {
        let client = pool::http::Client::new(pool::http::ClientOptions::default());
        let endpoint = "http://localhost".parse().unwrap();
        let hub =
            Hub::new(Downloader::new(client, FetchOptions::default()), HubOptions::new(endpoint));
        let options = ModelsOptions { cache: Cache::new("unused"), offline: true };
        let options_of = ModelLineOptions { models_max: 0, ..ModelLineOptions::default() };
        let line = ModelLine::new(Models::new(hub, options), options_of);
        let submit = async |name: String| {
            line.submit(name.parse().unwrap(), Priority::Normal, |_| {}).await.unwrap()
        };
        let kept = submit("kept".to_owned()).await;
        for k in 0..=SLOTS_MAX {
            assert!(line.cancel(submit(format!("m{k}")).await.id()));
        }
        assert!(line.slots.lock().len() < SLOTS_MAX);
        assert!(Arc::ptr_eq(&kept.slot, &submit("kept".to_owned()).await.slot), "it is waited for");
    }
}
