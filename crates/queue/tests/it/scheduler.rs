//! The pure scheduler: against a naive model, and its promises one by one.

mod ageing;
mod model;
mod shares;
mod state_machine;
mod transitions;

use std::time::Duration;

use proptest::prelude::ProptestConfig;
use queue::{Id, Job, Scheduler};

/// So many cases of a property, or as many as `QUEUE_MODEL_CASES` says.
fn cases(unless_set: u32) -> ProptestConfig {
    let set = std::env::var("QUEUE_MODEL_CASES");
    let cases = set.map_or(unless_set, |cases| cases.parse().expect("a number"));
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

/// Queues a job of this key and class at the beginning of time.
fn push(scheduler: &mut Scheduler<&'static str, ()>, key: &'static str, class: u8) -> Id {
    push_at(scheduler, key, class, 0)
}

/// Queues a job of this key and class at this second.
fn push_at(
    scheduler: &mut Scheduler<&'static str, ()>,
    key: &'static str,
    class: u8,
    at_s: u64,
) -> Id {
    let job = Job { class, ..Job::new(key, ()) };
    scheduler.push(job, Duration::from_secs(at_s)).expect("there is room").id
}
