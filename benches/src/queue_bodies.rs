//! Bodies of `queue`: a job through the scheduler, a cancellation, and jobs through the async queue.

use std::time::Duration;

use queue::{Finish, Id, Job, Queue, Rules, Scheduler, Work};
use tokio::runtime::{Builder, Runtime};

use crate::{Body, Gate, Run};

/// All bodies of this module.
pub const BODIES: &[Body] = &[
    Body { case: "queue/push-pop-8", subject: "ours", prepare: || push_pop(8, 1) },
    Body { case: "queue/push-pop-10k", subject: "ours", prepare: || push_pop(10_000, 1) },
    Body { case: "queue/push-pop-1m", subject: "ours", prepare: || push_pop(1_000_000, 1) },
    Body { case: "queue/push-pop-10k-keys", subject: "ours", prepare: || push_pop(10_000, 101) },
    Body { case: "queue/cancel-8", subject: "ours", prepare: || cancel(8) },
    Body { case: "queue/cancel-10k", subject: "ours", prepare: || cancel(10_000) },
    Body { case: "queue/cancel-1m", subject: "ours", prepare: || cancel(1_000_000) },
    Body { case: "queue/dispatch", subject: "ours", prepare: dispatch },
];

/// What is demanded of ours.
pub const GATES: &[(&str, Gate)] = &[
    ("queue/push-pop-10k", Gate::AtMostNanos(200.0)),
    ("queue/push-pop-10k-keys", Gate::AtMostNanos(200.0)),
    ("queue/cancel-10k", Gate::AtMostNanos(250.0)),
    // 400 000 jobs a second.
    ("queue/dispatch", Gate::AtMostNanos(DISPATCH_JOBS as f64 * 1e9 / 400_000.0)),
];

/// How many jobs one iteration dispatches: enough to fill the queue, and to drown the time that it takes
/// to wake and to park the two threads.
pub const DISPATCH_JOBS: u64 = 10_000;
/// Keys of the dispatched jobs.
pub const DISPATCH_KEYS: u64 = 100;
/// How many of them may run, in all.
pub const DISPATCH_CAP: usize = 64;
/// How many of them may run, of one key.
pub const DISPATCH_KEY_CAP: usize = 4;

/// The classes that jobs take in turn.
const CLASSES: u64 = 4;

/// A scheduler with so many jobs, of 4 classes and of so many keys; where the number of keys is prime,
/// each key has jobs of all classes.
fn filled(jobs: u64, keys: u64) -> (Scheduler<u64, u64>, Vec<Id>) {
    let mut scheduler = Scheduler::new(Rules { capacity: usize::MAX, ..Rules::default() });
    let ids = (0..jobs).map(|number| push(&mut scheduler, number, keys)).collect();
    (scheduler, ids)
}

fn push(scheduler: &mut Scheduler<u64, u64>, number: u64, keys: u64) -> Id {
    let class = u8::try_from(number % CLASSES).expect("there are few classes");
    let job = Job { class, ..Job::new(number % keys, number) };
    let pushed = scheduler.push(job, Duration::from_micros(number));
    pushed.expect("there is no limit").id
}

/// One job in and the best one through: push, next, finish.
fn push_pop(jobs: u64, keys: u64) -> Run {
    let (mut scheduler, _) = filled(jobs, keys);
    let mut number = jobs;
    Box::new(move |iterations| {
        for _ in 0..iterations {
            push(&mut scheduler, number, keys);
            number += 1;
            let id = scheduler.next(Duration::from_micros(number)).expect("a job waits");
            let work = scheduler.finish(id, Finish::Done).expect("it runs");
            assert!(work < number);
        }
        assert_eq!(jobs, scheduler.counters().queued());
    })
}

/// One job in and another one out by its id, in an order that has nothing to do with theirs.
fn cancel(jobs: u64) -> Run {
    /// A step through the ids that meets all of them: it is odd and not a multiple of 5.
    const STEP: usize = 7919;
    let (mut scheduler, mut ids) = filled(jobs, 1);
    let (mut number, mut at) = (jobs, 0);
    Box::new(move |iterations| {
        for _ in 0..iterations {
            at = (at + STEP) % ids.len();
            scheduler.cancel(ids[at]).expect("it is queued");
            ids[at] = push(&mut scheduler, number, 1);
            number += 1;
        }
        assert_eq!(jobs, scheduler.counters().queued());
    })
}

/// A runtime on two threads, as both cores of the machine that we measure on.
///
/// # Panics
///
/// When the system gives no threads.
pub fn two_threads() -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build();
    runtime.expect("the system gives two threads")
}

/// [`DISPATCH_JOBS`] jobs that do nothing, submitted, run and ended; the line is bounded at 10 000, and
/// the submitter waits for room.
fn dispatch() -> Run {
    let runtime = two_threads();
    let rules = Rules { cap: DISPATCH_CAP, key_cap: DISPATCH_KEY_CAP, ..Rules::default() };
    let queue = runtime.block_on(async { Queue::new(rules) });
    let mut done = 0;
    Box::new(move |iterations| {
        let submitter = queue.clone();
        let submits = async move {
            for number in 0..iterations * DISPATCH_JOBS {
                let job = Job::new(number % DISPATCH_KEYS, Work::new(async {}));
                submitter.submit(job).await.expect("it is not shut down");
            }
            submitter.idle().await;
        };
        runtime.block_on(runtime.spawn(submits)).expect("nothing panics");
        done += iterations * DISPATCH_JOBS;
        assert_eq!(done, queue.snapshot().counters.done);
    })
}
