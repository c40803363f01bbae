//! Cancellation by id: exact for queued jobs, cooperative and then forced for running ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use queue::{Finish, Job, Options, Outcome, Queue, Rules, State, Work};
use tokio::time::Instant;

use crate::worlds::{Gate, load, no_op, settle};

/// Q7.
#[tokio::test]
async fn a_job_cancelled_in_the_queue_never_starts() {
    let (queue, gate) = (Queue::new(Rules { cap: 1, ..Rules::default() }), Gate::new());
    queue.submit(gate.job("a")).await.unwrap();
    let victim = queue.submit(gate.job("a")).await.unwrap();
    let id = victim.id();
    assert_eq!(Some(State::Queued), queue.cancel(id));
    assert_eq!(Outcome::Cancelled, victim.await);
    assert_eq!(None, queue.cancel(id), "it is over");
    gate.open(2);
    queue.idle().await;
    assert_eq!(1, gate.started());
}

/// Q7: the token fires, once, and what the job makes of it counts.
#[tokio::test]
async fn a_running_job_is_asked_to_stop() {
    let queue = Queue::new(Rules::default());
    let fired = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&fired);
    let work = Work::stoppable(|stop| async move {
        stop.requested().await;
        assert!(stop.is_requested());
        count.fetch_add(1, Ordering::SeqCst);
        Finish::Cancelled
    });
    let ticket = queue.submit(Job::new("a", work)).await.unwrap();
    settle().await;
    assert_eq!(Some(State::Running), queue.cancel(ticket.id()));
    assert_eq!(Some(State::Running), queue.cancel(ticket.id()));
    let id = ticket.id();
    assert_eq!(Outcome::Cancelled, ticket.await);
    assert_eq!((1, None), (fired.load(Ordering::SeqCst), queue.cancel(id)));
}

#[tokio::test]
async fn a_job_that_finishes_all_the_same_is_done() {
    let (queue, gate) = (Queue::new(Rules::default()), Gate::new());
    let ticket = queue.submit(gate.job("a")).await.unwrap();
    settle().await;
    queue.cancel(ticket.id());
    gate.open(1);
    assert_eq!(Outcome::Done, ticket.await);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_does_not_stop_is_dropped_after_the_grace() {
    let stop_grace = Duration::from_secs(3);
    let options = Options { stop_grace, ..Options::default() };
    let queue = Queue::with_options(Rules { cap: 1, key_cap: 1, ..Rules::default() }, options);
    let gate = Gate::new();
    let stubborn = queue.submit(gate.job("a")).await.unwrap();
    let next = queue.submit(no_op("a")).await.unwrap();
    settle().await;

    let start = Instant::now();
    queue.cancel(stubborn.id());
    settle().await;
    assert_eq!(1, gate.running(), "the grace is not over");
    assert_eq!(Outcome::Cancelled, stubborn.await);
    assert_eq!((stop_grace, 0), (start.elapsed(), gate.running()));
    assert_eq!(Outcome::Done, next.await);
    assert_eq!((0, 0), load(&queue));
}

/// Premise: now and the grace are more than the clock can tell.
#[tokio::test(start_paused = true)]
async fn a_grace_without_an_end_is_no_end_of_the_queue() {
    let options = Options { stop_grace: Duration::MAX, ..Options::default() };
    let queue = Queue::with_options(Rules::default(), options);
    let gate = Gate::new();
    let stubborn = queue.submit(gate.job("a")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    queue.cancel(stubborn.id());
    tokio::time::sleep(Duration::from_secs(1 << 30)).await;
    assert_eq!((0, 1), load(&queue));
    gate.open(1);
    assert_eq!(Outcome::Done, stubborn.await);
    assert_eq!(Outcome::Done, queue.submit(no_op("a")).await.unwrap().await);
}

/// Premise: on one thread, a job that was started has not been polled yet when it is cancelled.
#[tokio::test]
async fn a_job_cancelled_before_its_first_step_learns_of_it() {
    let queue = Queue::new(Rules::default());
    let saw = Arc::new(AtomicBool::new(false));
    let see = Arc::clone(&saw);
    let work = Work::stoppable(|stop| async move {
        see.store(stop.is_requested(), Ordering::SeqCst);
    });
    let ticket = queue.submit(Job::new("a", work)).await.unwrap();
    assert_eq!(Some(State::Running), queue.cancel(ticket.id()));
    assert_eq!(Outcome::Done, ticket.await);
    assert!(saw.load(Ordering::SeqCst));
}

#[tokio::test]
async fn dropping_a_ticket_cancels_nothing() {
    let (queue, gate) = (Queue::new(Rules { cap: 1, ..Rules::default() }), Gate::new());
    drop(queue.submit(gate.job("a")).await.unwrap());
    drop(queue.submit(gate.job("a")).await.unwrap());
    gate.open(2);
    queue.idle().await;
    assert_eq!(2, queue.snapshot().counters.done);
}

#[tokio::test]
async fn another_class_changes_the_order_of_queued_jobs() {
    let queue = Queue::new(Rules { cap: 0, ..Rules::default() });
    let first = queue.submit(no_op("a")).await.unwrap();
    let second = queue.submit(Job { class: 3, ..no_op("a") }).await.unwrap();
    assert!(queue.reprioritize(first.id(), 5));
    let mut events = queue.subscribe();
    queue.set_cap(1);
    let started = events.next().await;
    let expected = queue::Event { id: second.id(), step: queue::Step::Started };
    assert_eq!(Some(queue::Update::Event(expected)), started);
    assert!(!queue.reprioritize(second.id(), 0), "it runs");
    queue.idle().await;
}
