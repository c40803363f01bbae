//! Tasks that wait for a limiter, in tokio's paused time.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use limiter::{Burst, Limiter, Moment, Permit, Rate, Share, Tree};
use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::model::{Fraction, Granted, SECOND, assert_conforms, at, cases, millis};

fn limiter(rate: u64, burst: u64) -> Limiter {
    Limiter::new(Rate::per_second(rate), Burst::new(burst).unwrap())
}

/// Counts how often it is woken.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll_once<F: Future>(future: Pin<&mut F>, counter: &Arc<Counter>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(counter))))
}

/// Runs a test on paused time, outside of the macro, so that proptest can.
fn paused<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
}

#[tokio::test(start_paused = true)]
async fn the_second_mebibyte_waits_a_second() {
    let limiter = limiter(1 << 20, 1 << 20);
    let start = Instant::now();
    limiter.acquire(1 << 20).await;
    limiter.acquire(1 << 20).await;
    assert_eq!(Duration::from_secs(1), start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_permit_of_more_than_the_burst_is_paid_for_by_those_behind() {
    let limiter = limiter(1000, 10);
    let start = Instant::now();
    limiter.acquire(1000).await;
    assert_eq!(Duration::ZERO, start.elapsed());
    limiter.acquire(10).await;
    assert_eq!(millis(1000), start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn try_acquire_says_when() {
    let limiter = limiter(10, 1);
    limiter.acquire(1).await;
    let refusal = limiter.try_acquire(1).unwrap_err();
    assert_eq!(Some(millis(100)), refusal.wait());
    assert_eq!(Some(Instant::now() + millis(100)), refusal.instant());
    assert_eq!("rate limit reached: retry in 100ms", refusal.to_string());
    sleep(millis(99)).await;
    assert!(limiter.try_acquire(1).is_err());
    sleep(millis(1)).await;
    assert!(limiter.try_acquire(1).is_ok());
    limiter.pause();
    assert_eq!(None, limiter.try_acquire(1).unwrap_err().wait());
}

#[tokio::test(start_paused = true)]
async fn a_large_request_is_not_starved_by_small_ones() {
    let limiter = limiter(1_000_000, 64 << 10);
    limiter.acquire(64 << 10).await;
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let limiter = limiter.clone();
        tasks.spawn(async move {
            loop {
                limiter.acquire(1024).await;
            }
        });
    }
    sleep(millis(10)).await;
    limiter.acquire(64 << 10).await;
    // Eight small ones are ahead at most, and its own tokens; ticks are of a millisecond.
    assert!(start.elapsed() <= millis(10 + 9 + 66 + 1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_gives_its_place_and_its_timer_to_the_next() {
    let limiter = limiter(10, 10);
    limiter.acquire(10).await;
    let start = Instant::now();
    let mut first = Box::pin(limiter.acquire(10));
    let counter = Arc::new(Counter::default());
    assert!(poll_once(first.as_mut(), &counter).is_pending());
    let second = tokio::spawn({
        let limiter = limiter.clone();
        async move { drop(limiter.acquire(1).await) }
    });
    sleep(millis(50)).await;
    drop(first);
    second.await.unwrap();
    assert_eq!(millis(100), start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn tokens_granted_to_a_dropped_wait_go_to_the_next() {
    let limiter = limiter(10, 10);
    limiter.acquire(10).await;
    let counter = Arc::new(Counter::default());
    let mut first = Box::pin(limiter.acquire(5));
    let mut second = Box::pin(limiter.acquire(5));
    assert!(poll_once(first.as_mut(), &counter).is_pending());
    assert!(poll_once(second.as_mut(), &counter).is_pending());
    sleep(millis(500)).await;
    // Anybody's look at the limiter dispatches: the first is granted, and never polled again.
    assert!(limiter.try_acquire(1).is_err());
    drop(first);
    assert!(poll_once(second.as_mut(), &counter).is_ready());
}

#[tokio::test(start_paused = true)]
async fn what_a_permit_did_not_use_is_there_at_once() {
    let limiter = limiter(10, 10);
    let permit = limiter.acquire(10).await;
    assert!(limiter.try_acquire(1).is_err());
    permit.used(4);
    assert!(limiter.try_acquire(7).is_err());
    limiter.try_acquire(6).unwrap();
    let stats = limiter.stats();
    assert_eq!((16, 6), (stats.granted_tokens, stats.given_back_tokens));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_permit_counts_as_used() {
    let limiter = limiter(10, 10);
    drop(limiter.acquire(10).await);
    assert!(limiter.try_acquire(1).is_err());
    limiter.try_acquire(0).unwrap().used(7);
}

#[tokio::test(start_paused = true)]
async fn an_owned_permit_outlives_its_handle() {
    let limiter = limiter(10, 10);
    let other = limiter.clone();
    let permit: Permit<'static> = limiter.acquire(10).await.into_owned();
    drop(limiter);
    assert_eq!(10, permit.tokens());
    permit.used(0);
    other.try_acquire(10).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_new_rate_moves_those_who_wait() {
    let limiter = limiter(1, 10);
    limiter.acquire(10).await;
    let start = Instant::now();
    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move { drop(limiter.acquire(10).await) }
    });
    sleep(millis(1000)).await;
    limiter.pause();
    sleep(millis(1000)).await;
    limiter.set_rate(Rate::per_second(10));
    sleep(millis(1000)).await;
    assert!(!waiting.is_finished());
    limiter.resume();
    waiting.await.unwrap();
    // One token in the first second, none in two, and nine at ten a second.
    assert_eq!(millis(3900), start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn unlimited_lets_all_pass_who_wait() {
    let limiter = limiter(1, 1);
    limiter.acquire(1).await;
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        let limiter = limiter.clone();
        tasks.spawn(async move { drop(limiter.acquire(u64::MAX).await) });
    }
    sleep(millis(1)).await;
    limiter.set_rate(Rate::UNLIMITED);
    let start = Instant::now();
    while tasks.join_next().await.is_some() {}
    assert_eq!(Duration::ZERO, start.elapsed());
    sleep(millis(1)).await;
    limiter.set_rate(Rate::per_second(1));
    assert!(limiter.try_acquire(2).is_ok_and(|permit| permit.tokens() == 2), "the bucket is full");
    assert!(limiter.try_acquire(1).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_limited_parent_closes_the_door_of_its_children() {
    let parent = Limiter::new(Rate::UNLIMITED, Burst::ONE);
    let child = parent.child(Share::default()).unwrap();
    for _ in 0..10 {
        child.try_acquire(10).unwrap();
    }
    parent.set_rate(Rate::per_second(1));
    child.try_acquire(1).unwrap();
    assert!(child.try_acquire(1).is_err());
    parent.set_rate(Rate::UNLIMITED);
    child.try_acquire(10).unwrap();
}

#[tokio::test(start_paused = true)]
async fn children_come_and_go() {
    let parent = limiter(1000, 10);
    for _ in 0..100 {
        let child = parent.child(Share { weight: 3, ..Share::default() }).unwrap();
        let grandchild = child.child(Share::default()).unwrap();
        let permit = grandchild.acquire(10).await.into_owned();
        drop((child, grandchild));
        permit.used(10);
    }
    assert_eq!(1000, parent.stats().granted_tokens);
}

#[tokio::test(start_paused = true)]
async fn waits_are_counted() {
    let limiter = limiter(1000, 10);
    limiter.acquire(10).await;
    let waiting = limiter.acquire(10);
    assert!(timeout(millis(5), waiting).await.is_err());
    limiter.acquire(10).await;
    limiter.acquire(50).await;
    let stats = limiter.stats();
    assert_eq!((3, 2, 1, 0), (stats.granted, stats.waited, stats.canceled, stats.waiting));
    assert_eq!((0, 40), (stats.available_tokens, stats.debt_tokens));
    assert_eq!(Some(Duration::from_micros(16_384)), stats.waits.quantile(1.0));
}

/// L9: one timer for all, and nobody woken in vain but the leader.
#[tokio::test(start_paused = true)]
async fn l9_wakes_are_few() {
    const WAITERS: usize = 100;
    let limiter = limiter(1000, 1);
    limiter.acquire(1).await;
    let counters: Vec<_> = (0..WAITERS).map(|_| Arc::new(Counter::default())).collect();
    let mut waits: Vec<_> =
        counters.iter().map(|counter| (counter, Box::pin(limiter.acquire(1)))).collect();
    let mut served = 0;
    let mut polls = 0;
    while served < WAITERS {
        let mut pending = Vec::new();
        for (counter, mut wait) in waits {
            let woken = counter.0.load(Ordering::Relaxed);
            if 0 < woken || polls < WAITERS {
                polls += 1;
                counter.0.store(0, Ordering::Relaxed);
                if poll_once(wait.as_mut(), counter).is_ready() {
                    served += 1;
                    continue;
                }
            }
            pending.push((counter, wait));
        }
        waits = pending;
        sleep(millis(1)).await;
    }
    // The first poll of each, one for its grant, and one to lead.
    assert!(polls <= 3 * WAITERS, "{polls} polls");
}

/// What a task does at some time: waits for tokens, for a while or for ever.
#[derive(Clone, Debug)]
struct Task {
    starts: Duration,
    tokens: u64,
    patience: Option<Duration>,
    used_percent: u64,
}

fn tasks() -> impl Strategy<Value = Vec<Task>> {
    let patience = prop_oneof![3 => Just(None), 1 => (1..200_u64).prop_map(|ms| Some(millis(ms)))];
    let used_percent = prop_oneof![3 => Just(100_u64), 1 => 0..100_u64];
    let task = (0..500_u64, 0..=300_u64, patience, used_percent);
    let task = task.prop_map(|(starts, tokens, patience, used_percent)| Task {
        starts: millis(starts),
        tokens,
        patience,
        used_percent,
    });
    prop::collection::vec(task, 1..30)
}

/// Runs the tasks and returns who was granted what and when, in order.
async fn run(limiter: &Limiter, tasks: &[Task]) -> Vec<(usize, Granted)> {
    let start = Instant::now();
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut running = JoinSet::new();
    for (index, task) in tasks.iter().cloned().enumerate() {
        let (limiter, log) = (limiter.clone(), Arc::clone(&log));
        running.spawn(async move {
            sleep(task.starts).await;
            let patience = task.patience.unwrap_or(Duration::from_secs(3600));
            if let Ok(permit) = timeout(patience, limiter.acquire(task.tokens)).await {
                let used = task.tokens * task.used_percent / 100;
                let nanos = start.elapsed().as_nanos() as u64;
                log.lock().unwrap().push((index, Granted { nanos, asked: task.tokens, used }));
                permit.used(used);
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
    Arc::into_inner(log).expect("all tasks have ended").into_inner().unwrap()
}

proptest! {
    #![proptest_config(cases(128))]

    /// L1, L2, L5: any tasks, any of them giving up at any time or giving back: what was used conforms,
    /// whoever is patient is served, and nothing is left behind.
    #[test]
    fn l1_l5_tasks_that_give_up_and_give_back(
        rate in 100..=100_000_u64, burst in 1..=500_u64, tasks in tasks(),
    ) {
        paused(async {
            let limiter = limiter(rate, burst);
            let log = run(&limiter, &tasks).await;
            let granted: Vec<Granted> = log.iter().map(|(_, granted)| *granted).collect();
            assert_conforms(&granted, Fraction { tokens: rate, nanos: SECOND }, burst);
            let patient = tasks.iter().filter(|task| task.patience.is_none()).count();
            assert!(patient <= log.len());
            let stats = limiter.stats();
            assert_eq!((0, 0), (stats.waiting, stats.waiting_tokens));
            let used: u64 = granted.iter().map(|granted| granted.used).sum();
            assert_eq!(used, stats.granted_tokens - stats.given_back_tokens);
        });
    }

    /// L10: under paused time the limiter grants what the tree grants, in its order, at the tick after.
    #[test]
    fn l10_the_limiter_does_what_its_core_does(
        rate in 100..=100_000_u64, burst in 1..=500_u64, tasks in tasks(),
    ) {
        let tasks: Vec<Task> = tasks
            .into_iter()
            .map(|task| Task { patience: None, used_percent: 100, ..task })
            .collect();
        let shell = paused(async { run(&limiter(rate, burst), &tasks).await });
        // The core is woken at the milliseconds at which tokio's timers fire.
        let mut tree = Tree::new(Rate::per_second(rate), Burst::new(burst).unwrap(), Moment::ZERO);
        let root = tree.root();
        let mut owners = BTreeMap::new();
        let mut core = BTreeMap::new();
        let end = shell.iter().map(|(_, granted)| granted.nanos).max().unwrap_or_default();
        for now in (0..=end).step_by(1_000_000) {
            let started = |task: &&(usize, &Task)| task.1.starts.as_nanos() == u128::from(now);
            for (index, task) in tasks.iter().enumerate().filter(|task| started(&task)) {
                owners.insert(tree.enqueue(root, task.tokens, at(now)), index);
            }
            tree.dispatch(at(now));
            while let Some(grant) = tree.next_grant() {
                core.insert(owners[&grant.ticket], grant.taken_at.as_nanos());
            }
        }
        for (index, granted) in shell {
            prop_assert_eq!(core[&index], granted.nanos, "task {}", index);
        }
    }
}

/// The mean rate of 1 and of 16 tasks in virtual time, over at least 100 requests and a second.
#[test]
fn virtual_time_has_no_error() {
    for rate in [10_000, 1_000_000, 30_000_000, 150_000_000, 600_000_000, 10_000_000_000_u64] {
        for n_tasks in [1, 16_u64] {
            // Enough for a tick of a millisecond, and for one request of each task.
            let request = (rate / 2000).max(1);
            let burst = request * (n_tasks + 4);
            paused(async {
                let limiter = limiter(rate, burst);
                limiter.acquire(burst).await;
                let mut tasks = JoinSet::new();
                for _ in 0..n_tasks {
                    let limiter = limiter.clone();
                    tasks.spawn(async move {
                        loop {
                            limiter.acquire(request).await;
                        }
                    });
                }
                sleep(Duration::from_secs(2)).await;
                let stats = limiter.stats();
                let granted = stats.granted_tokens - burst + stats.available_tokens;
                assert_eq!(2 * rate, granted, "{n_tasks} tasks at {rate}/s");
            });
        }
    }
}
