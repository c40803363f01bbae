//! Random schedules of whole scenarios: `cargo test -p queue --features shuttle --test shuttle`.
//!
//! `QUEUE_SCHEDULES` sets the number of schedules of the large scenario; 500 unless set. In the
//! checker's world a sleep may be over at any moment, so time-outs and graces strike at random too.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helpers too")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use queue::{
    Finish, Id, Job, Options, Outcome, Overflow, Queue, Refusal, Rules, Shutdown, State, Work,
};
use shuttle::future::{block_on, spawn, yield_now};
use shuttle::rand::{Rng, thread_rng};

const CAP_MAX: usize = 4;
const KEY_CAP_MAX: usize = 2;
const KEYS: usize = 3;

fn schedules() -> usize {
    std::env::var("QUEUE_SCHEDULES").map_or(500, |schedules| schedules.parse().expect("a number"))
}

/// Counts what runs, by key and in all.
#[derive(Clone)]
struct Census {
    running: Arc<[AtomicUsize; KEYS]>,
    started: Arc<AtomicUsize>,
}

/// A job in the census; leaves it however it ends.
struct Presence(Census, usize);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.running[self.1].fetch_sub(1, Ordering::SeqCst);
    }
}

impl Census {
    fn new() -> Self {
        let running = Arc::new(std::array::from_fn(|_| AtomicUsize::new(0)));
        Self { running, started: Arc::new(AtomicUsize::new(0)) }
    }

    fn enter(&self, key: usize) -> Presence {
        self.started.fetch_add(1, Ordering::SeqCst);
        let of_key = self.running[key].fetch_add(1, Ordering::SeqCst) + 1;
        assert!(of_key <= KEY_CAP_MAX, "{of_key} jobs of key {key} run");
        assert!(self.running() <= CAP_MAX, "{} jobs run", self.running());
        Presence(self.clone(), key)
    }

    fn running(&self) -> usize {
        self.running.iter().map(|running| running.load(Ordering::SeqCst)).sum()
    }

    /// A job that takes some steps, ends in some way, and may listen when it is asked to stop.
    fn work(&self, key: usize) -> Work {
        let census = self.clone();
        Work::stoppable(move |stop| async move {
            let _presence = census.enter(key);
            for _ in 0..thread_rng().gen_range(0..4) {
                yield_now().await;
                if stop.is_requested() && thread_rng().gen_bool(0.5) {
                    return Finish::Cancelled;
                }
            }
            if thread_rng().gen_bool(0.2) { Finish::Failed } else { Finish::Done }
        })
    }
}

fn check_sums(queue: &Queue<usize>) {
    let snapshot = queue.snapshot();
    let counters = snapshot.counters;
    let all = counters.queued() + counters.running() + counters.ended();
    assert_eq!(counters.submitted, all);
    let queued: usize = snapshot.keys.iter().map(|key| key.queued).sum();
    let running: usize = snapshot.keys.iter().map(|key| key.running).sum();
    assert_eq!((counters.queued(), counters.running()), (queued as u64, running as u64));
}

/// One of the 30: submits a job, meddles with others', waits for its own.
async fn meddle(queue: Queue<usize>, census: Census, ids: Arc<shuttle::sync::Mutex<Vec<Id>>>) {
    let key = thread_rng().gen_range(0..KEYS);
    let job = Job {
        class: thread_rng().gen_range(0..3),
        unique: thread_rng().gen_bool(0.1).then(|| "twin".into()),
        queue_timeout: thread_rng().gen_bool(0.2).then_some(Duration::from_secs(1)),
        ..Job::new(key, census.work(key))
    };
    let ticket = queue.submit(job).await.expect("it is not shut down");
    ids.lock().unwrap().push(ticket.id());
    check_sums(&queue);
    let other = {
        let ids = ids.lock().unwrap();
        ids[thread_rng().gen_range(0..ids.len())]
    };
    match thread_rng().gen_range(0..8) {
        0 | 1 => drop(queue.cancel(other)),
        2 => drop(queue.reprioritize(other, 0)),
        3 => queue.set_cap(thread_rng().gen_range(1..=CAP_MAX)),
        4 => queue.set_key_cap(&key, thread_rng().gen_range(1..=KEY_CAP_MAX)),
        5 => {
            queue.pause(&key);
            yield_now().await;
            queue.resume(&key);
        }
        6 => drop(queue.wait(other, Duration::from_secs(1)).await),
        _ => {}
    }
    let (id, outcome) = (ticket.id(), ticket.await);
    assert_eq!(Ok(outcome), queue.wait(id, Duration::ZERO).await);
    assert_eq!(None, queue.cancel(id), "it is over");
}

/// Q1, Q2, Q3, Q7, Q8: 30 tasks with random cancellations and resizes.
#[test]
fn thirty_tasks_meddle_and_all_jobs_end_once() {
    let scenario = || {
        block_on(async {
            let rules = Rules { cap: 2, key_cap: 1, capacity: 8, ..Rules::default() };
            let (queue, census) = (Queue::new(rules), Census::new());
            let ids = Arc::new(shuttle::sync::Mutex::new(Vec::new()));
            let tasks: Vec<_> = (0..30)
                .map(|_| spawn(meddle(queue.clone(), census.clone(), Arc::clone(&ids))))
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            queue.idle().await;
            check_sums(&queue);
            let counters = queue.snapshot().counters;
            assert_eq!(30, counters.submitted + counters.joined);
            assert_eq!((0, counters.started), (census.running(), started(&census)));
        });
    };
    shuttle::check_random(scenario, schedules());
}

fn started(census: &Census) -> u64 {
    census.started.load(Ordering::SeqCst) as u64
}

/// Q7: a job that a cancellation found in the queue does not run; one that ran was found running.
#[test]
fn a_cancellation_races_with_start_and_end() {
    let scenario = || {
        block_on(async {
            let queue = Queue::new(Rules { cap: 1, ..Rules::default() });
            let census = Census::new();
            let first = queue.submit(Job::new(0, census.work(0))).await.unwrap();
            let victim = queue.submit(Job::new(0, census.work(0))).await.unwrap();
            let id = victim.id();
            let cancels: Vec<_> = (0..2)
                .map(|_| {
                    let queue = queue.clone();
                    spawn(async move { queue.cancel(id) })
                })
                .collect();
            let mut saw = Vec::new();
            for cancel in cancels {
                saw.push(cancel.await.unwrap());
            }
            first.await;
            let outcome = victim.await;
            let found_queued = saw.iter().filter(|saw| **saw == Some(State::Queued)).count();
            assert!(found_queued <= 1);
            let ran = started(&census) == 2;
            assert_eq!(ran, found_queued == 0, "{saw:?}");
            assert!(ran || outcome == Outcome::Cancelled);
        });
    };
    shuttle::check_random(scenario, 4 * schedules());
}

/// Q11: a submission that is dropped at any moment queues nothing, and its room goes to the next.
#[test]
fn dropped_submissions_lose_no_room() {
    let scenario = || {
        block_on(async {
            let rules = Rules { cap: 1, capacity: 1, ..Rules::default() };
            let (queue, census) = (Queue::new(rules), Census::new());
            let tasks: Vec<_> = (0..6)
                .map(|number| {
                    let (queue, census) = (queue.clone(), census.clone());
                    spawn(async move {
                        let submit = queue.submit(Job::new(0, census.work(0)));
                        if number % 2 == 0 {
                            submit.await.unwrap().await;
                            return 1;
                        }
                        let mut submit = Box::pin(submit);
                        for _ in 0..thread_rng().gen_range(1..4) {
                            let polled = std::future::poll_fn(|cx| {
                                std::task::Poll::Ready(submit.as_mut().poll(cx))
                            });
                            if polled.await.is_ready() {
                                return 1;
                            }
                            yield_now().await;
                        }
                        0
                    })
                })
                .collect();
            let mut submitted = 0;
            for task in tasks {
                submitted += task.await.unwrap();
            }
            queue.idle().await;
            assert_eq!((submitted, 0), (queue.snapshot().counters.submitted, census.running()));
            assert_eq!((submitted, 0), (started(&census), queue.snapshot().waiting));
        });
    };
    shuttle::check_random(scenario, 4 * schedules());
}

/// Q10: whatever happens at the same time, everybody comes home, and nothing starts afterwards.
#[test]
fn a_shutdown_resolves_everybody() {
    let scenario = || {
        block_on(async {
            let rules = Rules { cap: 2, capacity: 3, overflow: Overflow::Wait, ..Rules::default() };
            let options = Options { stop_grace: Duration::from_secs(1), ..Options::default() };
            let (queue, census) = (Queue::with_options(rules, options), Census::new());
            let tasks: Vec<_> = (0..8)
                .map(|number| {
                    let (queue, census) = (queue.clone(), census.clone());
                    let key = number % KEYS;
                    spawn(async move {
                        match queue.submit(Job::new(key, census.work(key))).await {
                            Ok(ticket) => drop(ticket.await),
                            Err(refused) => assert!(matches!(refused.why, Refusal::Closed)),
                        }
                    })
                })
                .collect();
            yield_now().await;
            let how = if thread_rng().gen_bool(0.5) { Shutdown::Drain } else { Shutdown::Abort };
            queue.shutdown(how).await;
            let before = started(&census);
            assert_eq!(0, census.running());
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(before, started(&census), "nothing starts after a shutdown");
            check_sums(&queue);
        });
    };
    shuttle::check_random(scenario, 4 * schedules());
}
