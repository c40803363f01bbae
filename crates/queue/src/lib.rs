//! Who is next: an in-process queue of jobs with priorities, keys, caps and cancellation.

#![forbid(unsafe_code)]

mod arena;
mod counters;
#[cfg(feature = "tokio")]
mod events;
mod job;
#[cfg(feature = "tokio")]
mod journal;
#[cfg(feature = "tokio")]
mod latch;
mod rules;
mod scheduler;
#[cfg(feature = "tokio")]
mod seam;
#[cfg(feature = "tokio")]
mod shell;
#[cfg(feature = "tokio")]
mod sync;
#[cfg(feature = "tokio")]
mod ticket;
#[cfg(feature = "tokio")]
mod work;

pub use counters::{Counters, KeySnapshot, Snapshot};
#[cfg(feature = "tokio")]
pub use events::{Event, Events, Step, Update};
pub use job::{Finish, Id, Job, Outcome, Refusal, Refused, State};
#[cfg(feature = "tokio")]
pub use journal::{Entry, Journal, MemoryJournal, Record, Unfinished};
pub use rules::{AGEING_MAX, Overflow, Rules};
pub use scheduler::{Pushed, Scheduler};
#[cfg(feature = "tokio")]
pub use shell::{Options, Queue, Shutdown, WaitError};
#[cfg(feature = "tokio")]
pub use ticket::Ticket;
#[cfg(feature = "tokio")]
pub use work::{Stop, Work};
