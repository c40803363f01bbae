//! How long callers waited, in virtual time and in pools without limits in time: there the clock is read
//! as seldom as the counts allow.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use pool::CloseReason;
use tokio::time::sleep;

use crate::support::{Exchange, caps, get};

const SECOND: Duration = Duration::from_secs(1);

/// What a future comes to if it is polled once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Premise: another connection comes back after the one that was handed on has died, so that the caller
/// finds it idle. Without limits in time the clock is read for such a caller alone.
#[tokio::test(start_paused = true)]
async fn the_wait_of_who_is_handed_a_dead_connection_is_counted() {
    let pool = Exchange::default().pool(caps(2, 2));
    let (held, other) = (get(&pool, "a").await.unwrap(), get(&pool, "a").await.unwrap());
    let caller = tokio::spawn({
        let pool = pool.clone();
        async move { get(&pool, "a").await.unwrap().waited() }
    });
    sleep(SECOND).await;
    let dead = held.dead.clone();
    drop(held);
    dead.store(true, Ordering::SeqCst);
    drop(other);
    assert_eq!(SECOND, caller.await.unwrap());
    let stats = pool.stats();
    assert_eq!((1, 1), (stats.reused, stats.closed.by(CloseReason::Lost)));
    assert!(SECOND <= stats.waits.quantile(1.0).unwrap());
}

/// Premise: without limits in time the clock is not read where a connection is handed on, and the caller
/// has not run yet when somebody looks at the statistics.
#[tokio::test(start_paused = true)]
async fn a_wait_is_counted_before_its_caller_runs_again() {
    let pool = Exchange::default().pool(caps(1, 1));
    let held = get(&pool, "a").await.unwrap();
    let caller = tokio::spawn({
        let pool = pool.clone();
        async move { get(&pool, "a").await.unwrap().waited() }
    });
    sleep(SECOND).await;
    drop(held);
    let total = pool.stats();
    assert!(total.adds_up());
    assert_eq!((1, 2), (total.leased, total.waits.total()));
    assert!(SECOND <= total.waits.quantile(1.0).unwrap());
    assert_eq!(vec![("a", total)], pool.stats_by_key());
    assert_eq!(SECOND, caller.await.unwrap());
}

/// Premise: nobody has looked, and nobody came, between the hand-over and the caller's turn.
#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_its_caller_runs_again_at_the_latest() {
    let pool = Exchange::default().pool(caps(1, 1));
    let held = get(&pool, "a").await.unwrap();
    let mut caller = Box::pin(get(&pool, "a"));
    assert!(poll_once(&mut caller).await.is_none());
    sleep(SECOND).await;
    drop(held);
    sleep(SECOND).await;
    let lease = poll_once(&mut caller).await.unwrap().unwrap();
    sleep(SECOND).await;
    assert_eq!(2 * SECOND, lease.waited());
}
