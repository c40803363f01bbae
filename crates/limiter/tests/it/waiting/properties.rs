//! Random tasks: the handles against the model and against their core.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use limiter::{Burst, Limiter, Moment, Rate, Tree};
use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::limiter;
use crate::model::{Fraction, Granted, SECOND, assert_conforms, at, cases, millis};

/// Runs a test on paused time, outside of the macro, so that proptest can.
fn paused<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
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

/// Runs the tasks and returns who was granted what and when, in the order in which they noticed.
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
            let mut granted: Vec<Granted> = log.iter().map(|(_, granted)| *granted).collect();
            // Of those granted at one moment the one that polls notices first, wherever it stood in line.
            // The last of them alone can have exceeded the burst: behind it there is a debt.
            granted.sort_by_key(|granted| (granted.nanos, burst < granted.asked));
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
