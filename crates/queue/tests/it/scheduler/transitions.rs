//! What single operations promise, beside what the naive model covers.

use std::time::Duration;

use queue::{Finish, Job, Overflow, Rules, Scheduler, State};

use super::{push, push_at};

const NOW: Duration = Duration::ZERO;

#[test]
fn an_id_names_one_job_for_ever() {
    let mut scheduler = Scheduler::new(Rules::default());
    let first = push(&mut scheduler, "a", 0);
    scheduler.cancel(first);
    let second = push(&mut scheduler, "a", 0);
    assert_ne!(first, second, "though they lie in the same place");
    assert_eq!((None, Some(State::Queued)), (scheduler.state(first), scheduler.state(second)));
    assert!(scheduler.cancel(first).is_none() && !scheduler.reprioritize(first, 3));
    assert!(scheduler.work(first).is_none() && scheduler.key(first).is_none());
}

/// Q7: whichever comes first of a start and a cancellation is what happened.
#[test]
fn a_start_and_a_cancellation_have_one_winner() {
    let mut scheduler = Scheduler::new(Rules::default());
    let started = push(&mut scheduler, "a", 0);
    assert_eq!(Some(started), scheduler.next(NOW));
    assert!(scheduler.cancel(started).is_none());
    assert!(scheduler.finish(started, Finish::Cancelled).is_some());
    assert!(scheduler.finish(started, Finish::Done).is_none(), "a job ends once");
    assert_eq!((0, 1), (scheduler.counters().done, scheduler.counters().cancelled_running));
}

#[test]
fn a_job_that_only_waits_cannot_finish() {
    let mut scheduler = Scheduler::new(Rules::default());
    let id = push(&mut scheduler, "a", 0);
    assert!(scheduler.finish(id, Finish::Done).is_none());
    assert_eq!(Some(State::Queued), scheduler.state(id));
}

#[test]
fn time_does_not_go_back() {
    let mut scheduler = Scheduler::new(Rules { cap: 1, ..Rules::default() });
    let first = push_at(&mut scheduler, "a", 0, 9);
    let second = push_at(&mut scheduler, "a", 0, 5);
    assert_eq!(Some(first), scheduler.next(NOW));
    scheduler.finish(first, Finish::Done);
    assert_eq!(Some(second), scheduler.next(NOW));
}

#[test]
fn a_queue_without_room_has_room_for_one() {
    let rules = Rules { capacity: 0, overflow: Overflow::Reject, ..Rules::default() };
    let mut scheduler = Scheduler::new(rules);
    push(&mut scheduler, "a", 0);
    assert!(scheduler.push(Job::new("a", ()), NOW).is_err());
}

#[test]
fn a_closed_scheduler_starts_nothing_and_lets_what_runs_end() {
    let mut scheduler = Scheduler::new(Rules::default());
    let running = push(&mut scheduler, "a", 0);
    let queued = push(&mut scheduler, "a", 0);
    scheduler.next(NOW);
    scheduler.close();
    assert_eq!(None, scheduler.next(NOW));
    assert!(scheduler.push(Job::new("a", ()), NOW).is_err());
    let mut ids: Vec<_> = scheduler.ids().collect();
    ids.sort_by_key(|(id, _)| *id);
    assert_eq!(vec![(running, State::Running), (queued, State::Queued)], ids);
    assert!(scheduler.finish(running, Finish::Done).is_some());
    assert!(scheduler.cancel(queued).is_some());
    assert_eq!(3, scheduler.counters().ended());
}

/// Memory is bounded by what is queued and set, not by the keys that ever were.
#[test]
fn idle_keys_are_forgotten() {
    let mut scheduler =
        Scheduler::new(Rules { overflow: Overflow::ShedLowest, ..Rules::default() });
    for key in 0..1000 {
        let id = scheduler.push(Job::new(key, ()), NOW).unwrap().id;
        scheduler.next(NOW);
        scheduler.finish(id, Finish::Done);
    }
    scheduler.set_key_cap(&7, 3);
    let keys: Vec<_> = scheduler.snapshot().keys.iter().map(|key| (key.key, key.cap)).collect();
    assert_eq!(vec![(7, 3)], keys);
    scheduler.reset_key(&7);
    assert!(scheduler.snapshot().keys.is_empty());
}
