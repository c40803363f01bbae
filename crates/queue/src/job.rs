//! What is queued, how it is named, and how it can end.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// One job before it is queued: where it stands in line, and what it is.
///
/// `work` is the caller's: a value that it gets back from a [`Scheduler`](crate::Scheduler), or
/// the `Work` that a `Queue` runs.
///
/// # Examples
///
/// ```
/// use queue::Job;
///
/// let job = Job { class: 2, cost: 4096, ..Job::new("hub.example", "model.safetensors") };
/// assert_eq!(1, Job::new("hub.example", ()).cost);
/// assert_eq!("model.safetensors", job.work);
/// ```
#[derive(Clone, Debug)]
pub struct Job<K, J> {
    /// Whose job it is: a host, a model, a tenant. Caps and fair shares are by key.
    pub key: K,
    /// Its class; 0 is served first, and each [`ageing`](crate::Rules::ageing) of waiting counts
    /// as one class less. 0 unless set.
    pub class: u8,
    /// What its key pays for its start, in any unit that is the same for all jobs: bytes, tokens,
    /// jobs. 1 unless set; 0 counts as 1, or a key of such jobs would never end its turn, and more
    /// than [`COST_MAX`] as that.
    pub cost: u64,
    /// At most one job of this name is queued or running; a second one is told of the first.
    pub unique: Option<Arc<str>>,
    /// How long it may be queued; then it ends as timed out. For ever unless set.
    pub queue_timeout: Option<Duration>,
    /// What is to be done.
    pub work: J,
}

/// The largest [`cost`](Job::cost); a larger one is taken for it. In bytes that is 256 TiB, more than any
/// job moves; and 65 536 such jobs in a class, at a quantum of 1, use up the 64 bits in which its rounds
/// are counted. From then on its keys take turns job by job, whatever their weights.
pub const COST_MAX: u64 = 1 << 48;

impl<K, J> Job<K, J> {
    /// A job of class 0 and cost 1 without a name and a time-out.
    pub fn new(key: K, work: J) -> Self {
        Self { key, class: 0, cost: 1, unique: None, queue_timeout: None, work }
    }
}

/// The name of a submitted job, never used again by its queue.
///
/// Ids are ordered by submission. An id of another queue names nothing, or something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Counts submissions; it is what makes the name unique.
    pub(crate) sequence: u64,
    /// Where the job lies, so that it need not be searched.
    pub(crate) index: u32,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.sequence)
    }
}

/// How a job that ran came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finish {
    /// It did what it was to do.
    Done,
    /// It did not, or it panicked.
    Failed,
    /// It was asked to stop, and stopped or was dropped.
    Cancelled,
}

impl From<()> for Finish {
    fn from((): ()) -> Self {
        Self::Done
    }
}

impl<T, E> From<Result<T, E>> for Finish {
    fn from(result: Result<T, E>) -> Self {
        result.map_or(Self::Failed, |_| Self::Done)
    }
}

/// How a job ended, whether it ran or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It ran and did what it was to do.
    Done,
    /// It ran and failed, or panicked.
    Failed,
    /// It was cancelled, queued or running.
    Cancelled,
    /// It was queued for longer than its time-out.
    TimedOut,
    /// It was the worst-ranked job of a full queue, and a better one came.
    Shed,
}

impl From<Finish> for Outcome {
    fn from(finish: Finish) -> Self {
        match finish {
            Finish::Done => Self::Done,
            Finish::Failed => Self::Failed,
            Finish::Cancelled => Self::Cancelled,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed out",
            Self::Shed => "shed",
        })
    }
}

/// Where a job is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It waits for its turn.
    Queued,
    /// It was started and has not ended.
    Running,
}

/// A job that was not queued, and why.
#[derive(Clone, Debug)]
pub struct Refused<K, J> {
    /// The job, as it was handed in.
    pub job: Job<K, J>,
    /// The reason.
    pub why: Refusal,
}

impl<K, J> fmt::Display for Refused<K, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job refused: {}", self.why)
    }
}

impl<K: fmt::Debug, J: fmt::Debug> Error for Refused<K, J> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.why {
            Refusal::Journal(error) => Some(&**error),
            Refusal::Full { .. } | Refusal::Duplicate(_) | Refusal::Closed => None,
        }
    }
}

/// Why a job was not queued.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// As many jobs are queued as may be, and none of them ranks behind this one.
    Full {
        /// The largest number of queued jobs.
        capacity: usize,
    },
    /// A job of the same unique name is queued or running.
    Duplicate(Id),
    /// The queue is shut down.
    Closed,
    /// The journal could not record the job.
    Journal(Arc<io::Error>),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { capacity } => {
                write!(f, "{capacity} jobs are queued, the most that may be: try again later")
            }
            Self::Duplicate(id) => write!(f, "job {id} of the same unique name has not ended"),
            Self::Closed => f.write_str("the queue is shut down"),
            Self::Journal(_) => f.write_str("the journal did not record it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_returns_says_how_it_ended() {
        assert_eq!(Finish::Done, ().into());
        assert_eq!(Finish::Done, Ok::<_, ()>(1).into());
        assert_eq!(Finish::Failed, Err::<(), _>("no disk").into());
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let why = Refusal::Full { capacity: 8 };
        let refused = Refused { job: Job::new("key", ()), why };
        assert_eq!(
            "job refused: 8 jobs are queued, the most that may be: try again later",
            refused.to_string()
        );
        assert!(refused.source().is_none());
    }

    #[test]
    fn a_refusal_names_the_failure_that_it_comes_from() {
        let why = Refusal::Journal(Arc::new(io::ErrorKind::StorageFull.into()));
        let refused = Refused { job: Job::new("key", ()), why };
        assert_eq!("job refused: the journal did not record it", refused.to_string());
        assert_eq!("no storage space", refused.source().expect("a journal failed").to_string());
    }
}
