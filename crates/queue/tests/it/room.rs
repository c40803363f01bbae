//! The queue is bounded: what becomes of jobs that find it full.

use std::pin::pin;
use std::task::Poll;

use queue::{Job, Outcome, Overflow, Queue, Refusal, Rules};

use crate::worlds::{Gate, load, no_op, poll_once, settle};

/// A queue of this policy with two places, both taken, and nothing running.
async fn full(overflow: Overflow) -> Queue<&'static str> {
    let queue = Queue::new(Rules { cap: 0, capacity: 2, overflow, ..Rules::default() });
    for class in [1, 3] {
        queue.submit(Job { class, ..no_op("a") }).await.unwrap();
    }
    queue
}

/// Q11.
#[tokio::test]
async fn a_job_that_finds_no_room_comes_back() {
    for overflow in [Overflow::Wait, Overflow::Reject] {
        let queue = full(overflow).await;
        let refused = queue.try_submit(Job { cost: 77, ..no_op("b") }).unwrap_err();
        assert!(matches!(refused.why, Refusal::Full { capacity: 2 }), "{refused}");
        assert_eq!(("b", 77), (refused.job.key, refused.job.cost));
        assert_eq!((1, (2, 0)), (queue.snapshot().counters.rejected, load(&queue)));
        queue.set_cap(1);
        queue.idle().await;
        assert_eq!(Outcome::Done, queue.try_submit(refused.job).unwrap().await);
    }
}

#[tokio::test]
async fn submitters_wait_for_room_in_the_order_in_which_they_came() {
    let queue = full(Overflow::Wait).await;
    let mut first = pin!(queue.submit(no_op("first")));
    let mut second = pin!(queue.submit(no_op("second")));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    assert_eq!((2, 2), (queue.snapshot().waiting, load(&queue).0));

    let victim = queue.snapshot().keys[0].clone();
    assert_eq!(("a", 2), (victim.key, victim.queued));
    queue.set_cap(1);
    queue.set_cap(0);
    // One job was started, and one place is free: it is kept for the first in line.
    assert!(queue.try_submit(no_op("barges in")).is_err());
    assert!(poll_once(second.as_mut()).is_pending());
    let Poll::Ready(Ok(_)) = poll_once(first.as_mut()) else { panic!("there is room for it") };
    assert!(poll_once(second.as_mut()).is_pending());
    queue.set_cap(2);
    second.await.unwrap();
    queue.idle().await;
}

/// Q11: whether the room was granted already or not.
#[tokio::test]
async fn a_dropped_submission_queues_nothing_and_passes_its_room_on() {
    let queue = full(Overflow::Wait).await;
    let gate = Gate::new();
    let mut last = pin!(queue.submit(no_op("last")));
    {
        let mut granted = pin!(queue.submit(gate.job("granted")));
        let mut waiting = pin!(queue.submit(gate.job("waiting")));
        assert!(poll_once(granted.as_mut()).is_pending());
        assert!(poll_once(waiting.as_mut()).is_pending());
        assert!(poll_once(last.as_mut()).is_pending());
        queue.set_cap(1);
        queue.set_cap(0);
    }
    assert!(poll_once(last.as_mut()).is_ready(), "two gave up before it");
    assert_eq!((2, 0), (load(&queue).0, queue.snapshot().waiting));
    queue.set_cap(1);
    queue.idle().await;
    assert_eq!((0, 3), (gate.started(), queue.snapshot().counters.submitted));
}

#[tokio::test]
async fn cancelled_and_timed_out_jobs_make_room() {
    let queue = full(Overflow::Wait).await;
    let victim = {
        let mut submit = pin!(queue.submit(no_op("a")));
        assert!(poll_once(submit.as_mut()).is_pending());
        queue.set_cap(1);
        queue.set_cap(0);
        submit.await.unwrap()
    };
    let mut submit = pin!(queue.submit(no_op("a")));
    assert!(poll_once(submit.as_mut()).is_pending());
    queue.cancel(victim.id());
    submit.await.unwrap();
    queue.set_cap(1);
    queue.idle().await;
}

/// Q11.
#[tokio::test]
async fn the_worst_ranked_job_is_shed_for_a_better_one() {
    let queue = Queue::new(Rules {
        cap: 0,
        capacity: 2,
        overflow: Overflow::ShedLowest,
        ..Rules::default()
    });
    let good = queue.submit(Job { class: 1, ..no_op("a") }).await.unwrap();
    let bad = queue.submit(Job { class: 3, ..no_op("b") }).await.unwrap();
    let better = queue.submit(Job { class: 2, ..no_op("c") }).await.unwrap();
    assert_eq!(Outcome::Shed, bad.await);
    assert!(queue.submit(Job { class: 2, ..no_op("c") }).await.is_err(), "it is the worst itself");
    queue.set_cap(1);
    assert_eq!((Outcome::Done, Outcome::Done), (good.await, better.await));
    let counters = queue.snapshot().counters;
    assert_eq!((4, 2, 1, 1), (counters.submitted, counters.done, counters.shed, counters.rejected));
}

#[tokio::test]
async fn a_submitter_in_line_joins_a_job_of_its_unique_name() {
    let queue = full(Overflow::Wait).await;
    let unique = || Job { unique: Some("model".into()), ..no_op("a") };
    let mut first = pin!(queue.submit(unique()));
    let mut second = pin!(queue.submit(unique()));
    let mut third = pin!(queue.submit(no_op("a")));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    assert!(poll_once(third.as_mut()).is_pending());
    queue.set_cap(3);
    queue.set_cap(0);
    assert!(!first.await.unwrap().is_joined());
    assert!(second.await.unwrap().is_joined());
    assert!(!third.await.unwrap().is_joined(), "the second's room was passed on");
    queue.set_cap(1);
    settle().await;
    queue.idle().await;
}

/// Q13: what only joins a job needs no room, and passes those who wait for some.
#[tokio::test]
async fn a_job_that_joins_another_needs_no_room() {
    let queue = Queue::new(Rules { cap: 0, capacity: 1, ..Rules::default() });
    let unique = || Job { unique: Some("model".into()), ..no_op("a") };
    let first = queue.submit(unique()).await.unwrap();
    let mut in_line = pin!(queue.submit(no_op("a")));
    assert!(poll_once(in_line.as_mut()).is_pending());

    assert!(queue.try_submit(unique()).unwrap().is_joined());
    let Poll::Ready(Ok(second)) = poll_once(pin!(queue.submit(unique()))) else {
        panic!("it waits for room")
    };
    assert_eq!((first.id(), true), (second.id(), second.is_joined()));
    queue.set_cap(1);
    assert_eq!(Outcome::Done, second.await);
    in_line.await.unwrap().await;
}
