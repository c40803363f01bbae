//! Who is next: an in-process queue of jobs with priorities, keys, caps and cancellation.
//!
//! Jobs have a class, a key and a cost. The queue starts the best-ranked job whose key is below its
//! cap, shares a class fairly between keys, lets nobody wait for ever, and ends each job exactly once.
//!
//! [`Scheduler`] decides and nothing else: it takes `now`, and knows no clock, task or lock. `Queue`
//! waits around it: it runs futures on the caller's runtime.
//!
//! # The guarantee
//!
//! `submitted = queued + running + ended` in every [`Snapshot`]; `running ≤ cap`, in total and per key,
//! but for what ran when a cap was lowered; and whenever a slot is free and a job is eligible, it
//! starts.
//!
//! # The order
//!
//! 1. **Within a key** jobs start by rank: the instant of submission plus one
//!    [`ageing`](Rules::ageing) per class, the earlier the better; first come, first served among
//!    equals. A rank never changes, whether its key is blocked or not, unless the job is put into
//!    another class.
//! 2. **A job counts as** its class, less one for each ageing that it has waited, down to 0. A key
//!    counts as its best-ranked queued job does.
//! 3. **Between keys**, those that may start a job and count as the best class take turns, by deficit
//!    round robin: each round gives each of them its weight times the [`quantum`](Rules::quantum), a
//!    key starts its next job in the round in which it can pay the job's [`cost`](Job::cost), and
//!    keeps its turn while it can pay. What a job [did not cost](Scheduler::finish_at) in the end comes
//!    back. A key that comes to its class's ring, because it has a job
//!    again, room again, or counts as another class, comes in the present round and with nothing.
//!
//! So much may be said beforehand, and is tested:
//!
//! - Within a key, a job of class c is overtaken only by jobs of classes c' < c that are submitted
//!   less than (c − c') agings after it.
//! - Between keys: from c agings after its submission on, a job of class c of an eligible key starts
//!   within `m = ⌈a / (weight · quantum)⌉` rounds, where `a` is the cost of the job and of those of its
//!   own key that rank before it; in them, another key starts less than
//!   `(m + 1) · weight · quantum + cost_max`. So each job starts, if jobs end.
//! - Two keys that came to a ring together, and have jobs and are eligible since, were served alike:
//!   cost ÷ weight differs by less than the quantum and one job's cost ÷ weight, as long as nothing
//!   comes back; what comes back is made up for by the key's next jobs.
//!
//! # When to use it, and when not
//!
//! Use it for work inside one process that needs an order and limits. It is no channel (values do not
//! come out at the other end: jobs run), and no broker: other processes do not see it. A `Journal`
//! carries the jobs of one process over a restart; for work that many processes share, NATS
//! `JetStream` or a table in Postgres with `SKIP LOCKED` are made. If neither order nor cancellation
//! matters, a task per job and a `Semaphore` are faster.
//!
//! # Examples
//!
//! The crate's `Queue` runs jobs; here is the order alone:
//!
//! ```
//! use std::time::Duration;
//!
//! use queue::{Finish, Job, Rules, Scheduler};
//!
//! let rules = Rules { cap: 1, ageing: Duration::from_secs(60), ..Rules::default() };
//! let mut scheduler = Scheduler::new(rules);
//! let weights = Job { class: 1, ..Job::new("model", "weights") };
//! let weights = scheduler.push(weights, Duration::ZERO)?.id;
//! let config = scheduler.push(Job::new("model", "config"), Duration::from_secs(59))?.id;
//! let readme = scheduler.push(Job::new("model", "readme"), Duration::from_secs(61))?.id;
//!
//! // The weights were submitted a minute before the readme, which makes up for their class.
//! for expected in [config, weights, readme] {
//!     assert_eq!(Some(expected), scheduler.next(Duration::from_secs(61)));
//!     scheduler.finish(expected, Finish::Done);
//! }
//! # Ok::<(), queue::Refused<&str, &str>>(())
//! ```
//!
//! # Features
//!
//! - `tokio` (default): `Queue` and what belongs to it. Without it the crate has no dependencies.
//! - `shuttle`: for the crate's own tests.

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
pub use job::{COST_MAX, Finish, Id, Job, Outcome, Refusal, Refused, State};
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

#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;
