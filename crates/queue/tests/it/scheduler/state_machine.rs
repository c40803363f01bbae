//! Random operations on the scheduler and on the naive model: both must always say the same.
//!
//! `QUEUE_MODEL_CASES` sets the number of sequences of up to 200 operations; 2000 unless set,
//! about 200 000 operations. The long form is `QUEUE_MODEL_CASES=100000`, about ten million.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use queue::{Finish, Id, Job, Overflow, Refusal, Rules, Scheduler, State};

use super::cases;
use super::model::{Admission, Model, ModelJob};

#[derive(Clone, Copy, Debug)]
struct Push {
    key: u8,
    class: u8,
    cost: u64,
    unique: Option<u8>,
    timeout: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Push(Push),
    Next,
    /// With what the job cost in the end, if that is told.
    Finish(prop::sample::Index, Finish, Option<u64>),
    Cancel(prop::sample::Index),
    Reprioritize(prop::sample::Index, u8),
    SetCap(usize),
    SetKeyCap(u8, usize),
    SetWeight(u8, u32),
    Pause(u8),
    Resume(u8),
    ResetKey(u8),
    Expire,
    Wait(u64),
    Close,
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation as O;
    let any_job = any::<prop::sample::Index>;
    let finish = prop_oneof![Just(Finish::Done), Just(Finish::Failed), Just(Finish::Cancelled)];
    let unique = prop::option::weighted(0.2, 0_u8..3);
    let timeout = prop::option::weighted(0.3, 0_u64..40);
    let push = (0_u8..5, 0_u8..4, 0_u64..30, unique, timeout);
    prop_oneof![
        300 => push.prop_map(|(key, class, cost, unique, timeout)| {
            O::Push(Push { key, class, cost, unique, timeout })
        }),
        250 => Just(O::Next),
        200 => (any_job(), finish, prop::option::of(0_u64..40))
            .prop_map(|(job, finish, cost)| O::Finish(job, finish, cost)),
        50 => any_job().prop_map(O::Cancel),
        50 => (any_job(), 0_u8..4).prop_map(|(job, class)| O::Reprioritize(job, class)),
        20 => (0_usize..6).prop_map(O::SetCap),
        20 => (0_u8..5, 0_usize..4).prop_map(|(key, cap)| O::SetKeyCap(key, cap)),
        20 => (0_u8..5, 1_u32..5).prop_map(|(key, weight)| O::SetWeight(key, weight)),
        15 => (0_u8..5).prop_map(O::Pause),
        25 => (0_u8..5).prop_map(O::Resume),
        15 => (0_u8..5).prop_map(O::ResetKey),
        50 => Just(O::Expire),
        150 => (0_u64..15).prop_map(O::Wait),
        1 => Just(O::Close),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let overflow = prop_oneof![Just(Overflow::Reject), Just(Overflow::ShedLowest)];
    (0_usize..6, 1_usize..4, 1_usize..20, overflow, 0_u64..20, 1_u64..12).prop_map(
        |(cap, key_cap, capacity, overflow, ageing_ns, quantum)| {
            // The model counts ages one by one and would never end without an ageing.
            let ageing = Duration::from_nanos(ageing_ns.max(1));
            Rules { cap, key_cap, capacity, overflow, ageing, quantum }
        },
    )
}

/// Both, side by side. The work of a job is its number, so that it is seen to come back unharmed.
struct Pair {
    scheduler: Scheduler<u8, usize>,
    model: Model,
    /// The clock; each side learns of it by the operations that take `now`.
    now: Duration,
    /// All ids ever given out, by number.
    ids: Vec<Id>,
    numbers: BTreeMap<Id, usize>,
}

impl Pair {
    fn new(rules: Rules) -> Self {
        let model = Model::new(rules);
        let (ids, numbers) = (Vec::new(), BTreeMap::new());
        Self { scheduler: Scheduler::new(rules), model, now: Duration::ZERO, ids, numbers }
    }

    fn pick(&self, index: prop::sample::Index) -> Option<Id> {
        (!self.ids.is_empty()).then(|| *index.get(&self.ids))
    }

    fn apply(&mut self, operation: Operation) {
        use Operation as O;
        match operation {
            O::Push(push) => self.push(push),
            O::Next => {
                self.model.advance(self.now);
                assert_eq!(self.model.next(), self.scheduler.next(self.now));
            }
            O::Wait(ns) => self.now += Duration::from_nanos(ns),
            O::Expire => self.expire(),
            O::Close => {
                self.model.closed = true;
                self.scheduler.close();
            }
            O::Finish(..) | O::Cancel(_) | O::Reprioritize(..) => self.apply_to_job(&operation),
            _ => self.set(&operation),
        }
    }

    fn apply_to_job(&mut self, operation: &Operation) {
        let (Operation::Finish(job, ..) | Operation::Cancel(job) | Operation::Reprioritize(job, _)) =
            operation
        else {
            return;
        };
        let Some(id) = self.pick(*job) else { return };
        let number = Some(self.numbers[&id]);
        match *operation {
            Operation::Finish(_, finish, cost) => {
                let expected =
                    number.filter(|_| self.model.finish(id, finish, cost.unwrap_or(u64::MAX)));
                let finished = match cost {
                    Some(cost) => self.scheduler.finish_at(id, finish, cost),
                    None => self.scheduler.finish(id, finish),
                };
                assert_eq!(expected, finished);
            }
            Operation::Reprioritize(_, class) => {
                let expected = self.model.reprioritize(id, class);
                assert_eq!(expected, self.scheduler.reprioritize(id, class));
            }
            _ => {
                let expected = number.filter(|_| self.model.cancel(id));
                assert_eq!(expected, self.scheduler.cancel(id));
            }
        }
    }

    fn push(&mut self, push: Push) {
        let Push { key, class, cost, unique, timeout } = push;
        self.model.advance(self.now);
        let admission = self.model.admit(class, unique);
        let number = self.ids.len();
        let job = Job {
            key,
            class,
            cost,
            unique: unique.map(|unique| Arc::from(unique.to_string())),
            queue_timeout: timeout.map(Duration::from_nanos),
            work: number,
        };
        match self.scheduler.push(job, self.now) {
            Ok(pushed) => {
                let shed = pushed.shed.map(|(id, number)| {
                    assert_eq!(self.numbers[&id], number);
                    id
                });
                assert_eq!(admission, Admission::Queued { shed });
                let id = pushed.id;
                self.ids.push(id);
                self.numbers.insert(id, number);
                let submitted = self.model.now;
                let deadline = timeout.map(|timeout| submitted + timeout);
                let (cost, state) = (cost.max(1), State::Queued);
                self.model.add(ModelJob {
                    id,
                    key,
                    class,
                    cost,
                    paid_beside_others: 0,
                    submitted,
                    deadline,
                    unique,
                    state,
                });
            }
            Err(refused) => {
                assert_eq!(number, refused.job.work);
                let why = match refused.why {
                    Refusal::Full { .. } => Admission::Full,
                    Refusal::Duplicate(id) => Admission::Duplicate(id),
                    Refusal::Closed => Admission::Closed,
                    why => panic!("a scheduler has no such reason: {why}"),
                };
                assert_eq!(admission, why);
            }
        }
    }

    fn expire(&mut self) {
        self.model.advance(self.now);
        while let Some(deadline) = self.model.overdue() {
            let (id, number) = self.scheduler.expire(self.now).expect("a job is overdue");
            assert_eq!(self.numbers[&id], number);
            assert_eq!(Some(deadline), self.model.job(id).unwrap().deadline);
            self.model.expire(id);
        }
        assert_eq!(None, self.scheduler.expire(self.now));
    }

    fn set(&mut self, operation: &Operation) {
        let (scheduler, model) = (&mut self.scheduler, &mut self.model);
        match *operation {
            Operation::SetCap(cap) => {
                scheduler.set_cap(cap);
                model.rules.cap = cap;
            }
            Operation::SetKeyCap(key, cap) => {
                scheduler.set_key_cap(&key, cap);
                model.change(key, |key| key.cap = Some(cap));
            }
            Operation::SetWeight(key, weight) => {
                scheduler.set_weight(&key, NonZeroU32::new(weight).unwrap());
                model.change(key, |key| key.weight = weight);
            }
            Operation::Pause(key) => {
                scheduler.pause(&key);
                model.change(key, |key| key.paused = true);
            }
            Operation::Resume(key) => {
                scheduler.resume(&key);
                model.change(key, |key| key.paused = false);
            }
            Operation::ResetKey(key) => {
                scheduler.reset_key(&key);
                model.change(key, |key| (key.cap, key.weight, key.paused) = (None, 1, false));
            }
            _ => unreachable!("not a setting: {operation:?}"),
        }
    }

    /// What must hold at any moment, whatever came before.
    fn check(&self, before: &queue::Counters) {
        let snapshot = self.scheduler.snapshot();
        let counters = snapshot.counters;
        assert_eq!(self.model.counters, counters);
        let all = [counters.queued(), counters.running(), counters.ended()];
        assert_eq!(counters.submitted, all.iter().sum());
        assert!(before.submitted <= counters.submitted && before.ended() <= counters.ended());
        assert!(counters.queued() <= self.model.rules.capacity as u64);

        let queued: usize = snapshot.keys.iter().map(|key| key.queued).sum();
        let running: usize = snapshot.keys.iter().map(|key| key.running).sum();
        assert_eq!((counters.queued(), counters.running()), (queued as u64, running as u64));
        for key in &snapshot.keys {
            assert_eq!(self.model.count_of(key.key, State::Queued), key.queued);
            assert_eq!(self.model.count_of(key.key, State::Running), key.running);
            assert_eq!(self.model.cap_of(key.key), key.cap);
        }
        for id in &self.ids {
            let expected = self.model.jobs.iter().find(|job| job.id == *id).map(|job| job.state);
            assert_eq!(expected, self.scheduler.state(*id));
        }
        let deadlines = self.model.jobs.iter().filter(|job| job.state == State::Queued);
        let deadline = deadlines.filter_map(|job| job.deadline).min().map(Duration::from_nanos);
        assert_eq!(deadline, self.scheduler.next_deadline());
    }
}

proptest! {
    #![proptest_config(cases(2000))]

    /// Q1, Q2, Q3, Q4, Q6, Q7, Q11, Q12 and Q13 of one piece: each start, refusal and end is the one that
    /// the rules demand.
    #[test]
    fn the_scheduler_is_its_naive_model(
        rules in rules(),
        operations in prop::collection::vec(operation(), 1..200),
    ) {
        let mut pair = Pair::new(rules);
        for operation in operations {
            let before = pair.scheduler.counters();
            let caps = (pair.model.rules.cap, pair.model.count(State::Running));
            pair.apply(operation);
            pair.check(&before);
            let running = pair.model.count(State::Running);
            prop_assert!(running <= caps.0 || running <= caps.1, "a start above the cap");
        }
    }
}
