//! All schedules of two or three threads around the budget's word: M1, M2, M4.

use std::pin::pin;
use std::task::{Context, Waker};

use loom::thread;
use memory::Budget;

/// Every schedule with at most three preemptions; more find nothing new in so few steps and take hours
/// ("CHESS", Musuvathi and Qadeer, 2007: most bugs need two).
fn check(scenario: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(scenario);
}

#[test]
fn who_waits_is_woken_by_who_gives_back() {
    check(|| {
        let budget = Budget::new(1);
        let other = budget.clone();
        let waiter = thread::spawn(move || drop(other.reserve_blocking(1).unwrap()));
        drop(budget.reserve_blocking(1).unwrap());
        waiter.join().unwrap();
        assert_eq!(1, budget.available_bytes());
    });
}

#[test]
fn two_takers_never_hold_more_than_there_is() {
    check(|| {
        let budget = Budget::new(3);
        let other = budget.clone();
        let taker = thread::spawn(move || other.try_reserve(2).ok());
        let ours = budget.try_reserve(2).ok();
        let theirs = taker.join().unwrap();
        assert!(ours.is_some() != theirs.is_some(), "exactly one fits");
        drop((ours, theirs));
        assert_eq!(3, budget.available_bytes());
    });
}

#[test]
fn a_cancel_that_meets_its_grant_loses_nothing() {
    check(|| {
        let budget = Budget::new(1);
        let held = budget.try_reserve(1).unwrap();
        let other = budget.clone();
        let canceler = thread::spawn(move || {
            let mut future = pin!(other.reserve(1));
            let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        });
        drop(held);
        canceler.join().unwrap();
        assert_eq!((1, 0), (budget.available_bytes(), budget.stats().waiting));
    });
}

#[test]
fn a_limit_that_moves_meets_takers() {
    check(|| {
        let budget = Budget::new(2);
        let other = budget.clone();
        let taker = thread::spawn(move || drop(other.try_reserve(2)));
        budget.set_limit(1);
        let after = budget.try_reserve(2);
        assert!(after.is_err(), "the limit is 1 by now");
        taker.join().unwrap();
        assert_eq!(1, budget.available_bytes());
    });
}
