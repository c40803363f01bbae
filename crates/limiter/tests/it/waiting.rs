//! Tasks that wait for a limiter, in tokio's paused time.

mod properties;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use limiter::{Burst, Limiter, Permit, Rate, Share};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::model::{millis, owner};

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

/// With its last waker a task may go, and with it a place in the same line.
#[tokio::test(start_paused = true)]
async fn a_waker_may_take_a_place_in_the_line_along() {
    let limiter = limiter(1, 1);
    limiter.try_acquire(1).unwrap();
    let wait = || {
        let limiter = limiter.clone();
        let mut wait = Box::pin(async move { drop(limiter.acquire(1).await) });
        assert!(poll_once(wait.as_mut(), &Arc::default()).is_pending());
        wait
    };
    // The timer keeps a waker too, and drops it elsewhere: of those who have none.
    let _leader = wait();
    let mut second = wait();
    let replaced = owner(wait());
    assert!(second.as_mut().poll(&mut Context::from_waker(&replaced)).is_pending());
    drop(replaced);
    assert!(poll_once(second.as_mut(), &Arc::default()).is_pending());
    assert_eq!(2, limiter.stats().waiting);

    let abandoned = owner(wait());
    assert!(second.as_mut().poll(&mut Context::from_waker(&abandoned)).is_pending());
    drop(abandoned);
    drop(second);
    assert_eq!(1, limiter.stats().waiting);
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
async fn a_door_is_open_only_while_all_above_it_are() {
    let parent = Limiter::new(Rate::UNLIMITED, Burst::ONE);
    let child = parent.child(Share::default()).unwrap();
    let grandchild = child.child(Share::default()).unwrap();
    let check = |expected: bool| assert_eq!(expected, grandchild.try_acquire(1 << 40).is_ok());
    check(true);
    child.pause();
    check(false);
    parent.set_rate(Rate::PAUSED);
    child.resume();
    check(false);
    parent.set_rate(Rate::UNLIMITED);
    check(true);
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

#[test]
fn a_wait_goes_on_on_another_runtime() {
    let runtime =
        || Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let check = |leave: fn(Runtime) -> Option<Runtime>| {
        let limiter = limiter(1, 1);
        limiter.try_acquire(1).unwrap();
        let mut waiting = pin!(limiter.acquire(1));
        let first = runtime();
        first.block_on(async { timeout(Duration::ZERO, waiting.as_mut()).await.unwrap_err() });
        let _first = leave(first);
        let second = runtime();
        second.block_on(async {
            let start = Instant::now();
            timeout(millis(60_000), waiting).await.unwrap();
            assert!(start.elapsed() <= millis(1001), "{:?}", start.elapsed());
        });
    };
    check(|ends| {
        drop(ends);
        None
    });
    check(Some);
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
