//! What belongs to the async queue alone.

use std::fmt;
use std::time::Duration;

use crate::journal::Journal;

/// How a [`Queue`](crate::Queue) treats jobs, beside the [`Rules`](crate::Rules) of their order.
pub struct Options<K> {
    /// How long a running job may go on after it was asked to end; then its future is dropped at its
    /// next `await`; never, if the clock does not reach that far. 5 s unless set: time to flush a file,
    /// short enough for a person who waits.
    pub stop_grace: Duration,
    /// How many of the latest events are kept for subscribers that are slow. 1024 unless set.
    pub events_max: usize,
    /// How many of the latest ends are kept for those who ask for a job that is over. 1024 unless
    /// set.
    pub history_max: usize,
    /// Where jobs with a note are recorded. Nowhere unless set.
    pub journal: Option<Box<dyn Journal<K>>>,
}

impl<K> Default for Options<K> {
    fn default() -> Self {
        let stop_grace = Duration::from_secs(5);
        Self { stop_grace, events_max: 1024, history_max: 1024, journal: None }
    }
}

impl<K> fmt::Debug for Options<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("stop_grace", &self.stop_grace)
            .field("events_max", &self.events_max)
            .field("history_max", &self.history_max)
            .finish_non_exhaustive()
    }
}

/// What becomes of running jobs when the queue is shut down. Queued ones are cancelled either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// They go on to their end.
    Drain,
    /// They are cancelled too.
    Abort,
}

/// Why waiting for a job told nothing of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// It has not ended within the time; it goes on.
    TimedOut,
    /// It ended so long ago that it is forgotten, or is not of this queue.
    Unknown,
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "the job has not ended within the time, and goes on",
            Self::Unknown => "no job of this id is known: it is long over, or of another queue",
        })
    }
}

impl std::error::Error for WaitError {}
