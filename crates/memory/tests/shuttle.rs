//! Random schedules of whole scenarios: M1, M3, M4, M10 and the log's group commit.
//!
//! `SHUTTLE_ITERATIONS` sets how many schedules each test tries.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use memory::files::FileSystem;
use memory::files::simulated::SimulatedDisk;
use memory::{AppendLog, Budget, BufferPool, LogOptions};
use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Mutex;
use shuttle::thread;

fn check(scenario: impl Fn() + Send + Sync + 'static) {
    let schedules = std::env::var("SHUTTLE_ITERATIONS").ok().and_then(|it| it.parse().ok());
    let schedules = schedules.unwrap_or(2000);
    shuttle::check_random(scenario, schedules);
}

/// M1, M4: with cancels at random polls nobody waits in vain, and all bytes come back.
#[test]
fn cancels_leave_no_hole_and_no_wake_up_is_lost() {
    check(|| {
        let budget = Budget::new(10);
        let held = Arc::new(Mutex::new(0));
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (budget, held) = (budget.clone(), Arc::clone(&held));
                thread::spawn(move || {
                    for _ in 0..3 {
                        let bytes = thread_rng().gen_range(1..=10);
                        let cancels = thread_rng().gen_bool(0.4);
                        let mut future = pin!(budget.reserve(bytes));
                        let reservation = if cancels {
                            let mut cx = Context::from_waker(Waker::noop());
                            let _ = future.as_mut().poll(&mut cx);
                            continue;
                        } else {
                            block_on(future).unwrap()
                        };
                        *held.lock().unwrap() += bytes;
                        assert!(*held.lock().unwrap() <= 10, "M1");
                        thread::yield_now();
                        *held.lock().unwrap() -= bytes;
                        drop(reservation);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.join().unwrap();
        }
        assert_eq!(10, budget.available_bytes());
    });
}

/// M3: who came first is served first, whoever is awake first.
#[test]
fn the_line_is_first_come_first_served() {
    check(|| {
        let budget = Budget::new(10);
        let all = budget.try_reserve(10).unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut cx = Context::from_waker(Waker::noop());
        let tasks: Vec<_> = (0..3)
            .map(|rank| {
                let mut future = Box::pin(budget.reserve(10));
                assert!(future.as_mut().poll(&mut cx).is_pending());
                let order = Arc::clone(&order);
                thread::spawn(move || {
                    let reservation = block_on(future).unwrap();
                    order.lock().unwrap().push(rank);
                    drop(reservation);
                })
            })
            .collect();
        let overtaker = budget.clone();
        let overtaker = thread::spawn(move || drop(overtaker.try_reserve(1)));
        drop(all);
        for task in tasks {
            task.join().unwrap();
        }
        overtaker.join().unwrap();
        assert_eq!(vec![0, 1, 2], *order.lock().unwrap());
    });
}

/// M1: a limit that moves while others reserve and give back.
#[test]
fn a_moving_limit_loses_no_byte_and_no_waiter() {
    check(|| {
        let budget = Budget::new(4);
        let tasks: Vec<_> = (0..3)
            .map(|bytes| {
                let budget = budget.clone();
                thread::spawn(move || {
                    let mut reservation = budget.reserve_blocking(bytes + 1).unwrap();
                    reservation.shrink(1);
                    thread::yield_now();
                })
            })
            .collect();
        budget.set_limit(3);
        budget.set_limit(9);
        for task in tasks {
            task.join().unwrap();
        }
        assert_eq!((9, 0), (budget.available_bytes(), budget.stats().waiting));
    });
}

/// M10: threads that pass frozen buffers on; idle ones go to whoever waits.
#[test]
fn no_buffer_is_in_two_hands_and_none_keeps_others_waiting() {
    check(|| {
        let budget = Budget::new(2 * 4096);
        let pool = BufferPool::new(&budget, 4096, 2);
        let tasks: Vec<_> = (0..3_u8)
            .map(|rank| {
                let pool = pool.clone();
                thread::spawn(move || {
                    for _ in 0..2 {
                        let mut buffer = pool.get_blocking().unwrap();
                        buffer.extend(&[rank; 8]);
                        let bytes = buffer.freeze();
                        let copy = bytes.clone();
                        let reader = thread::spawn(move || assert_eq!([rank; 8], copy[..]));
                        assert_eq!([rank; 8], bytes[..]);
                        drop(bytes);
                        reader.join().unwrap();
                    }
                })
            })
            .collect();
        let other = budget.clone();
        let other = thread::spawn(move || drop(other.reserve_blocking(2 * 4096).unwrap()));
        for task in tasks {
            task.join().unwrap();
        }
        other.join().unwrap();
        pool.trim(u64::MAX);
        assert_eq!(2 * 4096, budget.available_bytes());
    });
}

/// Each commit returns only when its record survives a loss of power.
#[test]
fn a_shared_sync_covers_all_who_wait_for_it() {
    check(|| {
        let disk = SimulatedDisk::new(1);
        let files: Arc<dyn FileSystem> = Arc::new(disk.clone());
        let path = Path::new("/journal");
        let log = AppendLog::open(&files, path, LogOptions::default(), |_| ()).unwrap();
        let log = Arc::new(log);
        let tasks: Vec<_> = (0..3_u8)
            .map(|rank| {
                let (log, disk) = (Arc::clone(&log), disk.clone());
                thread::spawn(move || {
                    log.append_durably(&[rank]).unwrap();
                    let files: Arc<dyn FileSystem> = Arc::new(disk.lose_power(7));
                    let mut found = false;
                    let look = |record: &[u8]| found |= record == [rank];
                    AppendLog::open(&files, Path::new("/journal"), LogOptions::default(), look)
                        .unwrap();
                    assert!(found, "record {rank} was acknowledged");
                })
            })
            .collect();
        for task in tasks {
            task.join().unwrap();
        }
    });
}
