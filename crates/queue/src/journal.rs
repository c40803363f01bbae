//! A record of jobs that outlives the queue.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::job::{Job, Outcome};
use crate::sync::Mutex;
use crate::work::Work;

/// Records what becomes of jobs, so that what a stop left unfinished can be done after it.
///
/// A queue records only jobs that have a [note](Work::noted). It calls the journal in the order of
/// events and with its lock held: a call should write into a buffer and leave syncing to another
/// thread. A call that panics has failed like one that returns an error.
///
/// What is replayed is done at least once: a job may have ended just before its end was recorded. Jobs
/// that a shutdown or the end of the runtime cuts short stay unfinished: those that were queued, and
/// those that ran and did not end as [done](Outcome::Done) after they were asked to stop. A job that
/// returns `()` or `Ok` when it is asked to stop says that it is done, and is over; so are jobs that were
/// cancelled by id before.
///
/// # Examples
///
/// ```
/// use queue::{Job, Journal, MemoryJournal, Options, Queue, Rules, Shutdown, Work};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let mut journal = MemoryJournal::new();
/// let options = Options { journal: Some(Box::new(journal.clone())), ..Options::default() };
/// let queue = Queue::with_options(Rules { cap: 0, ..Rules::default() }, options);
/// queue.submit(Job::new("key", Work::new(async {}).noted(*b"fetch a"))).await?;
/// queue.shutdown(Shutdown::Abort).await;
///
/// // After the restart:
/// let options = Options { journal: Some(Box::new(journal.clone())), ..Options::default() };
/// let queue = Queue::with_options(Rules::default(), options);
/// for unfinished in journal.replay()? {
///     assert_eq!(b"fetch a"[..], unfinished.note[..]);
///     queue.submit(unfinished.into_job(Work::new(async {}))).await?.await;
/// }
/// assert!(journal.replay()?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub trait Journal<K>: Send {
    /// Records a job that is about to be queued, and names the record.
    ///
    /// # Errors
    ///
    /// The job is not queued, and is given back.
    fn submitted(&mut self, job: &Record<'_, K>) -> io::Result<Entry>;

    /// Records that a job was started.
    ///
    /// # Errors
    ///
    /// Are counted; the job goes on.
    fn started(&mut self, entry: Entry) -> io::Result<()>;

    /// Records that a job has ended and need not be done again.
    ///
    /// # Errors
    ///
    /// Are counted; the job has ended all the same.
    fn ended(&mut self, entry: Entry, outcome: Outcome) -> io::Result<()>;

    /// The jobs that were submitted and have not ended, in the order of their submission.
    ///
    /// # Errors
    ///
    /// What reading failed with.
    fn replay(&mut self) -> io::Result<Vec<Unfinished<K>>>;
}

/// The name of a record, given by its journal and never given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry(pub u64);

/// What a journal learns of a job.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a, K> {
    /// Whose job it is.
    pub key: &'a K,
    /// Its class.
    pub class: u8,
    /// What its key pays for it.
    pub cost: u64,
    /// Its unique name, if it has one.
    pub unique: Option<&'a str>,
    /// From which the application can make the job again.
    pub note: &'a [u8],
}

/// A job that was submitted and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished<K> {
    /// Its record.
    pub entry: Entry,
    /// Whose job it is.
    pub key: K,
    /// Its class.
    pub class: u8,
    /// What its key pays for it.
    pub cost: u64,
    /// Its unique name, if it has one.
    pub unique: Option<Arc<str>>,
    /// From which the application can make the job again.
    pub note: Arc<[u8]>,
    /// Whether it was started.
    pub started: bool,
}

impl<K> Unfinished<K> {
    /// The job again, under the same record: it is not recorded as submitted a second time. If it joins
    /// another of its unique name, its record ends as that one does.
    ///
    /// Its class is the one that it was submitted in. Time that has passed is not recorded, so it comes
    /// without a [queue time-out](Job::queue_timeout).
    pub fn into_job(self, mut work: Work) -> Job<K, Work> {
        work.entry = Some(self.entry);
        work.note = Some(self.note);
        let (class, cost, unique) = (self.class, self.cost, self.unique);
        Job { class, cost, unique, ..Job::new(self.key, work) }
    }
}

/// A journal that lasts as long as the process, for tests and as a pattern. Clones share it.
#[derive(Clone, Debug)]
pub struct MemoryJournal<K> {
    state: Arc<Mutex<MemoryState<K>>>,
}

#[derive(Debug)]
struct MemoryState<K> {
    next: u64,
    unfinished: BTreeMap<Entry, Unfinished<K>>,
}

impl<K> MemoryJournal<K> {
    /// An empty journal.
    pub fn new() -> Self {
        let state = MemoryState { next: 0, unfinished: BTreeMap::new() };
        Self { state: Arc::new(Mutex::new(state)) }
    }
}

impl<K> Default for MemoryJournal<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Clone + Send> Journal<K> for MemoryJournal<K> {
    fn submitted(&mut self, job: &Record<'_, K>) -> io::Result<Entry> {
        let mut state = self.state.lock();
        let entry = Entry(state.next);
        state.next += 1;
        let unfinished = Unfinished {
            entry,
            key: job.key.clone(),
            class: job.class,
            cost: job.cost,
            unique: job.unique.map(Arc::from),
            note: Arc::from(job.note),
            started: false,
        };
        state.unfinished.insert(entry, unfinished);
        Ok(entry)
    }

    fn started(&mut self, entry: Entry) -> io::Result<()> {
        if let Some(unfinished) = self.state.lock().unfinished.get_mut(&entry) {
            unfinished.started = true;
        }
        Ok(())
    }

    fn ended(&mut self, entry: Entry, _outcome: Outcome) -> io::Result<()> {
        self.state.lock().unfinished.remove(&entry);
        Ok(())
    }

    fn replay(&mut self) -> io::Result<Vec<Unfinished<K>>> {
        Ok(self.state.lock().unfinished.values().cloned().collect())
    }
}
