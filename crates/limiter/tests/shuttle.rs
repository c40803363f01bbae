//! Random schedules of whole scenarios: L1, L3, L5, L6 with tasks that give up anywhere.
//!
//! `SHUTTLE_ITERATIONS` sets how many schedules each test tries.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use limiter::{Burst, Clock, ConcurrencyLimit, Limiter, Rate, Share};
use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread;

const TASKS: usize = 20;
const BURST: u64 = 10;

fn check(scenario: impl Fn() + Send + Sync + 'static) {
    let schedules = std::env::var("SHUTTLE_ITERATIONS").ok().and_then(|it| it.parse().ok());
    shuttle::check_random(scenario, schedules.unwrap_or(1000));
}

fn limiter(rate: Rate, clock: &Clock) -> Limiter {
    Limiter::by_hand(rate, Burst::new(BURST).unwrap(), clock.clone())
}

/// Polls a future so many times, each time that it is woken or anyway, and then gives it up.
struct Impatient<F> {
    inner: F,
    polls_left: usize,
}

impl<F: Future + Unpin> Future for Impatient<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = Pin::new(&mut self.inner).poll(cx) {
            return Poll::Ready(Some(output));
        }
        let Some(left) = self.polls_left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        self.polls_left = left;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Moves the clock until all have ended; returns by how many milliseconds.
fn drive(clock: &Clock, ended: &AtomicUsize, n_tasks: usize) -> u64 {
    let mut millis = 0;
    while ended.load(Ordering::SeqCst) < n_tasks {
        clock.advance(Duration::from_millis(1));
        millis += 1;
        assert!(millis < 100_000, "somebody waits in vain");
        thread::yield_now();
    }
    millis
}

/// L1, L5: tasks that give up at any poll and give back any part; whoever stays is served, and what was
/// used is within the rate.
#[test]
fn cancels_lose_no_wake_up_and_mint_nothing() {
    check(|| {
        let clock = Clock::new();
        let limiter = limiter(Rate::per_second(1000), &clock);
        let child = limiter.child(Share { weight: 3, ..Share::default() }).unwrap();
        let (ended, used) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..TASKS)
            .map(|rank| {
                let limiter = if rank % 2 == 0 { limiter.clone() } else { child.clone() };
                let (ended, used) = (Arc::clone(&ended), Arc::clone(&used));
                thread::spawn(move || {
                    let tokens = thread_rng().gen_range(0..=BURST);
                    let gives_up = thread_rng().gen_bool(0.5);
                    let polls_left =
                        if gives_up { thread_rng().gen_range(0..4) } else { usize::MAX };
                    let inner = Box::pin(limiter.acquire(tokens));
                    if let Some(permit) = block_on(Impatient { inner, polls_left }) {
                        let kept = thread_rng().gen_range(0..=tokens);
                        permit.used(kept);
                        used.fetch_add(kept as usize, Ordering::SeqCst);
                    } else {
                        assert!(gives_up);
                    }
                    ended.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        let millis = drive(&clock, &ended, TASKS);
        tasks.into_iter().for_each(|task| task.join().unwrap());
        let used = used.load(Ordering::SeqCst) as u64;
        assert!(used <= BURST + millis, "L1: {used} in {millis} ms");
        let stats = limiter.stats();
        assert_eq!((0, 0), (stats.waiting, stats.waiting_tokens));
        assert_eq!(used, stats.granted_tokens - stats.given_back_tokens);
    });
}

/// Nobody but those woken ever polls: patient tasks alone, their timer handed on by the impatient.
#[test]
fn the_timer_is_handed_on() {
    check(|| {
        let clock = Clock::new();
        let limiter = limiter(Rate::per_second(1000), &clock);
        let ended = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..6)
            .map(|rank| {
                let (limiter, ended) = (limiter.clone(), Arc::clone(&ended));
                thread::spawn(move || {
                    if rank % 3 == 0 {
                        let mut wait = pin!(limiter.acquire(BURST));
                        let _ = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                        thread::yield_now();
                    } else {
                        block_on(limiter.acquire(BURST));
                    }
                    ended.fetch_add(1, Ordering::SeqCst);
                })
            })
            .collect();
        drive(&clock, &ended, 6);
        tasks.into_iter().for_each(|task| task.join().unwrap());
    });
}

/// L3: who came first is served first, whoever is awake first.
#[test]
fn the_line_is_first_come_first_served() {
    check(|| {
        let clock = Clock::new();
        let limiter = limiter(Rate::per_second(1000), &clock);
        let all = limiter.try_acquire(BURST).unwrap();
        let ended = Arc::new(AtomicUsize::new(0));
        let starts = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..4_u64)
            .map(|rank| {
                let (limiter, ended, starts) =
                    (limiter.clone(), Arc::clone(&ended), Arc::clone(&starts));
                let mut wait = Box::pin(async move {
                    // A full burst each, so that no two are granted at one moment.
                    drop(limiter.acquire(BURST).await);
                    starts.lock().unwrap().push(rank);
                    ended.fetch_add(1, Ordering::SeqCst);
                });
                let polled = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert!(polled.is_pending());
                thread::spawn(move || block_on(wait))
            })
            .collect();
        let granted_before = |limit: &Limiter| limit.stats().granted;
        while ended.load(Ordering::SeqCst) < 4 {
            let before = granted_before(&limiter);
            clock.advance(Duration::from_millis(BURST));
            // The next burst only when the last has been logged.
            while granted_before(&limiter) == before
                || (ended.load(Ordering::SeqCst) as u64) < granted_before(&limiter) - 1
            {
                thread::yield_now();
            }
        }
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert_eq!(vec![0, 1, 2, 3], *starts.lock().unwrap());
        drop(all);
    });
}

/// L6: a change of rate reaches those who wait, whenever it comes; and to unlimited without the clock.
#[test]
fn a_change_of_rate_reaches_all_who_wait() {
    check(|| {
        let clock = Clock::new();
        let limiter = limiter(Rate::PAUSED, &clock);
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let limiter = limiter.clone();
                thread::spawn(move || drop(block_on(limiter.acquire(BURST))))
            })
            .collect();
        thread::yield_now();
        limiter.set_rate(Rate::UNLIMITED);
        tasks.into_iter().for_each(|task| task.join().unwrap());
    });
}

/// A permit is never lost between a wait that is given up and the next in line.
#[test]
fn permits_are_conserved() {
    check(|| {
        let limit = ConcurrencyLimit::new(2);
        let in_flight = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (limit, in_flight) = (limit.clone(), Arc::clone(&in_flight));
                thread::spawn(move || {
                    let gives_up = thread_rng().gen_bool(0.5);
                    let polls_left =
                        if gives_up { thread_rng().gen_range(0..3) } else { usize::MAX };
                    let inner = Box::pin(limit.acquire());
                    if let Some(permit) = block_on(Impatient { inner, polls_left }) {
                        assert!(in_flight.fetch_add(1, Ordering::SeqCst) < 2);
                        thread::yield_now();
                        in_flight.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                })
            })
            .collect();
        tasks.into_iter().for_each(|task| task.join().unwrap());
        assert_eq!((0, 0), (limit.in_flight(), limit.waiting()));
    });
}
