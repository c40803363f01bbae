//! The async pool in virtual time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pool::{CloseReason, GetError, Options};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Exchange, Plan, caps, settle};

const SECOND: Duration = Duration::from_secs(1);

fn seconds(seconds: u64) -> Duration {
    SECOND * u32::try_from(seconds).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_returned_connection_is_lent_again() {
    let pool = Exchange::default().pool(caps(2, 2));
    let first = pool.get(&"a").await.unwrap();
    assert!(!first.reused());
    sleep(SECOND).await;
    assert_eq!(SECOND, first.age());
    drop(first);

    let second = pool.get(&"a").await.unwrap();
    assert!(second.reused());
    assert_eq!((1, SECOND), (second.number, second.age()));
    let stats = pool.stats();
    assert_eq!((1, 1, 1), (stats.opened, stats.fresh, stats.reused));
    assert!(stats.adds_up());
}

#[tokio::test(start_paused = true)]
async fn idle_connections_end_in_time_although_nobody_comes() {
    let options = Options { idle_timeout: Some(seconds(10)), ..caps(2, 2) };
    let pool = Exchange::default().pool(options);
    drop(pool.get(&"a").await.unwrap());
    sleep(seconds(9)).await;
    assert_eq!(1, pool.stats().idle);
    sleep(SECOND + Duration::from_millis(21)).await;
    let stats = pool.stats();
    assert_eq!((0, 1), (stats.idle, stats.closed.by(CloseReason::IdleTimeout)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_idle_for_too_long_is_not_lent_even_before_it_is_swept() {
    let options = Options { idle_timeout: Some(seconds(10)), ..caps(2, 2) };
    let pool = Exchange::default().pool(options);
    drop(pool.get(&"a").await.unwrap());
    tokio::time::advance(seconds(10)).await;
    assert!(!pool.get(&"a").await.unwrap().reused());
}

#[tokio::test(start_paused = true)]
async fn old_connections_are_closed_when_they_come_back_or_while_they_are_idle() {
    let options = Options { lifetime_max: Some(seconds(10)), ..caps(2, 2) };
    let pool = Exchange::default().pool(options);
    let held = pool.get(&"a").await.unwrap();
    drop(pool.get(&"a").await.unwrap());
    sleep(seconds(11)).await;
    assert_eq!(1, pool.stats().closed.by(CloseReason::Lifetime), "the idle one");
    drop(held);
    assert_eq!(2, pool.stats().closed.by(CloseReason::Lifetime), "the held one");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_that_it_ended_leaves_at_once() {
    let pool = Exchange::default().pool(caps(2, 2));
    let mut lease = pool.get(&"a").await.unwrap();
    let notice = lease.notice.take().unwrap();
    drop(lease);
    assert_eq!(1, pool.stats().idle);
    notice.send();
    let stats = pool.stats();
    assert_eq!((0, 1), (stats.idle, stats.closed.by(CloseReason::Lost)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_found_dead_is_replaced_before_anybody_sees_it() {
    let pool = Exchange::default().pool(caps(1, 1));
    let lease = pool.get(&"a").await.unwrap();
    let dead = lease.dead.clone();
    drop(lease);
    dead.store(true, Ordering::SeqCst);

    let lease = pool.get(&"a").await.unwrap();
    assert_eq!((2, false), (lease.number, lease.reused()));
    let stats = pool.stats();
    assert_eq!((2, 0, 1), (stats.fresh, stats.reused, stats.closed.by(CloseReason::Lost)));
    assert!(stats.adds_up());
    assert!(pool.try_get(&"a").is_none());
}

#[tokio::test(start_paused = true)]
async fn leases_end_in_many_ways() {
    let pool = Exchange::default().pool(caps(1, 1));
    pool.get(&"a").await.unwrap().discard();
    let mut poisoned = pool.get(&"a").await.unwrap();
    poisoned.poison();
    drop(poisoned);
    let broken = pool.get(&"a").await.unwrap();
    broken.dead.store(true, Ordering::SeqCst);
    drop(broken);
    let detached = pool.get(&"a").await.unwrap().detach();
    assert_eq!(4, detached.number);
    let renewed = pool.get(&"a").await.unwrap().renew().await.unwrap();
    assert_eq!((6, false), (renewed.number, renewed.reused()));
    drop(renewed);

    let stats = pool.stats();
    assert_eq!(3, stats.closed.by(CloseReason::Discarded), "discarded, poisoned, renewed");
    assert_eq!(1, stats.closed.by(CloseReason::Unusable));
    assert_eq!(1, stats.closed.by(CloseReason::Detached));
    assert_eq!((6, 6, 1, 5), (stats.opened, stats.fresh, stats.returned, stats.discarded));
    assert_eq!(1, stats.idle);
    assert!(stats.adds_up());
}

#[tokio::test(start_paused = true)]
async fn a_failed_connect_tells_the_first_in_line_and_serves_the_next() {
    let exchange = Exchange::default();
    exchange.set(Plan { fails: true, takes: SECOND, ..Plan::default() }).await;
    let pool = exchange.pool(caps(1, 1));
    let (first, second) = (pool.get(&"a"), pool.get(&"a"));
    let recovers = async {
        sleep(SECOND / 2).await;
        exchange.set(Plan::default()).await;
    };
    let (first, second, ()) = tokio::join!(first, second, recovers);
    assert!(matches!(first, Err(GetError::Connect(_))));
    assert!(second.is_ok());
    assert_eq!(1, pool.stats().connects_failed);
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_panics_frees_its_place() {
    let exchange = Exchange::default();
    exchange.set(Plan { panics: true, ..Plan::default() }).await;
    let pool = exchange.pool(caps(1, 1));
    assert!(matches!(pool.get_timeout(&"a", SECOND).await, Err(GetError::ConnectAborted)));
    exchange.set(Plan::default()).await;
    assert!(pool.get_timeout(&"a", SECOND).await.is_ok());
    assert_eq!(1, pool.stats().connects_failed);
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_hangs_is_cut_off() {
    let exchange = Exchange::default();
    exchange.set(Plan { takes: seconds(1000), ..Plan::default() }).await;
    let options = Options { connect_timeout: Some(seconds(5)), ..caps(1, 1) };
    let pool = exchange.pool(options);
    let begin = Instant::now();
    assert!(matches!(pool.get(&"a").await, Err(GetError::ConnectTimedOut { .. })));
    assert_eq!(seconds(5), begin.elapsed());
    assert_eq!(0, pool.stats().live());
}

#[tokio::test(start_paused = true)]
async fn a_connect_is_adopted_when_its_caller_gives_up() {
    let exchange = Exchange::default();
    exchange.set(Plan { takes: seconds(2), ..Plan::default() }).await;
    let pool = exchange.pool(caps(1, 1));
    let given_up = pool.get_timeout(&"a", SECOND).await;
    assert!(matches!(given_up, Err(GetError::TimedOut { after: SECOND })));
    assert_eq!((1, 0), (pool.stats().connecting, pool.stats().waiting));

    let lease = pool.get(&"a").await.unwrap();
    assert_eq!(1, lease.number);
    assert_eq!(1, exchange.begun.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_caller_may_give_up_after_any_number_of_polls() {
    for polls in 0..8 {
        let exchange = Exchange::default();
        let pool = exchange.pool(caps(1, 1));
        let mut held = Some(pool.get(&"a").await.unwrap());
        let mut get = Box::pin(pool.get(&"a"));
        for _ in 0..polls {
            let poll_once = std::future::poll_fn(|cx| {
                assert!(get.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            });
            poll_once.await;
            tokio::task::yield_now().await;
        }
        if polls == 7 {
            // Now the connection is on its way to a caller who never looks.
            held = None;
        }
        drop(get);
        drop(held);
        settle().await;
        assert!(pool.get_timeout(&"a", SECOND).await.is_ok(), "after {polls} polls");
        assert!(pool.stats().adds_up());
        assert_eq!((1, 0), (pool.stats().live(), pool.stats().waiting));
        assert_eq!(2, pool.stats().checkouts(), "what nobody received was not lent");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_dropped_in_a_panic_closes_its_connection() {
    let pool = Exchange::default().pool(caps(1, 1));
    let lease = pool.get(&"a").await.unwrap();
    let user = tokio::spawn(async move {
        let _lease = lease;
        panic!("in the middle of an exchange");
    });
    assert!(user.await.is_err());
    assert_eq!(1, pool.stats().closed.by(CloseReason::Discarded));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_panics_over_its_state_frees_its_place() {
    let pool = Exchange::default().pool(caps(1, 1));
    let mut lease = pool.get(&"a").await.unwrap();
    lease.panics = true;
    assert!(tokio::spawn(async move { drop(lease) }).await.is_err());
    assert_eq!((0, 1), (pool.stats().live(), pool.stats().closed.by(CloseReason::Unusable)));
    assert!(pool.get_timeout(&"a", SECOND).await.is_ok());
}

#[test]
fn leases_may_be_dropped_outside_of_any_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let pool = Exchange::default().pool(Options::default());
    let lease = runtime.block_on(pool.get(&"a")).unwrap();
    drop(lease);
    assert_eq!(1, pool.stats().idle);
    runtime.block_on(pool.get(&"a")).unwrap().discard();
    assert_eq!(0, pool.stats().live());
}

#[test]
fn a_pool_outlives_the_runtime_of_its_first_user() {
    let build = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let exchange = Exchange::default();
    let pool = exchange.pool(caps(1, 1));
    let first = build();
    first.block_on(async {
        exchange.set(Plan { takes: seconds(1000), ..Plan::default() }).await;
        drop(timeout(Duration::from_millis(1), pool.get(&"a")).await);
        exchange.set(Plan::default()).await;
    });
    assert_eq!(1, pool.stats().connecting);
    drop(first);
    assert_eq!((0, 1), (pool.stats().connecting, pool.stats().connects_failed));
    assert!(build().block_on(pool.get(&"a")).is_ok());
}

#[tokio::test(start_paused = true)]
async fn close_tells_all_who_wait_and_ends_all_connections() {
    let exchange = Exchange::default();
    let pool = exchange.pool(caps(2, 2));
    let held = pool.get(&"a").await.unwrap();
    drop(pool.get(&"a").await.unwrap());
    exchange.set(Plan { takes: SECOND, ..Plan::default() }).await;
    let second = pool.get(&"a").await.unwrap();
    let waits = tokio::spawn({
        let pool = pool.clone();
        async move { pool.get(&"a").await.map(drop) }
    });
    settle().await;
    pool.close();
    assert!(matches!(waits.await.unwrap(), Err(GetError::Closed)));
    assert!(matches!(pool.get(&"a").await, Err(GetError::Closed)));
    assert_eq!(2, pool.stats().live());
    assert!(matches!(second.renew().await, Err(GetError::Closed)));
    drop(held);
    pool.closed().await;
    assert_eq!(0, pool.stats().live());
    assert_eq!(1, pool.stats().closed.by(CloseReason::PoolClosed));
    assert_eq!(2, pool.stats().opened, "nothing was begun after the close");
}

#[tokio::test(start_paused = true)]
async fn a_place_is_taken_until_its_connection_is_closed() {
    let exchange = Exchange::default();
    exchange.set(Plan { close_takes: seconds(2), ..Plan::default() }).await;
    let pool = exchange.pool(caps(1, 1));
    let begin = Instant::now();
    pool.get(&"a").await.unwrap().discard();
    assert_eq!(1, pool.stats().closing);
    assert!(pool.get_timeout(&"a", seconds(100)).await.is_ok());
    assert_eq!(seconds(2), begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_close_that_hangs_is_cut_off() {
    let exchange = Exchange::default();
    exchange.set(Plan { close_takes: seconds(1000), ..Plan::default() }).await;
    let pool = exchange.pool(caps(1, 1));
    let begin = Instant::now();
    pool.get(&"a").await.unwrap().discard();
    assert!(pool.get_timeout(&"a", seconds(100)).await.is_ok());
    assert_eq!(seconds(5), begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_of_another_key_gives_way() {
    let pool = Exchange::default().pool(caps(2, 2));
    drop(pool.get(&"a").await.unwrap());
    sleep(SECOND).await;
    drop(pool.get(&"b").await.unwrap());
    let fresh = pool.get(&"c").await.unwrap();
    assert_eq!(1, pool.stats().closed.by(CloseReason::Evicted));
    assert!(pool.try_get(&"a").is_none(), "the one idle for longest gave way");
    assert!(pool.try_get(&"b").is_some());
    drop(fresh);
}

#[tokio::test(start_paused = true)]
async fn callers_beyond_the_limit_are_refused() {
    let pool = Exchange::default().pool(Options { waiters_max: 1, ..caps(1, 1) });
    let held = pool.get(&"a").await.unwrap();
    let (first, second, ()) = tokio::join!(pool.get(&"a"), pool.get(&"a"), async {
        settle().await;
        drop(held);
    });
    assert!(first.is_ok());
    assert!(matches!(second, Err(GetError::TooManyWaiting { waiters_max: 1 })));
}

#[tokio::test(start_paused = true)]
async fn a_drained_key_gets_new_connections() {
    let pool = Exchange::default().pool(caps(2, 2));
    let held = pool.get(&"a").await.unwrap();
    drop(pool.get(&"a").await.unwrap());
    pool.drain(&"a");
    drop(held);
    assert_eq!((0, 2), (pool.stats().idle, pool.stats().closed.by(CloseReason::Drained)));
    assert_eq!(3, pool.get(&"a").await.unwrap().number);
}

#[tokio::test(start_paused = true)]
async fn caps_change_under_load() {
    let pool = Exchange::default().pool(caps(4, 4));
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(pool.get(&"a").await.unwrap());
    }
    pool.resize(2, 2);
    held.truncate(2);
    assert_eq!((2, 2), (pool.stats().live(), pool.stats().closed.by(CloseReason::CapLowered)));
    pool.resize(3, 3);
    assert!(pool.get_timeout(&"a", SECOND).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_closes_the_pool() {
    let pool = Exchange::default().pool(Options::default());
    let lease = pool.get(&"a").await.unwrap();
    let idle = pool.get(&"a").await.unwrap();
    let idle_is_dead = idle.dead.clone();
    drop(idle);
    drop(pool);
    settle().await;
    assert_eq!(1, std::sync::Arc::strong_count(&idle_is_dead), "the idle one was dropped");
    assert_eq!(1, lease.number);
}

#[tokio::test(start_paused = true)]
async fn statistics_add_up_key_by_key() {
    let pool = Exchange::default().pool(caps(2, 1));
    drop(pool.get(&"a").await.unwrap());
    drop(pool.get(&"a").await.unwrap());
    drop(pool.get(&"b").await.unwrap());
    let mut by_key = pool.stats_by_key();
    by_key.sort_unstable_by_key(|(key, _)| *key);
    let checkouts: Vec<_> = by_key.iter().map(|(key, stats)| (*key, stats.checkouts())).collect();
    assert_eq!(vec![("a", 2), ("b", 1)], checkouts);
    assert_eq!(3, pool.stats().checkouts());
    assert!((pool.stats().reuse_ratio() - 1.0 / 3.0).abs() < 1e-9);
}
