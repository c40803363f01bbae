//! How many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

use limiter::{AdaptiveLimit, AdaptiveOptions, AdaptivePermit, ConcurrencyLimit, Slots};
use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::model::{cases, millis, owner};

/// With its last waker a task may go, and with it a permit of the same limit.
#[test]
fn a_waker_may_take_a_permit_along() {
    let limit = ConcurrencyLimit::new(2);
    let (first, second) = (limit.try_acquire().unwrap(), limit.try_acquire().unwrap());
    limit.resize(0);
    let mut wait = Box::pin(limit.acquire());
    for held in [first, second] {
        let waker = owner(held);
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(0, limit.in_flight());

    limit.resize(1);
    drop(wait);
    let held = limit.try_acquire().unwrap();
    let mut wait = Box::pin(limit.acquire());
    let waker = owner(held);
    assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop((waker, wait));
    assert_eq!((0, 0), (limit.in_flight(), limit.waiting()));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_limit_are_in_flight_and_all_are_served_in_order() {
    let limit = ConcurrencyLimit::new(3);
    let most = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for rank in 0..20 {
        let (limit, most) = (limit.clone(), Arc::clone(&most));
        tasks.spawn(async move {
            let _permit = limit.acquire().await;
            most.fetch_max(limit.in_flight(), Ordering::Relaxed);
            sleep(millis(10)).await;
            rank
        });
    }
    let mut order = Vec::new();
    while let Some(rank) = tasks.join_next().await {
        order.push(rank.unwrap());
    }
    assert_eq!((0..20).collect::<Vec<_>>(), order);
    assert_eq!((3, 0, 0), (most.load(Ordering::Relaxed), limit.in_flight(), limit.waiting()));
}

#[tokio::test(start_paused = true)]
async fn shrinking_lets_those_in_flight_end() {
    let limit = ConcurrencyLimit::new(2);
    let (first, second) = (limit.acquire().await, limit.acquire().await);
    limit.resize(1);
    drop(first);
    assert!(limit.try_acquire().is_none());
    drop(second);
    let third = limit.try_acquire().unwrap();
    assert!(timeout(millis(1), limit.acquire()).await.is_err());
    assert_eq!(0, limit.waiting());
    limit.resize(2);
    drop((limit.try_acquire().unwrap(), third));
}

#[tokio::test(start_paused = true)]
async fn a_permit_for_a_wait_that_was_given_up_goes_to_the_next() {
    let limit = ConcurrencyLimit::new(1);
    let permit = limit.acquire().await;
    let mut first = Box::pin(limit.acquire());
    let second = tokio::spawn({
        let limit = limit.clone();
        async move { drop(limit.acquire().await) }
    });
    assert!(timeout(millis(1), first.as_mut()).await.is_err());
    drop(permit);
    drop(first);
    second.await.unwrap();
    assert_eq!(0, limit.in_flight());
}

#[tokio::test(start_paused = true)]
async fn the_adaptive_limit_learns_from_its_permits() {
    let options = AdaptiveOptions { limit_start: 1, ..AdaptiveOptions::default() };
    let limit = AdaptiveLimit::new(options).unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let limit = limit.clone();
        tasks.spawn(async move {
            loop {
                let permit = limit.acquire().await;
                // Each is capped; up to ten at once do not hinder each other.
                sleep(millis(10) * limit.in_flight().max(10) as u32 / 10).await;
                permit.succeed(1000);
            }
        });
    }
    sleep(millis(60_000)).await;
    let settled = limit.settled().expect("a minute is enough");
    assert!((9..=11).contains(&settled), "{settled}");
}

/// Sixteen that each bring 1000 per 10 ms, whatever the limit, until a minute has passed.
async fn a_minute_of(limit: &AdaptiveLimit, report: fn(&mut AdaptivePermit)) {
    let mut tasks = JoinSet::new();
    for _ in 0..16 {
        let limit = limit.clone();
        tasks.spawn(async move {
            loop {
                let mut permit = limit.acquire().await;
                sleep(millis(10)).await;
                report(&mut permit);
            }
        });
    }
    sleep(millis(60_000)).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_held_back_by_something_else_teaches_nothing() {
    let limit = AdaptiveLimit::new(AdaptiveOptions::default()).unwrap();
    a_minute_of(&limit, AdaptivePermit::held_back).await;
    assert_eq!((4, None), (limit.limit(), limit.settled()));
    a_minute_of(&limit, |permit| permit.progress(1000)).await;
    assert_ne!(4, limit.limit());
}

#[tokio::test(start_paused = true)]
async fn a_search_begins_anew_at_another_limit_within_the_bounds() {
    let limit = AdaptiveLimit::new(AdaptiveOptions::default()).unwrap();
    a_minute_of(&limit, |permit| permit.progress(1000)).await;
    limit.restart(99);
    assert_eq!((64, None), (limit.limit(), limit.settled()));
}

#[tokio::test(start_paused = true)]
async fn above_a_lowered_limit_nothing_is_measured() {
    let limit = AdaptiveLimit::new(AdaptiveOptions::default()).unwrap();
    let mut permits = Vec::new();
    for _ in 0..4 {
        permits.push(limit.acquire().await);
    }
    limit.restart(2);
    let bring = async |permits: &mut [AdaptivePermit]| {
        for _ in 0..1000 {
            sleep(millis(1)).await;
            permits.iter_mut().for_each(|permit| permit.progress(1000));
        }
    };
    bring(&mut permits).await;
    assert_eq!(2, limit.limit());
    permits.truncate(2);
    bring(&mut permits).await;
    assert_ne!(2, limit.limit());
}

#[tokio::test(start_paused = true)]
async fn a_stall_lowers_the_limit() {
    let limit = AdaptiveLimit::new(AdaptiveOptions::default()).unwrap();
    let permit = limit.acquire().await;
    for _ in 0..60 {
        sleep(millis(1000)).await;
        limit.tick();
    }
    assert!(limit.limit() < 4, "{}", limit.limit());
    permit.fail();
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let options = AdaptiveOptions { limit_min: 8, ..AdaptiveOptions::default() };
    let message = AdaptiveLimit::new(options).unwrap_err().to_string();
    assert!(message.contains("limits of 8 (least), 4 (start), 64 (greatest)"), "{message}");
}

proptest! {
    #![proptest_config(cases(256))]

    /// Never more than the limit are granted, in order, and everything comes back.
    #[test]
    fn slots_are_conserved(steps in prop::collection::vec((0..5_u8, 0..6_usize), 1..100)) {
        let mut slots = Slots::new(2);
        let (mut in_use, mut waiting, mut granted) = (0, Vec::new(), Vec::new());
        for (what, which) in steps {
            match what {
                0 => in_use += usize::from(slots.try_take()),
                1 => waiting.push(slots.enqueue()),
                2 if which < waiting.len() => prop_assert!(slots.cancel(waiting.remove(which))),
                3 if 0 < in_use => {
                    slots.put_back();
                    in_use -= 1;
                }
                _ => slots.resize(which),
            }
            let before = in_use;
            while let Some(ticket) = slots.next_grant() {
                prop_assert_eq!(waiting.remove(0), ticket, "first come, first served");
                granted.push(ticket);
                in_use += 1;
            }
            prop_assert!(before == in_use || in_use <= slots.limit());
            prop_assert_eq!((in_use, waiting.len()), (slots.in_use(), slots.waiting()));
            prop_assert!(waiting.is_empty() || slots.limit() <= in_use, "nobody waits in vain");
        }
    }
}
