//! Cases that others are known to fail, each with its premise.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::{Exchange, Plan, caps, get};

const MILLISECOND: Duration = Duration::from_millis(1);

/// deadpool#462: once a connect has begun, a connection that comes back is not seen by the caller who
/// began it. Premise: the connect takes 10 s, the other user gives back after 1 s.
#[tokio::test(start_paused = true)]
async fn deadpool_462_a_returned_connection_beats_a_slow_connect() {
    let exchange = Exchange::default();
    let pool = exchange.pool(caps(2, 2));
    let held = get(&pool, "a").await.unwrap();
    exchange.set(Plan { takes: Duration::from_secs(10), ..Plan::default() }).await;
    let begin = Instant::now();
    let gives_back = async {
        sleep(Duration::from_secs(1)).await;
        drop(held);
    };
    let (lease, ()) = tokio::join!(get(&pool, "a"), gives_back);
    assert_eq!(Duration::from_secs(1), begin.elapsed());
    assert!(lease.unwrap().reused());

    // The loser of the race is not lost.
    sleep(Duration::from_secs(10)).await;
    assert_eq!((2, 2), (pool.stats().idle, pool.stats().opened));
}

/// bb8#122: a connection dropped between the check for one and the caller's getting in line wakes nobody,
/// and the caller waits for ever. Premise: threads that take and give back a single connection as fast
/// as they can.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bb8_122_no_wake_up_is_lost() {
    let pool = Exchange::default().pool(caps(1, 1));
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let pool = pool.clone();
        tasks.spawn(async move {
            for turn in 0..2000 {
                let lease = get(&pool, "a").await.unwrap();
                if turn % 64 == 0 {
                    lease.discard();
                }
            }
        });
    }
    let all = async { while tasks.join_next().await.is_some_and(|task| task.is_ok()) {} };
    let limit = Duration::from_secs(30);
    assert!(tokio::time::timeout(limit, all).await.is_ok(), "stuck: {:?}", pool.stats());
    assert_eq!(16_000, pool.stats().checkouts());
}

/// bb8#243: 1000 tasks on 50 connections. Premise: each holds its connection for a millisecond, ten
/// times. bb8 showed a p99 of 280 times its p50, deadpool 1.3 times.
#[tokio::test(start_paused = true)]
async fn bb8_243_waits_are_alike() {
    let pool = Exchange::default().pool(caps(50, 50));
    let mut tasks = JoinSet::new();
    for _ in 0..1000 {
        let pool = pool.clone();
        tasks.spawn(async move {
            let mut waits = Vec::new();
            for _ in 0..10 {
                let begin = Instant::now();
                let lease = get(&pool, "a").await.unwrap();
                waits.push(begin.elapsed());
                sleep(MILLISECOND).await;
                drop(lease);
            }
            waits
        });
    }
    let mut waits: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    waits.sort_unstable();
    let (p50, p99) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
    assert!(p99.as_secs_f64() <= 1.5 * p50.as_secs_f64(), "p50 {p50:?}, p99 {p99:?}");
    assert!(pool.stats().adds_up());
}
