//! One measured piece of work, and what is demanded of it.

use std::fmt;

/// Runs a body this many times in a row.
///
/// What is prepared outside of it is not measured; what it computes it must check, so that a benchmark
/// of wrong code fails instead of looking fast.
pub type Run = Box<dyn FnMut(u64)>;

/// One measured piece of work: ours, or a peer's answer to the same question.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    /// The question, the same for all who answer it: `limiter/admit`.
    pub case: &'static str,
    /// Who answers: `ours`, or the name of the peer's crate.
    pub subject: &'static str,
    /// Builds the state that one run works on; not measured.
    pub prepare: fn() -> Run,
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.case, self.subject)
    }
}

/// What `ours` has to reach in a case; judged on the measurements of one run of the suite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gate {
    /// The time of `ours` is at most `ratio_max` times that of the subject `peer`, in the same run.
    AtMostTimes {
        /// The subject to compare with.
        peer: &'static str,
        /// The largest allowed ratio of the medians.
        ratio_max: f64,
    },
    /// One iteration of `ours` takes at most this many nanoseconds more than one of the subject `peer`, in
    /// the same run.
    AtMostNanosAbove {
        /// The subject to compare with.
        peer: &'static str,
        /// The largest allowed difference of the medians, in nanoseconds.
        nanos_max: f64,
    },
    /// One iteration of `ours` takes at most this many nanoseconds.
    AtMostNanos(f64),
}
