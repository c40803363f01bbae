//! Jobs run, within their limits, and however they end the next one starts.

use std::panic::panic_any;
use std::task::Poll;

use queue::{Finish, Job, Outcome, Queue, Rules, State, Work};

use crate::worlds::{Gate, load, no_op, settle};

#[tokio::test]
async fn what_a_job_returns_is_its_outcome() {
    let queue = Queue::new(Rules::default());
    let table = [
        (Work::new(async {}), Outcome::Done),
        (Work::new(async { Ok::<_, ()>(7) }), Outcome::Done),
        (Work::new(async { Err::<(), _>("no disk") }), Outcome::Failed),
        (Work::new(async { Finish::Cancelled }), Outcome::Cancelled),
    ];
    for (work, expected) in table {
        assert_eq!(expected, queue.submit(Job::new("a", work)).await.unwrap().await);
    }
}

#[tokio::test]
async fn at_most_cap_jobs_run_and_all_are_run() {
    let (queue, gate) = (Queue::new(Rules { cap: 3, ..Rules::default() }), Gate::new());
    for _ in 0..10 {
        queue.submit(gate.job("a")).await.unwrap();
    }
    settle().await;
    assert_eq!((7, 3), load(&queue));
    gate.open(10);
    queue.idle().await;
    assert_eq!((10, 3), (gate.started(), gate.most()));
}

#[tokio::test]
async fn a_key_at_its_cap_does_not_hold_up_others() {
    let queue = Queue::new(Rules { cap: 10, key_cap: 2, ..Rules::default() });
    let gate = Gate::new();
    for _ in 0..5 {
        queue.submit(gate.job("a")).await.unwrap();
    }
    let b = queue.submit(gate.job("b")).await.unwrap();
    assert_eq!(Some(State::Running), queue.state(b.id()));
    assert_eq!((3, 3), load(&queue));
    gate.open(6);
    queue.idle().await;
}

#[tokio::test]
async fn a_raised_cap_starts_what_waits_and_a_lowered_one_stops_nothing() {
    let (queue, gate) = (Queue::new(Rules { cap: 1, ..Rules::default() }), Gate::new());
    for _ in 0..6 {
        queue.submit(gate.job("a")).await.unwrap();
    }
    queue.set_cap(4);
    settle().await;
    assert_eq!(4, gate.running());

    queue.set_cap(2);
    gate.open(2);
    settle().await;
    assert_eq!((2, 2), (gate.running(), gate.started() - 2), "nothing starts until fewer run");
    gate.open(1);
    settle().await;
    assert_eq!((2, 5), (gate.running(), gate.started()));
    gate.open(10);
    queue.idle().await;
}

#[tokio::test]
async fn a_paused_key_starts_nothing_until_it_is_resumed() {
    let (queue, gate) = (Queue::new(Rules::default()), Gate::new());
    queue.pause(&"a");
    queue.submit(gate.job("a")).await.unwrap();
    assert_eq!((1, 0), load(&queue));
    queue.resume(&"a");
    assert_eq!((0, 1), load(&queue));
    gate.open(1);
    queue.idle().await;
}

/// Q9.
#[tokio::test]
async fn a_panic_frees_both_slots_and_counts_as_failed() {
    let queue = Queue::new(Rules { cap: 1, key_cap: 1, ..Rules::default() });
    let bad = Work::new(std::future::poll_fn(|_| -> Poll<()> { panic!("a test panics here") }));
    let bad = queue.submit(Job::new("a", bad)).await.unwrap();
    let next = queue.submit(no_op("a")).await.unwrap();
    assert_eq!(Outcome::Failed, bad.await);
    assert_eq!(Outcome::Done, next.await);
    let counters = queue.snapshot().counters;
    assert_eq!((1, 1, 0), (counters.failed, counters.done, counters.running()));
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a test panics here");
    }
}

/// The premise: to drop what a job or a destructor panicked with panics, too, and so on.
#[tokio::test]
async fn what_a_job_panics_with_ends_nothing_but_the_job() {
    struct Charge(u8);
    impl Drop for Charge {
        fn drop(&mut self) {
            if 0 < self.0 {
                panic_any(Self(self.0 - 1));
            }
        }
    }
    let queue = Queue::new(Rules { cap: 1, ..Rules::default() });
    let in_code = Work::new(std::future::poll_fn(|_| -> Poll<()> { panic_any(Charge(3)) }));
    let charge = Charge(3);
    let in_destructor = Work::new(async move {
        let _charge = charge;
        std::future::pending::<()>().await;
    });
    let in_code = queue.submit(Job::new("a", in_code)).await.unwrap();
    let in_destructor = queue.submit(Job::new("a", in_destructor)).await.unwrap();
    queue.cancel(in_destructor.id());
    assert_eq!(Outcome::Failed, in_code.await);
    assert_eq!(Outcome::Cancelled, in_destructor.await);
    assert_eq!(Outcome::Done, queue.submit(no_op("a")).await.unwrap().await);
}

/// A destructor that panics, in a job that ran or in one that never did.
#[tokio::test]
async fn a_panic_of_a_destructor_frees_the_slots_too() {
    let queue = Queue::new(Rules { cap: 1, ..Rules::default() });
    let gate = Gate::new();
    queue.submit(gate.job("a")).await.unwrap();
    let bomb = || {
        let bomb = Bomb;
        Work::new(async move {
            let _bomb = bomb;
        })
    };
    let runs = queue.submit(Job::new("a", bomb())).await.unwrap();
    let never_runs = queue.submit(Job::new("a", bomb())).await.unwrap();
    assert_eq!(Some(State::Queued), queue.cancel(never_runs.id()));
    assert_eq!(Outcome::Cancelled, never_runs.await);
    gate.open(1);
    runs.await;
    assert_eq!(Outcome::Done, queue.submit(no_op("a")).await.unwrap().await);
    assert_eq!((0, 0), load(&queue));
}

#[tokio::test]
async fn a_queue_may_go_with_several_jobs_whose_destructors_panic() {
    let queue = Queue::new(Rules { cap: 0, ..Rules::default() });
    let mut tickets = Vec::new();
    for _ in 0..3 {
        let bomb = Bomb;
        let work = Work::new(async move {
            let _bomb = bomb;
        });
        tickets.push(queue.submit(Job::new("a", work)).await.unwrap());
    }
    drop(queue);
    for ticket in tickets {
        assert_eq!(Outcome::Cancelled, ticket.await);
    }
}

/// Q9: the task of a job is gone with its runtime. The premise: a runtime that is shut down drops its
/// tasks and runs no new ones.
#[test]
fn a_runtime_that_ends_fails_what_ran_and_cancels_what_waited() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let gate = Gate::new();
    let (queue, running, queued) = runtime.block_on(async {
        let queue = Queue::new(Rules { cap: 2, ..Rules::default() });
        let running = queue.submit(gate.job("a")).await.unwrap();
        let running_too = queue.submit(gate.job("a")).await.unwrap();
        let queued = queue.submit(gate.job("a")).await.unwrap();
        settle().await;
        (queue, [running, running_too], queued)
    });
    drop(runtime);
    for ticket in running {
        assert_eq!(Some(Outcome::Failed), ticket.outcome());
    }
    assert_eq!(Some(Outcome::Cancelled), queued.outcome());
    assert_eq!((0, 0), load(&queue));
    assert_eq!(0, gate.running());
    assert!(queue.try_submit(no_op("a")).is_err());
}

#[tokio::test]
async fn jobs_go_on_when_the_last_handle_is_dropped() {
    let (queue, gate) = (Queue::new(Rules { cap: 1, ..Rules::default() }), Gate::new());
    let running = queue.submit(gate.job("a")).await.unwrap();
    let queued = queue.submit(gate.job("a")).await.unwrap();
    queue.pause(&"b");
    let stuck = queue.submit(gate.job("b")).await.unwrap();
    drop(queue);
    gate.open(2);
    assert_eq!(Outcome::Done, running.await);
    assert_eq!(Outcome::Done, queued.await);
    assert_eq!(Outcome::Cancelled, stuck.await);
}

#[tokio::test]
async fn a_job_may_use_the_queue_that_runs_it() {
    let queue = Queue::new(Rules { cap: 1, ..Rules::default() });
    let inner = queue.clone();
    let work = Work::new(async move { inner.submit(no_op("b")).await.map(drop) });
    assert_eq!(Outcome::Done, queue.submit(Job::new("a", work)).await.unwrap().await);
    queue.idle().await;
    assert_eq!(2, queue.snapshot().counters.done);
}

/// A worker that runs job after job must not keep its thread to itself.
#[tokio::test]
async fn other_tasks_have_a_turn_while_jobs_are_plenty() {
    let queue = Queue::new(Rules { cap: 1, ..Rules::default() });
    let tickets: Vec<_> = (0..1000).map(|_| queue.try_submit(no_op("a")).unwrap()).collect();
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert!(queue.snapshot().counters.done < 1000);
    for ticket in tickets {
        assert_eq!(Outcome::Done, ticket.await);
    }
}

/// Otherwise the first job that is cancelled would find that out.
#[test]
#[should_panic(expected = "timers are disabled")]
fn a_runtime_without_time_is_refused_at_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { Queue::<&str>::new(Rules::default()) });
}

#[test]
fn handles_and_futures_can_be_sent_and_shared() {
    fn check<T: Send + Sync>(_: &T) {}
    fn check_send<T: Send>(_: &T) {}
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let queue = Queue::new(Rules::default());
    check(&queue);
    check_send(&queue.submit(no_op("a")));
    let ticket = queue.try_submit(no_op("a")).unwrap();
    check(&ticket);
    check_send(&queue.wait(ticket.id(), std::time::Duration::ZERO));
    check_send(&queue.shutdown(queue::Shutdown::Drain));
    check_send(&queue.idle());
    check(&queue.subscribe());
}
