//! Who is next: an in-process queue of jobs with priorities, keys, caps and cancellation.

#![forbid(unsafe_code)]

mod counters;
mod job;
mod rules;
mod scheduler;

pub use counters::{Counters, KeySnapshot, Snapshot};
pub use job::{Finish, Id, Job, Outcome, Refusal, Refused, State};
pub use rules::{AGEING_MAX, Overflow, Rules};
pub use scheduler::{Pushed, Scheduler};
