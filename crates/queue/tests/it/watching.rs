//! Events and snapshots.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Waker};

use queue::{Event, Id, Options, Outcome, Queue, Rules, Step, Update};

use crate::worlds::{Gate, load, no_op, waker_that_holds};

fn event(id: Id, step: Step<&'static str>) -> Option<Update<&'static str>> {
    Some(Update::Event(Event { id, step }))
}

#[tokio::test]
async fn each_step_of_a_job_is_told_in_order() {
    let queue = Queue::new(Rules::default());
    queue.submit(no_op("unseen")).await.unwrap().await;
    let mut events = queue.subscribe();
    let done = queue.submit(no_op("a")).await.unwrap();
    let id = done.id();
    done.await;
    assert_eq!(event(id, Step::Submitted("a")), events.next().await);
    assert_eq!(event(id, Step::Started), events.next().await);
    assert_eq!(event(id, Step::Ended(Outcome::Done)), events.next().await);

    queue.pause(&"a");
    let id = queue.submit(no_op("a")).await.unwrap().id();
    queue.cancel(id);
    assert_eq!(event(id, Step::Submitted("a")), events.next().await);
    assert_eq!(event(id, Step::Ended(Outcome::Cancelled)), events.next().await);
    drop(queue);
    assert_eq!(None, events.next().await);
}

/// Premise: the first task is gone but for its waker, and had another subscription.
#[tokio::test]
async fn the_waker_of_a_subscription_that_moved_is_dropped_outside_of_the_lock() {
    let queue = Queue::new(Rules::default());
    let (mut moves, held) = (queue.subscribe(), queue.subscribe());
    let first = waker_that_holds(held);
    assert!(pin!(moves.next()).poll(&mut Context::from_waker(&first)).is_pending());
    drop(first);
    assert!(pin!(moves.next()).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let id = queue.submit(no_op("a")).await.unwrap().id();
    assert_eq!(event(id, Step::Submitted("a")), moves.next().await);
}

#[tokio::test]
async fn a_slow_subscriber_is_told_what_it_missed() {
    let options = Options { events_max: 4, ..Options::default() };
    let queue = Queue::with_options(Rules::default(), options);
    let (mut slow, mut quick) = (queue.subscribe(), queue.subscribe());
    let mut last = None;
    for _ in 0..3 {
        let ticket = queue.submit(no_op("a")).await.unwrap();
        last = Some(ticket.id());
        ticket.await;
        for _ in 0..3 {
            assert!(matches!(quick.next().await, Some(Update::Event(_))));
        }
    }
    assert_eq!(Some(Update::Missed(5)), slow.next().await);
    let ended = slow.next().await;
    assert!(matches!(ended, Some(Update::Event(Event { step: Step::Ended(_), .. }))), "{ended:?}");
    assert_eq!(event(last.unwrap(), Step::Submitted("a")), slow.next().await);
}

#[tokio::test]
async fn a_subscriber_that_waits_is_woken() {
    let queue = Queue::new(Rules::default());
    let mut events = queue.subscribe();
    let waits = tokio::spawn(async move { events.next().await });
    tokio::task::yield_now().await;
    let id = queue.submit(no_op("a")).await.unwrap().id();
    assert_eq!(event(id, Step::Submitted("a")), waits.await.unwrap());
}

#[tokio::test]
async fn a_snapshot_tells_keys_apart() {
    let (queue, gate) = (Queue::new(Rules { key_cap: 1, ..Rules::default() }), Gate::new());
    queue.set_key_cap(&"a", 2);
    queue.set_weight(&"a", NonZeroU32::new(5).unwrap());
    queue.pause(&"b");
    for key in ["a", "a", "a", "b", "c", "c"] {
        queue.submit(gate.job(key)).await.unwrap();
    }
    let snapshot = queue.snapshot();
    let mut keys: Vec<_> = snapshot
        .keys
        .iter()
        .map(|key| (key.key, key.queued, key.running, key.cap, key.weight, key.paused))
        .collect();
    keys.sort_unstable();
    let expected = [("a", 1, 2, 2, 5, false), ("b", 1, 0, 1, 1, true), ("c", 1, 1, 1, 1, false)];
    assert_eq!(&expected[..], keys);
    assert_eq!((3, 3), load(&queue));

    queue.resume(&"b");
    gate.open(6);
    queue.idle().await;
    queue.reset_key(&"a");
    assert!(queue.snapshot().keys.is_empty(), "idle keys without settings are forgotten");
}
