//! What happened so far, and what can be told from it.

/// Counts of all that happened; none of them ever falls.
///
/// A job is counted as submitted once it is queued or refused for lack of room, and ends in exactly
/// one of `done`, `failed`, `cancelled_queued`, `cancelled_running`, `timed_out`, `rejected` and
/// `shed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Jobs handed in, refused ones included, joined ones not.
    pub submitted: u64,
    /// Jobs that were started.
    pub started: u64,
    /// Jobs that ran and did what they were to do.
    pub done: u64,
    /// Jobs that ran and failed.
    pub failed: u64,
    /// Jobs that were cancelled before they were started.
    pub cancelled_queued: u64,
    /// Jobs that were cancelled while they ran.
    pub cancelled_running: u64,
    /// Jobs that were queued for too long.
    pub timed_out: u64,
    /// Jobs that were given back, because the queue was full or shut down.
    pub rejected: u64,
    /// Jobs that made room for better ones.
    pub shed: u64,
    /// Jobs that were not queued, because one of the same unique name had not ended.
    pub joined: u64,
}

impl Counters {
    /// How many jobs wait for their turn.
    pub fn queued(&self) -> u64 {
        self.submitted - self.started - self.ended_queued()
    }

    /// How many jobs run.
    pub fn running(&self) -> u64 {
        self.started - self.ended_running()
    }

    /// How many jobs came to their end, in whichever way.
    pub fn ended(&self) -> u64 {
        self.ended_queued() + self.ended_running()
    }

    /// Ends without a start.
    fn ended_queued(&self) -> u64 {
        self.cancelled_queued + self.timed_out + self.rejected + self.shed
    }

    /// Ends after a start.
    fn ended_running(&self) -> u64 {
        self.done + self.failed + self.cancelled_running
    }
}

/// One moment of a queue. Taking it costs time by the number of keys, not of jobs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot<K> {
    /// What happened so far; `submitted = queued + running + ended`.
    pub counters: Counters,
    /// The largest number of running jobs.
    pub cap: usize,
    /// Submitters that wait for room; they are not counted as submitted. A scheduler has none.
    pub waiting: usize,
    /// Records that the journal failed to write, other than of submissions. A scheduler has none.
    pub journal_failures: u64,
    /// The keys that have jobs or settings, in no order.
    pub keys: Vec<KeySnapshot<K>>,
}

/// One key in a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeySnapshot<K> {
    /// The key.
    pub key: K,
    /// Its queued jobs.
    pub queued: usize,
    /// Its running jobs.
    pub running: usize,
    /// The largest number of its running jobs.
    pub cap: usize,
    /// Its share beside others.
    pub weight: u32,
    /// Whether none of its jobs is started.
    pub paused: bool,
}
