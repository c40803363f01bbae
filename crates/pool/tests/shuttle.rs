//! The async pool under a checker of schedules: P1, P5, P6 and P7.
//!
//! Each test runs under many random schedules; `POOL_SCHEDULES` sets their number. A failure prints the
//! schedule that shows it. No clock runs here: what would wait for ever is a deadlock, which the checker
//! reports.

#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use pool::{CloseNotice, Connect, GetError, Options, Pool, Poolable};
use shuttle::future::{block_on, spawn, yield_now};
use shuttle::rand::{Rng, thread_rng};

const SCHEDULES: usize = 2000;

fn schedules() -> usize {
    std::env::var("POOL_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(SCHEDULES)
}

/// Runs one scenario under many schedules.
fn check<F>(scenario: fn() -> F)
where
    F: Future<Output = ()> + 'static,
{
    shuttle::check_random(move || block_on(scenario()), schedules());
    shuttle::check_pct(move || block_on(scenario()), schedules(), 3);
}

/// Counts what is open.
#[derive(Default)]
struct World {
    open: AtomicUsize,
    open_max: AtomicUsize,
}

struct Wire {
    world: Arc<World>,
    notice: Option<CloseNotice>,
}

impl Poolable for Wire {}

impl Drop for Wire {
    fn drop(&mut self) {
        self.world.open.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Exchange {
    world: Arc<World>,
    /// One connect in so many fails or panics; 0: none.
    fails_in: u32,
}

impl Connect<u8> for Exchange {
    type Connection = Wire;
    type Error = io::Error;

    async fn connect(&self, _: &u8, notice: CloseNotice) -> io::Result<Wire> {
        yield_now().await;
        if self.fails_in != 0 && thread_rng().gen_range(0..self.fails_in) == 0 {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let open = self.world.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.world.open_max.fetch_max(open, Ordering::SeqCst);
        Ok(Wire { world: self.world.clone(), notice: Some(notice) })
    }
}

fn pool(total: usize, per_key: usize, fails_in: u32) -> (Pool<u8, Wire>, Arc<World>) {
    let world = Arc::<World>::default();
    let exchange = Exchange { world: world.clone(), fails_in };
    let options =
        Options { connections_max: total, connections_per_key_max: per_key, ..Options::default() };
    (Pool::new(exchange, options), world)
}

/// Polls a get some times and gives it up.
async fn give_up(pool: &Pool<u8, Wire>, key: u8, polls: usize) {
    let mut get = Box::pin(pool.get(&key));
    for _ in 0..polls {
        let done = std::future::poll_fn(|cx| Poll::Ready(get.as_mut().poll(cx).is_ready())).await;
        if done {
            return;
        }
        yield_now().await;
    }
}

/// P1 and P6: whatever the schedule, everybody is served and the caps hold.
#[test]
fn everybody_is_served_within_the_caps() {
    check(|| async {
        let (pool, world) = pool(2, 1, 0);
        let tasks: Vec<_> = (0..5_u8)
            .map(|task| {
                let pool = pool.clone();
                spawn(async move {
                    for turn in 0..2 {
                        let lease = pool.get(&((task + turn) % 3)).await.unwrap();
                        yield_now().await;
                        if task == 0 {
                            lease.discard();
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(world.open_max.load(Ordering::SeqCst) <= 2);
        assert!(pool.stats().adds_up());
        assert_eq!(10, pool.stats().checkouts());
    });
}

/// P5: callers of one key are served in the order in which they came.
#[test]
fn callers_are_served_in_order() {
    check(|| async {
        let (pool, _) = pool(1, 1, 0);
        let held = pool.get(&0).await.unwrap();
        let served = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for rank in 0..4 {
            let (caller, served) = (pool.clone(), served.clone());
            tasks.push(spawn(async move {
                let lease = caller.get(&0).await.unwrap();
                assert_eq!(rank, served.fetch_add(1, Ordering::SeqCst));
                drop(lease);
            }));
            while pool.stats().waiting <= rank {
                yield_now().await;
            }
        }
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// P6: failing connects tell somebody each, and nobody is forgotten.
#[test]
fn failing_connects_leave_nobody_behind() {
    check(|| async {
        let (pool, world) = pool(2, 2, 2);
        let tasks: Vec<_> = (0..5)
            .map(|_| {
                let pool = pool.clone();
                spawn(async move {
                    match pool.get(&0).await {
                        Ok(lease) => drop(lease),
                        Err(error) => assert!(matches!(error, GetError::Connect(_))),
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(world.open_max.load(Ordering::SeqCst) <= 2);
        assert!(pool.stats().adds_up());
        assert_eq!(0, pool.stats().waiting);
    });
}

/// P7: giving up after any number of polls leaks nothing, and the others are served.
#[test]
fn giving_up_leaks_nothing() {
    check(|| async {
        let (pool, world) = pool(1, 1, 0);
        let mut tasks = Vec::new();
        for task in 0..6_u8 {
            let pool = pool.clone();
            tasks.push(spawn(async move {
                if task % 2 == 0 {
                    let polls = thread_rng().gen_range(0..4);
                    give_up(&pool, 0, polls).await;
                } else {
                    drop(pool.get(&0).await.unwrap());
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        drop(pool.get(&0).await.unwrap());
        let stats = pool.stats();
        assert!(stats.adds_up(), "{stats:?}");
        assert_eq!((1, 0, 0), (stats.live(), stats.leased, stats.waiting));
        assert_eq!(1, world.open_max.load(Ordering::SeqCst));
    });
}

/// P5 with the total cap: an idle connection of one key makes room for another, whoever returns first.
#[test]
fn no_deadlock_by_idleness() {
    check(|| async {
        let (pool, world) = pool(2, 2, 0);
        let tasks: Vec<_> = (0..4_u8)
            .map(|key| {
                let pool = pool.clone();
                spawn(async move { drop(pool.get(&key).await.unwrap()) })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(world.open_max.load(Ordering::SeqCst) <= 2);
        assert!(pool.stats().adds_up());
    });
}

/// P3 and P11: notices, closing and use at the same time.
#[test]
fn notices_and_close_cross_with_everything() {
    check(|| async {
        let (pool, world) = pool(2, 2, 0);
        let tasks: Vec<_> = (0..4)
            .map(|task| {
                let pool = pool.clone();
                spawn(async move {
                    if task == 3 {
                        yield_now().await;
                        return pool.close();
                    }
                    match pool.get(&0).await {
                        Ok(mut lease) => {
                            let notice = lease.notice.take();
                            drop(lease);
                            if let Some(notice) = notice {
                                notice.send();
                            }
                        }
                        Err(error) => assert!(matches!(error, GetError::Closed)),
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        pool.closed().await;
        assert_eq!(0, world.open.load(Ordering::SeqCst));
        assert!(pool.stats().adds_up());
    });
}
