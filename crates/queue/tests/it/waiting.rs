//! Waiting for the end of jobs, and ends that come from waiting.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use std::time::Duration;

use queue::{Job, Outcome, Queue, Rules, WaitError};
use tokio::runtime::Builder;
use tokio::time::{Instant, timeout};

use crate::worlds::{Gate, load, no_op, poll_once, settle, waker_that_holds};

const SECOND: Duration = Duration::from_secs(1);

/// Q8: before, during and after.
#[tokio::test(start_paused = true)]
async fn all_who_wait_learn_of_the_end() {
    let (queue, gate) = (Queue::new(Rules { cap: 1, ..Rules::default() }), Gate::new());
    queue.submit(gate.job("a")).await.unwrap();
    let ticket = queue.submit(gate.job("a")).await.unwrap();
    let id = ticket.id();
    let waiter = |queue: &Queue<&'static str>| {
        let queue = queue.clone();
        tokio::spawn(async move { queue.wait(id, 100 * SECOND).await })
    };
    let before: Vec<_> = (0..50).map(|_| waiter(&queue)).collect();
    settle().await;
    gate.open(1);
    settle().await;
    let during: Vec<_> = (0..50).map(|_| waiter(&queue)).collect();
    settle().await;
    gate.open(1);
    for waiter in before.into_iter().chain(during) {
        assert_eq!(Ok(Outcome::Done), waiter.await.unwrap());
    }
    assert_eq!(Ok(Outcome::Done), queue.wait(id, Duration::ZERO).await);
    assert_eq!(Outcome::Done, ticket.await);
}

/// Q8.
#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_up_leaves_the_job_alone() {
    let (queue, gate) = (Queue::new(Rules::default()), Gate::new());
    let ticket = queue.submit(gate.job("a")).await.unwrap();
    let start = Instant::now();
    assert_eq!(Err(WaitError::TimedOut), queue.wait(ticket.id(), SECOND).await);
    assert_eq!(SECOND, start.elapsed());
    drop(timeout(SECOND, queue.wait(ticket.id(), 9 * SECOND)).await);
    assert_eq!((0, 1), load(&queue));
    gate.open(1);
    assert_eq!(Outcome::Done, ticket.await);
}

/// Q8.
#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_up_leaves_other_waiters_alone() {
    let (queue, gate) = (Queue::new(Rules::default()), Gate::new());
    let ticket = queue.submit(gate.job("a")).await.unwrap();
    let id = ticket.id();
    let patient = tokio::spawn(ticket);
    settle().await;
    assert_eq!(Err(WaitError::TimedOut), queue.wait(id, SECOND).await);
    gate.open(1);
    assert_eq!(Outcome::Done, timeout(SECOND, patient).await.expect("it is woken").unwrap());
}

/// Q8. Premise: a future is polled by one task and then by another, as happens to what is kept between
/// two rounds of `select!`; the first task has no more interest.
#[tokio::test(start_paused = true)]
async fn a_wait_that_moves_to_another_task_wakes_that_one() {
    let (queue, gate) = (Queue::new(Rules::default()), Gate::new());
    let mut ticket = queue.submit(gate.job("a")).await.unwrap();
    let mut nobody = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut ticket).poll(&mut nobody).is_pending());
    let moved = tokio::spawn(ticket);
    settle().await;
    gate.open(1);
    assert_eq!(Outcome::Done, timeout(SECOND, moved).await.expect("it is woken").unwrap());
}

/// Premise: the first task is gone but for its waker, and waited for the same job in another way, too.
#[tokio::test]
async fn the_waker_of_a_wait_that_moved_is_dropped_outside_of_the_lock() {
    let (queue, gate) = (Queue::new(Rules::default()), Gate::new());
    let named = || Job { unique: Some("model".into()), ..gate.job("a") };
    let mut moves = queue.submit(named()).await.unwrap();
    let mut held = queue.submit(named()).await.unwrap();
    let mut nobody = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut held).poll(&mut nobody).is_pending());
    let first = waker_that_holds(held);
    assert!(Pin::new(&mut moves).poll(&mut Context::from_waker(&first)).is_pending());
    drop(first);
    assert!(Pin::new(&mut moves).poll(&mut nobody).is_pending());
    gate.open(1);
    assert_eq!(Outcome::Done, moves.await);
}

/// Premise: now and the time-out are more than the clock can tell.
#[tokio::test(start_paused = true)]
async fn a_wait_without_an_end_learns_of_the_end_of_the_job() {
    let (queue, gate) = (Queue::new(Rules::default()), Gate::new());
    let id = queue.submit(gate.job("a")).await.unwrap().id();
    tokio::time::sleep(SECOND).await;
    let patient = tokio::spawn({
        let queue = queue.clone();
        async move { queue.wait(id, Duration::MAX).await }
    });
    settle().await;
    gate.open(1);
    assert_eq!(Ok(Outcome::Done), patient.await.unwrap());
}

/// Premise: the timer of a runtime panics when it is asked after the runtime has gone.
#[test]
fn a_wait_may_move_to_another_runtime() {
    let runtime =
        || Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (home, gate) = (runtime(), Gate::new());
    let (queue, id) = home.block_on(async {
        let queue = Queue::new(Rules::default());
        let id = queue.submit(gate.job("a")).await.unwrap().id();
        (queue, id)
    });
    let mut wait = Box::pin(queue.wait(id, SECOND));
    runtime().block_on(async { assert!(timeout(SECOND / 2, &mut wait).await.is_err()) });
    assert_eq!(Err(WaitError::TimedOut), home.block_on(wait));
}

#[tokio::test]
async fn ends_are_remembered_up_to_a_limit() {
    let options = queue::Options { history_max: 2, ..queue::Options::default() };
    let queue = Queue::with_options(Rules::default(), options);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let ticket = queue.submit(no_op("a")).await.unwrap();
        ids.push(ticket.id());
        ticket.await;
    }
    assert_eq!(Err(WaitError::Unknown), queue.wait(ids[0], SECOND).await);
    assert_eq!(Ok(Outcome::Done), queue.wait(ids[1], SECOND).await);
    assert_eq!(Ok(Outcome::Done), queue.wait(ids[2], SECOND).await);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_queued_for_too_long_ends() {
    let (queue, gate) = (Queue::new(Rules { cap: 1, ..Rules::default() }), Gate::new());
    queue.submit(gate.job("a")).await.unwrap();
    let start = Instant::now();
    let patient = Job { queue_timeout: Some(9 * SECOND), ..gate.job("a") };
    let patient = queue.submit(patient).await.unwrap();
    settle().await;
    // The timer sleeps for the patient one and has to be woken for this one.
    let hasty = Job { queue_timeout: Some(2 * SECOND), ..gate.job("a") };
    let hasty = queue.submit(hasty).await.unwrap();

    assert_eq!(Outcome::TimedOut, hasty.await);
    assert_eq!(2 * SECOND, start.elapsed());
    assert_eq!(Outcome::TimedOut, patient.await);
    assert_eq!(9 * SECOND, start.elapsed());

    settle().await;
    let later = Job { queue_timeout: Some(SECOND), ..gate.job("a") };
    assert_eq!(Outcome::TimedOut, queue.submit(later).await.unwrap().await);
    assert_eq!((10 * SECOND, 1), (start.elapsed(), gate.started()));
}

/// Time goes by while some job holds the thread, so that the timer has no turn.
#[tokio::test(start_paused = true)]
async fn a_job_that_was_queued_for_too_long_does_not_start_although_the_timer_is_late() {
    let gate = Gate::new();
    let queue = Queue::new(Rules { cap: 0, capacity: 1, ..Rules::default() });
    let hasty = Job { queue_timeout: Some(SECOND), ..gate.job("a") };
    let hasty = queue.submit(hasty).await.unwrap();
    let mut in_line = pin!(queue.submit(gate.job("in line")));
    assert!(poll_once(in_line.as_mut()).is_pending());

    assert!(poll_once(pin!(tokio::time::advance(SECOND))).is_pending());
    assert!(queue.try_submit(gate.job("barges in")).is_err(), "its room is another's");
    assert_eq!(Some(Outcome::TimedOut), hasty.outcome());
    queue.set_cap(1);
    settle().await;
    assert_eq!(0, gate.started());
    in_line.await.unwrap();
    settle().await;
    assert_eq!(1, gate.started());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_may_not_wait_starts_where_it_need_not() {
    let queue = Queue::new(Rules { cap: 1, ..Rules::default() });
    let job = || Job { queue_timeout: Some(Duration::ZERO), ..no_op("a") };
    assert_eq!(Outcome::Done, queue.submit(job()).await.unwrap().await);
    queue.set_cap(0);
    assert_eq!(Outcome::TimedOut, queue.submit(job()).await.unwrap().await);
}

#[tokio::test(start_paused = true)]
async fn the_time_out_of_the_queue_does_not_hold_for_running_jobs() {
    let (queue, gate) = (Queue::new(Rules::default()), Gate::new());
    let job = Job { queue_timeout: Some(SECOND), ..gate.job("a") };
    let ticket = queue.submit(job).await.unwrap();
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(None, ticket.outcome());
    gate.open(1);
    assert_eq!(Outcome::Done, ticket.await);
}

#[tokio::test]
async fn a_second_job_of_a_unique_name_joins_the_first() {
    let (queue, gate) = (Queue::new(Rules::default()), Gate::new());
    let named = || Job { unique: Some("model".into()), ..gate.job("a") };
    let first = queue.submit(named()).await.unwrap();
    let second = queue.submit(named()).await.unwrap();
    assert_eq!((first.id(), true, false), (second.id(), second.is_joined(), first.is_joined()));
    gate.open(1);
    assert_eq!((Outcome::Done, Outcome::Done), (first.await, second.await));
    assert_eq!((1, 1), (gate.started(), queue.snapshot().counters.joined));

    let third = queue.submit(named()).await.unwrap();
    assert!(!third.is_joined(), "the first is over");
    gate.open(1);
    third.await;
}

/// The premise: the joining job is dropped, and its destructor uses the queue.
#[tokio::test]
async fn a_job_that_joins_is_dropped_outside_of_the_lock() {
    struct Asks(Queue<&'static str>);
    impl Drop for Asks {
        fn drop(&mut self) {
            self.0.snapshot();
        }
    }
    let (queue, gate) = (Queue::new(Rules::default()), Gate::new());
    let first = Job { unique: Some("model".into()), ..gate.job("a") };
    let first = queue.submit(first).await.unwrap();
    let asks = Asks(queue.clone());
    let work = queue::Work::new(async move {
        let _asks = asks;
    });
    let second = Job { unique: Some("model".into()), ..Job::new("a", work) };
    assert!(queue.try_submit(second).unwrap().is_joined());
    gate.open(1);
    first.await;
}
