//! Q10: nothing starts after a shutdown, and nobody waits for ever.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use queue::{Job, Outcome, Queue, Refusal, Rules, Shutdown, Work};
use tokio::time::Instant;

use crate::worlds::{Gate, load, no_op, settle};

#[tokio::test]
async fn draining_lets_running_jobs_end_and_cancels_queued_ones() {
    let (queue, gate) = (Queue::new(Rules { cap: 1, ..Rules::default() }), Gate::new());
    let running = queue.submit(gate.job("a")).await.unwrap();
    let queued = queue.submit(gate.job("a")).await.unwrap();
    settle().await;
    let draining = tokio::spawn({
        let queue = queue.clone();
        async move { queue.shutdown(Shutdown::Drain).await }
    });
    assert_eq!(Outcome::Cancelled, queued.await);
    assert!(!draining.is_finished());
    gate.open(2);
    draining.await.unwrap();
    assert_eq!((Outcome::Done, 1), (running.await, gate.started()));

    let refused = queue.submit(no_op("a")).await.unwrap_err();
    assert!(matches!(refused.why, Refusal::Closed), "{refused}");
    assert_eq!((0, 0), load(&queue));
    queue.shutdown(Shutdown::Drain).await;
}

#[tokio::test(start_paused = true)]
async fn aborting_asks_running_jobs_to_stop_and_drops_them_after_the_grace() {
    let (queue, gate) = (Queue::new(Rules { cap: 2, ..Rules::default() }), Gate::new());
    let polite = Work::stoppable(|stop| async move { stop.requested().await });
    let polite = queue.submit(Job::new("a", polite)).await.unwrap();
    let stubborn = queue.submit(gate.job("a")).await.unwrap();
    let queued = queue.submit(gate.job("a")).await.unwrap();
    settle().await;
    let start = Instant::now();
    queue.shutdown(Shutdown::Abort).await;
    assert_eq!(Duration::from_secs(5), start.elapsed());
    assert_eq!(
        (Some(Outcome::Done), Some(Outcome::Cancelled)),
        (polite.outcome(), stubborn.outcome())
    );
    assert_eq!((Some(Outcome::Cancelled), 0), (queued.outcome(), gate.running()));
}

#[tokio::test(start_paused = true)]
async fn a_drain_may_turn_into_an_abort() {
    let (queue, gate) = (Queue::new(Rules::default()), Gate::new());
    let work = Work::stoppable(|stop| async move { stop.requested().await });
    let ticket = queue.submit(Job::new("a", work)).await.unwrap();
    settle().await;
    let limit = Duration::from_millis(1);
    assert!(tokio::time::timeout(limit, queue.shutdown(Shutdown::Drain)).await.is_err());
    queue.shutdown(Shutdown::Abort).await;
    assert_eq!((Outcome::Done, 0), (ticket.await, gate.started()));
}

#[tokio::test]
async fn submitters_in_line_get_their_jobs_back() {
    let queue = Queue::new(Rules { cap: 0, capacity: 1, ..Rules::default() });
    queue.submit(no_op("a")).await.unwrap();
    let mut submit = pin!(queue.submit(no_op("b")));
    let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(submit.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    queue.shutdown(Shutdown::Drain).await;
    let refused = submit.await.unwrap_err();
    assert!(matches!(refused.why, Refusal::Closed), "{refused}");
    assert_eq!("b", refused.job.key);
    assert_eq!((0, 0), load(&queue));
}

#[tokio::test]
async fn nothing_starts_after_a_shutdown_whatever_is_changed() {
    let (queue, gate) = (Queue::new(Rules { cap: 1, ..Rules::default() }), Gate::new());
    let running = queue.submit(gate.job("a")).await.unwrap();
    queue.submit(gate.job("a")).await.unwrap();
    settle().await;
    {
        let mut shutdown = pin!(queue.shutdown(Shutdown::Drain));
        std::future::poll_fn(|cx| std::task::Poll::Ready(shutdown.as_mut().poll(cx).is_ready()))
            .await;
    }
    queue.set_cap(10);
    queue.resume(&"a");
    queue.reset_key(&"a");
    gate.open(10);
    assert_eq!((Outcome::Done, 1), (running.await, gate.started()));
    queue.idle().await;
}
