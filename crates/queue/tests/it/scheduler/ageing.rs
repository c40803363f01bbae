//! Q5: nobody waits for ever, and by how much a job may be overtaken is known beforehand.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use queue::{Finish, Job, Rules, Scheduler};

use super::{cases, push, push_at};

const AGEING: Duration = Duration::from_secs(10);

fn one_at_a_time() -> Scheduler<&'static str, ()> {
    Scheduler::new(Rules { cap: 1, ageing: AGEING, ..Rules::default() })
}

#[test]
fn a_better_class_goes_first_until_the_other_has_aged() {
    let mut scheduler = one_at_a_time();
    let old = push(&mut scheduler, "a", 2);
    let young = push_at(&mut scheduler, "a", 0, 19);
    let too_young = push_at(&mut scheduler, "a", 0, 21);
    for expected in [young, old, too_young] {
        assert_eq!(Some(expected), scheduler.next(Duration::from_secs(30)));
        scheduler.finish(expected, Finish::Done);
    }
}

#[test]
fn first_come_first_served_within_a_class() {
    let mut scheduler = one_at_a_time();
    let ids: Vec<_> = (0..100).map(|second| push_at(&mut scheduler, "a", 1, second / 7)).collect();
    for expected in ids {
        assert_eq!(Some(expected), scheduler.next(Duration::from_secs(100)));
        scheduler.finish(expected, Finish::Done);
    }
}

/// Without ageing it would wait as long as the flood lasts.
#[test]
fn a_flood_of_another_key_holds_an_aged_job_up_for_one_turn() {
    let mut scheduler = one_at_a_time();
    let patient = push(&mut scheduler, "patient", 2);
    for second in 0..100 {
        for _ in 0..3 {
            push_at(&mut scheduler, "flood", 0, second);
        }
        let id = scheduler.next(Duration::from_secs(second)).unwrap();
        if id == patient {
            assert_eq!(20, second, "two classes of 10 s each");
            return;
        }
        scheduler.finish(id, Finish::Done);
    }
    panic!("the patient job never started");
}

#[test]
fn a_year_of_ageing_is_strict_priority() {
    let rules = Rules { cap: 1, ageing: Duration::MAX, ..Rules::default() };
    let mut scheduler = Scheduler::new(rules);
    push(&mut scheduler, "a", 1);
    let month = 30 * 24 * 3600;
    let urgent = push_at(&mut scheduler, "b", 0, month);
    assert_eq!(Some(urgent), scheduler.next(Duration::from_secs(month)));
}

#[derive(Clone, Debug)]
struct Arrival {
    after_s: u64,
    key: u8,
    class: u8,
    cost: u64,
}

fn arrivals(keys: u8) -> impl Strategy<Value = Vec<Arrival>> {
    let arrival = (0_u64..4, 0..keys, 0_u8..4, 1_u64..9)
        .prop_map(|(after_s, key, class, cost)| Arrival { after_s, key, class, cost });
    prop::collection::vec(arrival, 1..150)
}

/// Each job with the instant of its submission and, once it was started, the number of its start.
#[derive(Clone, Debug)]
struct Fate {
    arrival: Arrival,
    submitted_s: u64,
    started: Option<(usize, u64)>,
}

/// Lets the jobs come as they do, and one start per `pace` seconds; returns all jobs.
fn simulate(arrivals: &[Arrival], pace: u64, quantum: u64, weights: &[u32]) -> Vec<Fate> {
    let rules = Rules { cap: 1, ageing: AGEING, quantum, ..Rules::default() };
    let mut scheduler = Scheduler::<u8, usize>::new(rules);
    for (key, weight) in (0..).zip(weights) {
        scheduler.set_weight(&key, NonZeroU32::new(*weight).unwrap());
    }
    let mut fates = Vec::new();
    let mut coming = arrivals.iter().peekable();
    let (mut now_s, mut next_s) = (0, 0);
    for n_starts in 0.. {
        // Whoever comes before the next start comes first.
        while let Some(arrival) = coming.next_if(|arrival| next_s + arrival.after_s <= now_s) {
            next_s += arrival.after_s;
            let Arrival { key, class, cost, .. } = *arrival;
            let job = Job { class, cost, ..Job::new(key, fates.len()) };
            scheduler.push(job, Duration::from_secs(next_s)).unwrap();
            fates.push(Fate { arrival: arrival.clone(), submitted_s: next_s, started: None });
        }
        match scheduler.next(Duration::from_secs(now_s)) {
            Some(id) => {
                let number = scheduler.finish(id, Finish::Done).unwrap();
                fates[number].started = Some((n_starts, now_s));
            }
            None if coming.peek().is_none() => break,
            None => {}
        }
        now_s += pace;
    }
    fates
}

proptest! {
    #![proptest_config(cases(300))]

    /// Within a key: a job of class c is overtaken only by jobs of a class c' < c that came less than
    /// (c − c') agings after it.
    #[test]
    fn within_a_key_only_better_classes_of_the_next_agings_overtake(
        arrivals in arrivals(1), pace in 1_u64..6,
    ) {
        let fates = simulate(&arrivals, pace, 1, &[1]);
        for (number, fate) in fates.iter().enumerate() {
            let (start, _) = fate.started.expect("every job starts");
            for later in &fates[number + 1..] {
                if later.started.unwrap().0 < start {
                    let classes = u64::from(fate.arrival.class.saturating_sub(later.arrival.class));
                    prop_assert!(later.submitted_s - fate.submitted_s < classes * AGEING.as_secs());
                }
            }
        }
    }

    /// Between keys: from c agings after its submission on, a job of class c starts within
    /// m = ⌈a / allowance⌉ rounds, where a is the cost of the job and of those of its own key that rank
    /// before it; in them another key starts less than (m + 1) · its allowance + cost_max.
    #[test]
    fn between_keys_an_aged_job_waits_for_a_known_number_of_rounds(
        arrivals in arrivals(4), pace in 1_u64..6, quantum in 1_u64..5,
        weights in prop::collection::vec(1_u32..4, 4),
    ) {
        const COST_MAX: u64 = 8;
        let fates = simulate(&arrivals, pace, quantum, &weights);
        let allowance = |key: u8| quantum * u64::from(weights[usize::from(key)]);
        for fate in &fates {
            let (start, _) = fate.started.expect("every job starts");
            let Arrival { key, class, cost, .. } = fate.arrival;
            let aged_s = fate.submitted_s + u64::from(class) * AGEING.as_secs();
            let mut cost_of: BTreeMap<u8, u64> = BTreeMap::new();
            for other in &fates {
                let (other_start, started_s) = other.started.unwrap();
                if other_start < start && aged_s <= started_s {
                    *cost_of.entry(other.arrival.key).or_default() += other.arrival.cost;
                }
            }
            let to_pay = cost + cost_of.remove(&key).unwrap_or(0);
            let rounds = to_pay.div_ceil(allowance(key));
            for (other, cost) in cost_of {
                prop_assert!(cost < (rounds + 1) * allowance(other) + COST_MAX, "{cost}");
            }
        }
    }
}
