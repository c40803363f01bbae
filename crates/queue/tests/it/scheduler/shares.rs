//! Q6: keys share by weight and declared cost.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use queue::{Finish, Job, Rules, Scheduler};

use super::cases;

const NOW: Duration = Duration::ZERO;

fn starts_of(scheduler: &mut Scheduler<&'static str, ()>, n_starts: usize) -> Vec<&'static str> {
    let mut keys = Vec::new();
    for _ in 0..n_starts {
        let id = scheduler.next(NOW).expect("there are more jobs");
        keys.push(*scheduler.key(id).unwrap());
        scheduler.finish(id, Finish::Done);
    }
    keys
}

#[test]
fn keys_of_one_class_take_turns() {
    let mut scheduler = Scheduler::new(Rules::default());
    for key in ["a", "b", "c"] {
        for _ in 0..3 {
            scheduler.push(Job::new(key, ()), NOW).unwrap();
        }
    }
    assert_eq!(["a", "b", "c", "a", "b", "c"], starts_of(&mut scheduler, 6)[..]);
}

#[test]
fn a_heavier_key_starts_more() {
    let mut scheduler = Scheduler::new(Rules::default());
    scheduler.set_weight(&"a", NonZeroU32::new(3).unwrap());
    for key in ["a", "b"] {
        for _ in 0..9 {
            scheduler.push(Job::new(key, ()), NOW).unwrap();
        }
    }
    assert_eq!(["a", "a", "a", "b", "a", "a", "a", "b"], starts_of(&mut scheduler, 8)[..]);
}

#[test]
fn a_key_of_large_jobs_starts_fewer() {
    let mut scheduler = Scheduler::new(Rules::default());
    for _ in 0..9 {
        scheduler.push(Job { cost: 4, ..Job::new("large", ()) }, NOW).unwrap();
        scheduler.push(Job::new("small", ()), NOW).unwrap();
    }
    let starts = starts_of(&mut scheduler, 10);
    assert_eq!(2, starts.iter().filter(|key| **key == "large").count());
}

/// A key that comes late has no claim on what it missed, and pays for nothing that others had.
#[test]
fn a_late_key_gets_its_share_from_now_on() {
    let mut scheduler = Scheduler::new(Rules::default());
    for _ in 0..90 {
        scheduler.push(Job::new("early", ()), NOW).unwrap();
    }
    starts_of(&mut scheduler, 50);
    for _ in 0..20 {
        scheduler.push(Job::new("late", ()), NOW).unwrap();
    }
    let starts = starts_of(&mut scheduler, 20);
    assert_eq!(10, starts.iter().filter(|key| **key == "late").count());
}

/// Premise: somebody does not know what a job costs and says the most that can be said.
#[test]
fn a_job_of_absurd_cost_leaves_the_shares_of_others_as_they_are() {
    let mut scheduler = Scheduler::new(Rules { cap: 1, ..Rules::default() });
    scheduler.push(Job { cost: u64::MAX, ..Job::new("absurd", ()) }, NOW).unwrap();
    assert_eq!(["absurd"], starts_of(&mut scheduler, 1)[..]);
    scheduler.set_weight(&"a", NonZeroU32::new(3).unwrap());
    for key in ["a", "b"] {
        for _ in 0..9 {
            scheduler.push(Job::new(key, ()), NOW).unwrap();
        }
    }
    assert_eq!(["a", "a", "a", "b", "a", "a", "a", "b"], starts_of(&mut scheduler, 8)[..]);
}

/// Premise: a key at its cap leaves the ring with each start, and comes back with its end. It must pay
/// for its jobs all the same.
#[test]
fn a_key_that_is_blocked_now_and_then_still_pays() {
    let mut scheduler = Scheduler::new(Rules { cap: 1, key_cap: 1, ..Rules::default() });
    for _ in 0..50 {
        scheduler.push(Job { cost: 10, ..Job::new("large", ()) }, NOW).unwrap();
        scheduler.push(Job::new("small", ()), NOW).unwrap();
    }
    let starts = starts_of(&mut scheduler, 44);
    assert_eq!(4, starts.iter().filter(|key| **key == "large").count());
}

/// Premise: a key that submits its next job when the last has ended is forgotten in between and comes
/// back as a new one. It must not come before those that wait, each time again.
#[test]
fn a_key_that_comes_and_goes_does_not_starve_those_who_stay() {
    let mut scheduler = Scheduler::new(Rules { cap: 1, ..Rules::default() });
    for _ in 0..50 {
        scheduler.push(Job::new("stays", ()), NOW).unwrap();
    }
    let mut starts = Vec::new();
    for _ in 0..20 {
        if scheduler.snapshot().keys.len() == 1 {
            scheduler.push(Job::new("comes and goes", ()), NOW).unwrap();
        }
        starts.extend(starts_of(&mut scheduler, 1));
    }
    assert_eq!(10, starts.iter().filter(|key| **key == "stays").count());
}

/// The same, where its jobs are large: it pays for them though it does not stay.
#[test]
fn a_key_that_comes_and_goes_pays_like_others() {
    let mut scheduler = Scheduler::new(Rules { cap: 1, ..Rules::default() });
    for _ in 0..100 {
        scheduler.push(Job::new("stays", ()), NOW).unwrap();
    }
    let mut starts = Vec::new();
    for _ in 0..44 {
        if scheduler.snapshot().keys.len() == 1 {
            scheduler.push(Job { cost: 10, ..Job::new("comes and goes", ()) }, NOW).unwrap();
        }
        starts.extend(starts_of(&mut scheduler, 1));
    }
    assert_eq!(40, starts.iter().filter(|key| **key == "stays").count());
}

/// Ends each job at its turn, oldest first, having cost what its work says, and queues one like it;
/// returns what was spent by key.
fn spend(
    scheduler: &mut Scheduler<&'static str, u64>,
    n_ends: usize,
) -> BTreeMap<&'static str, u64> {
    let mut spent = BTreeMap::new();
    let mut running = VecDeque::new();
    for _ in 0..n_ends {
        while let Some(id) = scheduler.next(NOW) {
            running.push_back(id);
        }
        let id = running.pop_front().expect("jobs are running");
        let key = *scheduler.key(id).unwrap();
        let cost = scheduler.finish_at(id, Finish::Done, *scheduler.work(id).unwrap()).unwrap();
        *spent.entry(key).or_default() += cost;
        scheduler.push(Job { cost: declared(key), ..Job::new(key, cost) }, NOW).unwrap();
    }
    spent
}

/// What jobs of a key are said to cost.
fn declared(key: &str) -> u64 {
    if key == "careful" { 1000 } else { 10 }
}

/// A key that says a hundred times what its jobs cost has its share of what they cost.
#[test]
fn shares_count_what_jobs_cost_in_the_end() {
    let mut scheduler = Scheduler::new(Rules { cap: 8, ..Rules::default() });
    for key in ["careful", "exact"] {
        for _ in 0..20 {
            scheduler.push(Job { cost: declared(key), ..Job::new(key, 10) }, NOW).unwrap();
        }
    }
    // Until the careful one has paid for what it runs at once.
    spend(&mut scheduler, 2_000);
    let spent = spend(&mut scheduler, 10_000);
    assert!(spent["careful"].abs_diff(spent["exact"]) < 2_000, "{spent:?}");
}

/// Premise: rounds go by as fast as a lone key pays, and it gets back most of what it paid.
#[test]
fn a_lone_key_saves_nothing_up() {
    let mut scheduler = Scheduler::new(Rules { cap: 1, ..Rules::default() });
    for _ in 0..20 {
        scheduler.push(Job { cost: 1000, ..Job::new("careful", 10) }, NOW).unwrap();
    }
    spend(&mut scheduler, 100);
    for _ in 0..20 {
        scheduler.push(Job { cost: 10, ..Job::new("late", 10) }, NOW).unwrap();
    }
    let spent = spend(&mut scheduler, 20);
    assert!(180 <= spent["late"], "{spent:?}");
}

proptest! {
    #![proptest_config(cases(300))]

    /// Of two keys that always have jobs, served ÷ weight differs by less than the quantum and one
    /// job's cost ÷ weight.
    #[test]
    fn backlogged_keys_differ_by_a_quantum_and_a_job(
        weights in prop::collection::vec(1_u32..8, 2..6),
        costs in prop::collection::vec(1_u64..50, 300),
        quantum in 1_u64..60,
        cap in 1_usize..5,
    ) {
        const COST_MAX: u64 = 49;
        let rules = Rules { cap, quantum, ..Rules::default() };
        let mut scheduler = Scheduler::<usize, u64>::new(rules);
        let n_keys = weights.len();
        let mut left = vec![0_u64; n_keys];
        for (key, weight) in weights.iter().enumerate() {
            scheduler.set_weight(&key, NonZeroU32::new(*weight).unwrap());
        }
        for (number, cost) in costs.iter().enumerate() {
            let key = number % n_keys;
            scheduler.push(Job { cost: *cost, ..Job::new(key, *cost) }, NOW).unwrap();
            left[key] += 1;
        }
        let mut served = vec![0_u64; n_keys];
        let mut running = VecDeque::new();
        // While all of them have jobs.
        while left.iter().all(|left| 0 < *left) {
            let Some(id) = scheduler.next(NOW) else {
                scheduler.finish(running.pop_front().unwrap(), Finish::Done);
                continue;
            };
            running.push_back(id);
            let key = *scheduler.key(id).unwrap();
            served[key] += *scheduler.work(id).unwrap();
            left[key] -= 1;
            for a in 0..n_keys {
                for b in 0..n_keys {
                    let (w_a, w_b) = (u64::from(weights[a]), u64::from(weights[b]));
                    // served[a] / w_a − served[b] / w_b < quantum + COST_MAX / w_b, times both.
                    let bound = served[b] * w_a + quantum * w_a * w_b + COST_MAX * w_a;
                    prop_assert!(served[a] * w_b < bound, "{served:?}");
                }
            }
        }
    }
}
