//! By what rules jobs are ordered and limited.

use std::time::Duration;

/// Limits and order of a [`Scheduler`](crate::Scheduler) or a `Queue`.
///
/// # Examples
///
/// ```
/// use queue::{Rules, Scheduler};
///
/// let rules = Rules { cap: 8, key_cap: 2, capacity: 10_000, ..Rules::default() };
/// let scheduler = Scheduler::<&str, ()>::new(rules);
/// assert_eq!(0, scheduler.counters().queued());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// At most so many jobs run at once; 0 starts none. 8 unless set.
    pub cap: usize,
    /// At most so many jobs of a key run at once, where the key has no cap of its own. No limit
    /// but `cap` unless set.
    pub key_cap: usize,
    /// At most so many jobs are queued; the running ones do not count. 0 counts as 1, since
    /// a job is queued before it is started. 10 000 unless set: some megabytes of jobs.
    pub capacity: usize,
    /// What becomes of a job that comes when `capacity` is reached. [`Overflow::Wait`] unless set.
    pub overflow: Overflow,
    /// After waiting so long a job counts as one class better. At most [`AGEING_MAX`], which is
    /// strict priority to all purposes; zero makes all classes one. 60 s unless set: a job of the
    /// third class is among the first after two minutes.
    pub ageing: Duration,
    /// What each round gives to a key of weight 1, in the unit of [`Job::cost`]. Small shares finely,
    /// large lets a key start several jobs in a row; 0 counts as 1. 1 unless set.
    ///
    /// [`Job::cost`]: crate::Job::cost
    pub quantum: u64,
}

/// The longest [`ageing`](Rules::ageing); a longer one is taken for it. 255 classes of it, the
/// most that there can be, are still counted exactly in 64 bits of nanoseconds.
pub const AGEING_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

impl Default for Rules {
    fn default() -> Self {
        Self {
            cap: 8,
            key_cap: usize::MAX,
            capacity: 10_000,
            overflow: Overflow::Wait,
            ageing: Duration::from_secs(60),
            quantum: 1,
        }
    }
}

/// What becomes of a job that comes when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// `Queue::submit` waits for room. A scheduler cannot wait: it gives
    /// the job back.
    Wait,
    /// It is given back.
    Reject,
    /// The worst-ranked job ends as shed and makes room, or the new one is given back if no queued
    /// job ranks behind it.
    ShedLowest,
}
