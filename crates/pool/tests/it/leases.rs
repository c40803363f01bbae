//! The async pool in virtual time.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pool::{CloseReason, GetError, Options, Pool, Poolable, Reuse};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Exchange, Plan, caps, get, settle};

const SECOND: Duration = Duration::from_secs(1);

fn seconds(seconds: u64) -> Duration {
    SECOND * u32::try_from(seconds).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_returned_connection_is_lent_again() {
    let pool = Exchange::default().pool(caps(2, 2));
    let first = get(&pool, "a").await.unwrap();
    assert!(!first.reused());
    sleep(SECOND).await;
    assert_eq!(SECOND, first.age());
    drop(first);

    let second = get(&pool, "a").await.unwrap();
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
    let later = get(&pool, "a").await.unwrap();
    drop(get(&pool, "a").await.unwrap());
    sleep(Duration::from_millis(50)).await;
    drop(later);
    sleep(seconds(9)).await;
    assert_eq!(2, pool.stats().idle);
    sleep(Duration::from_millis(971)).await;
    assert_eq!(1, pool.stats().idle, "10 s and 21 ms after the first came back");
    sleep(Duration::from_millis(50)).await;
    let stats = pool.stats();
    assert_eq!((0, 2), (stats.idle, stats.closed.by(CloseReason::IdleTimeout)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_idle_for_too_long_is_not_lent_even_before_it_is_swept() {
    let options = Options { idle_timeout: Some(seconds(10)), ..caps(2, 2) };
    let pool = Exchange::default().pool(options);
    drop(get(&pool, "a").await.unwrap());
    tokio::time::advance(seconds(10)).await;
    assert!(!get(&pool, "a").await.unwrap().reused());
}

#[tokio::test(start_paused = true)]
async fn old_connections_are_closed_when_they_come_back_or_while_they_are_idle() {
    let options = Options { lifetime_max: Some(seconds(10)), ..caps(2, 2) };
    let pool = Exchange::default().pool(options);
    let held = get(&pool, "a").await.unwrap();
    drop(get(&pool, "a").await.unwrap());
    sleep(seconds(11)).await;
    assert_eq!(1, pool.stats().closed.by(CloseReason::Lifetime), "the idle one");
    drop(held);
    assert_eq!(2, pool.stats().closed.by(CloseReason::Lifetime), "the held one");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_that_it_ended_leaves_at_once() {
    let pool = Exchange::default().pool(caps(2, 2));
    let mut lease = get(&pool, "a").await.unwrap();
    let notice = lease.notice.take().unwrap();
    drop(lease);
    assert_eq!(1, pool.stats().idle);
    notice.send();
    let stats = pool.stats();
    assert_eq!((0, 1), (stats.idle, stats.closed.by(CloseReason::Lost)));
}

/// Premise: the place of the one that ended is taken by another one when the notice comes.
#[tokio::test(start_paused = true)]
async fn a_late_notice_ends_no_other_connection() {
    let pool = Exchange::default().pool(caps(1, 1));
    let mut first = get(&pool, "a").await.unwrap();
    let notice = first.notice.take().unwrap();
    first.discard();
    drop(get(&pool, "a").await.unwrap());
    notice.send();
    assert_eq!((1, 0), (pool.stats().idle, pool.stats().closed.by(CloseReason::Lost)));
}

#[tokio::test(start_paused = true)]
async fn the_newest_or_the_oldest_is_lent_first() {
    for (reuse, number) in [(Reuse::Newest, 2), (Reuse::Oldest, 1)] {
        let pool = Exchange::default().pool(Options { reuse, ..caps(2, 2) });
        let (first, second) = (get(&pool, "a").await.unwrap(), get(&pool, "a").await.unwrap());
        drop(first);
        drop(second);
        assert_eq!(number, get(&pool, "a").await.unwrap().number, "{reuse:?}");
    }
}

/// Premise: the connection dies after it was handed to the first in line and before that one runs.
#[tokio::test(start_paused = true)]
async fn who_is_handed_a_dead_connection_keeps_the_place_in_line() {
    let pool = Exchange::default().pool(caps(1, 1));
    let held = get(&pool, "a").await.unwrap();
    let served = Arc::<Mutex<Vec<_>>>::default();
    let mut callers = JoinSet::new();
    for caller in ["first", "second"] {
        let (pool, served) = (pool.clone(), served.clone());
        callers.spawn(async move {
            let lease = pool.get_timeout(&"a", SECOND).await.unwrap();
            served.lock().unwrap().push(caller);
            drop(lease);
        });
        settle().await;
    }
    let dead = held.dead.clone();
    drop(held);
    dead.store(true, Ordering::SeqCst);
    callers.join_all().await;
    assert_eq!(vec!["first", "second"], *served.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_connection_found_dead_is_replaced_before_anybody_sees_it() {
    let pool = Exchange::default().pool(caps(1, 1));
    let lease = get(&pool, "a").await.unwrap();
    let dead = lease.dead.clone();
    drop(lease);
    dead.store(true, Ordering::SeqCst);

    let lease = get(&pool, "a").await.unwrap();
    assert_eq!((2, false), (lease.number, lease.reused()));
    let stats = pool.stats();
    assert_eq!((2, 0, 1), (stats.fresh, stats.reused, stats.closed.by(CloseReason::Lost)));
    assert!(stats.adds_up());
    assert!(pool.try_get(&"a").is_none());
}

#[tokio::test(start_paused = true)]
async fn leases_end_in_many_ways() {
    let pool = Exchange::default().pool(caps(1, 1));
    get(&pool, "a").await.unwrap().discard();
    let mut poisoned = get(&pool, "a").await.unwrap();
    poisoned.poison();
    drop(poisoned);
    let broken = get(&pool, "a").await.unwrap();
    broken.dead.store(true, Ordering::SeqCst);
    drop(broken);
    let detached = get(&pool, "a").await.unwrap().detach();
    assert_eq!(4, detached.number);
    let renewed = get(&pool, "a").await.unwrap().renew().await.unwrap();
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
    let (first, second) = (get(&pool, "a"), get(&pool, "a"));
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
    assert!(matches!(get(&pool, "a").await, Err(GetError::ConnectTimedOut { .. })));
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

    let lease = get(&pool, "a").await.unwrap();
    assert_eq!(1, lease.number);
    assert_eq!(1, exchange.begun.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_caller_may_give_up_after_any_number_of_polls() {
    for polls in 0..8 {
        let exchange = Exchange::default();
        let pool = exchange.pool(caps(1, 1));
        let mut held = Some(get(&pool, "a").await.unwrap());
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
    let lease = get(&pool, "a").await.unwrap();
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
    let mut lease = get(&pool, "a").await.unwrap();
    lease.panics = true;
    assert!(tokio::spawn(async move { drop(lease) }).await.is_err());
    assert_eq!((0, 1), (pool.stats().live(), pool.stats().closed.by(CloseReason::Unusable)));
    assert!(pool.get_timeout(&"a", SECOND).await.is_ok());
}

/// Closes three idle connections at once, each of which panics over it.
async fn check_closes_that_panic(close_takes: Duration) {
    let exchange = Exchange::default();
    exchange.set(Plan { close_panics: true, close_takes, ..Plan::default() }).await;
    let pool = exchange.pool(caps(3, 3));
    let (first, second) = (get(&pool, "a").await.unwrap(), get(&pool, "a").await.unwrap());
    drop((first, second, get(&pool, "a").await.unwrap()));
    pool.drain(&"a");
    sleep(seconds(2)).await;
    assert_eq!((0, 3), (pool.stats().live(), pool.stats().closed.by(CloseReason::Drained)));
    assert!(pool.stats().adds_up());
}

#[tokio::test(start_paused = true)]
async fn a_close_that_panics_frees_its_place_and_those_of_the_others() {
    check_closes_that_panic(Duration::ZERO).await;
    check_closes_that_panic(SECOND).await;
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
    assert!(build().block_on(pool.get_timeout(&"a", SECOND)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn close_tells_all_who_wait_and_ends_all_connections() {
    let exchange = Exchange::default();
    let pool = exchange.pool(caps(2, 2));
    let held = get(&pool, "a").await.unwrap();
    drop(get(&pool, "a").await.unwrap());
    exchange.set(Plan { takes: SECOND, ..Plan::default() }).await;
    let second = get(&pool, "a").await.unwrap();
    let waits = tokio::spawn({
        let pool = pool.clone();
        async move { get(&pool, "a").await.map(drop) }
    });
    settle().await;
    pool.close();
    assert!(matches!(waits.await.unwrap(), Err(GetError::Closed)));
    assert!(matches!(get(&pool, "a").await, Err(GetError::Closed)));
    assert_eq!(2, pool.stats().live());
    assert!(matches!(second.renew().await, Err(GetError::Closed)));
    let over = tokio::spawn({
        let pool = pool.clone();
        async move { timeout(SECOND, pool.closed()).await }
    });
    settle().await;
    drop(held);
    assert!(over.await.unwrap().is_ok(), "not told of the end");
    pool.closed().await;
    assert_eq!(0, pool.stats().live());
    assert_eq!(1, pool.stats().closed.by(CloseReason::PoolClosed));
    assert_eq!(2, pool.stats().opened, "nothing was begun after the close");
}

/// Premise: to detach the last connection leaves nothing to be done, none to close and nobody in line to
/// tell, but that the pool is empty now.
#[tokio::test(start_paused = true)]
async fn a_closed_pool_ends_when_its_last_connection_is_detached() {
    let pool = Exchange::default().pool(caps(1, 1));
    let held = get(&pool, "a").await.unwrap();
    pool.close();
    let over = tokio::spawn({
        let pool = pool.clone();
        async move { timeout(SECOND, pool.closed()).await }
    });
    settle().await;
    drop(held.detach());
    assert!(over.await.unwrap().is_ok(), "not told of the end");
}

#[tokio::test(start_paused = true)]
async fn a_place_is_taken_until_its_connection_is_closed() {
    let exchange = Exchange::default();
    exchange.set(Plan { close_takes: seconds(2), ..Plan::default() }).await;
    let pool = exchange.pool(caps(1, 1));
    let begin = Instant::now();
    get(&pool, "a").await.unwrap().discard();
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
    get(&pool, "a").await.unwrap().discard();
    assert!(pool.get_timeout(&"a", seconds(100)).await.is_ok());
    assert_eq!(seconds(5), begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_of_another_key_gives_way() {
    let exchange = Exchange::default();
    // Connects take time, lest a pool that opens and closes for ever stops the clock.
    exchange.set(Plan { takes: SECOND / 100, ..Plan::default() }).await;
    let pool = exchange.pool(caps(2, 2));
    drop(get(&pool, "a").await.unwrap());
    sleep(SECOND).await;
    drop(get(&pool, "b").await.unwrap());
    let fresh = pool.get_timeout(&"c", SECOND).await.unwrap();
    assert_eq!(1, pool.stats().closed.by(CloseReason::Evicted));
    assert!(pool.try_get(&"a").is_none(), "the one idle for longest gave way");
    assert!(pool.try_get(&"b").is_some());
    drop(fresh);
}

#[tokio::test(start_paused = true)]
async fn callers_beyond_the_limit_are_refused() {
    let pool = Exchange::default().pool(Options { waiters_max: 1, ..caps(1, 1) });
    let held = get(&pool, "a").await.unwrap();
    let (first, second, ()) = tokio::join!(get(&pool, "a"), get(&pool, "a"), async {
        settle().await;
        drop(held);
    });
    assert!(first.is_ok());
    assert!(matches!(second, Err(GetError::TooManyWaiting { waiters_max: 1 })));
}

#[tokio::test(start_paused = true)]
async fn a_drained_key_gets_new_connections() {
    let pool = Exchange::default().pool(caps(2, 2));
    let held = get(&pool, "a").await.unwrap();
    drop(get(&pool, "a").await.unwrap());
    pool.drain(&"a");
    drop(held);
    assert_eq!((0, 2), (pool.stats().idle, pool.stats().closed.by(CloseReason::Drained)));
    assert_eq!(3, get(&pool, "a").await.unwrap().number);
}

#[tokio::test(start_paused = true)]
async fn caps_change_under_load() {
    let pool = Exchange::default().pool(caps(4, 4));
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(get(&pool, "a").await.unwrap());
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
    let lease = get(&pool, "a").await.unwrap();
    let idle = get(&pool, "a").await.unwrap();
    let idle_is_dead = idle.dead.clone();
    drop(idle);
    drop(pool);
    settle().await;
    assert_eq!(1, Arc::strong_count(&idle_is_dead), "the idle one was dropped");
    assert_eq!(1, lease.number);
}

#[tokio::test(start_paused = true)]
async fn statistics_add_up_key_by_key() {
    let pool = Exchange::default().pool(caps(2, 1));
    drop(get(&pool, "a").await.unwrap());
    drop(get(&pool, "a").await.unwrap());
    drop(get(&pool, "b").await.unwrap());
    let mut by_key = pool.stats_by_key();
    by_key.sort_unstable_by_key(|(key, _)| *key);
    let checkouts: Vec<_> = by_key.iter().map(|(key, stats)| (*key, stats.checkouts())).collect();
    assert_eq!(vec![("a", 2), ("b", 1)], checkouts);
    assert_eq!(3, pool.stats().checkouts());
    assert!((pool.stats().reuse_ratio() - 1.0 / 3.0).abs() < 1e-9);
}

struct Token;
impl Poolable for Token {}

#[tokio::test(start_paused = true)]
async fn the_totals_keep_the_counts_of_keys_that_were_forgotten() {
    const KEYS: u32 = 2000;
    let connect = |_: u32| async { Ok::<_, std::io::Error>(Token) };
    let pool: Pool<u32, Token> = Pool::new(connect, Options::default());
    for key in 0..KEYS {
        pool.get(&key).await.unwrap().discard();
    }
    assert!(pool.stats_by_key().len() <= 1024);
    let stats = pool.stats();
    assert_eq!((u64::from(KEYS), u64::from(KEYS)), (stats.opened, stats.discarded));
    assert!(stats.adds_up());
}
