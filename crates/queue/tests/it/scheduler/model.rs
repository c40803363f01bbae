//! The rules of the front page, word by word and as slow as they come.
//!
//! Nothing is kept in order and nothing is derived ahead of time: each question is answered by looking
//! at all jobs and all keys.

use std::collections::BTreeMap;
use std::time::Duration;

use queue::{Counters, Finish, Id, Overflow, Rules, State};

/// A job as the model sees it; instants are nanoseconds.
#[derive(Clone, Debug)]
pub(super) struct ModelJob {
    pub(super) id: Id,
    pub(super) key: u8,
    pub(super) class: u8,
    pub(super) cost: u64,
    /// What was paid for its start while other keys waited.
    pub(super) paid_beside_others: u64,
    pub(super) submitted: u64,
    pub(super) deadline: Option<u64>,
    pub(super) unique: Option<u8>,
    pub(super) state: State,
}

/// A key as the model sees it.
#[derive(Clone, Debug)]
pub(super) struct ModelKey {
    pub(super) cap: Option<usize>,
    pub(super) weight: u32,
    pub(super) paused: bool,
    /// The class in whose ring it is.
    ring: Option<u8>,
    turn: Option<Turn>,
}

/// What a key may start, and when.
#[derive(Clone, Debug)]
struct Turn {
    /// The ring that it is in or was in last.
    class: u8,
    round: u64,
    /// What is left of its allowances up to that round.
    credit: u64,
    stamp: u64,
    next_stamp: u64,
}

/// What the model expects of a push.
#[derive(Debug, PartialEq)]
pub(super) enum Admission {
    Queued { shed: Option<Id> },
    Full,
    Duplicate(Id),
    Closed,
}

/// The naive scheduler.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) rules: Rules,
    pub(super) now: u64,
    pub(super) jobs: Vec<ModelJob>,
    pub(super) keys: BTreeMap<u8, ModelKey>,
    pub(super) counters: Counters,
    pub(super) closed: bool,
    /// The present round of the ring of each class.
    rounds: BTreeMap<u8, u64>,
    stamp: u64,
}

impl Model {
    pub(super) fn new(rules: Rules) -> Self {
        let counters = Counters::default();
        let (jobs, keys, rounds) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { rules, now: 0, jobs, keys, counters, closed: false, rounds, stamp: 0 }
    }

    /// Learns what time it is.
    pub(super) fn advance(&mut self, now: Duration) {
        self.now = u64::try_from(now.as_nanos()).unwrap();
        self.look();
    }

    /// What becomes of a job; if it is queued, [`add`](Self::add) follows.
    pub(super) fn admit(&mut self, class: u8, unique: Option<u8>) -> Admission {
        let twin = self.jobs.iter().find(|job| unique.is_some() && job.unique == unique);
        if let Some(twin) = twin {
            self.counters.joined += 1;
            return Admission::Duplicate(twin.id);
        }
        self.counters.submitted += 1;
        if self.closed {
            self.counters.rejected += 1;
            return Admission::Closed;
        }
        if self.count(State::Queued) < self.rules.capacity {
            return Admission::Queued { shed: None };
        }
        let new = self.now + self.ageing() * u64::from(class);
        let worst = self.queued().max_by_key(|job| self.rank(job));
        match worst.filter(|worst| new < self.rank(worst).0) {
            Some(worst) if self.rules.overflow == Overflow::ShedLowest => {
                let id = worst.id;
                self.counters.shed += 1;
                self.remove(id);
                Admission::Queued { shed: Some(id) }
            }
            _ => {
                self.counters.rejected += 1;
                Admission::Full
            }
        }
    }

    pub(super) fn add(&mut self, job: ModelJob) {
        self.key(job.key);
        self.jobs.push(job);
        self.look();
    }

    /// The job whose turn it is.
    pub(super) fn next(&mut self) -> Option<Id> {
        if self.closed || self.rules.cap <= self.count(State::Running) {
            return None;
        }
        let place = |key: &u8| Some((self.keys[key].ring?, self.turn_of(*key)?, *key));
        let (class, turn, key) = self
            .keys
            .keys()
            .filter_map(place)
            .min_by_key(|(class, turn, _)| (*class, turn.round, turn.stamp))?;
        self.rounds.insert(class, turn.round);
        let (id, cost) = self.head(key).map(|job| (job.id, job.cost)).unwrap();
        self.stamp += 1;
        let (credit, next_stamp) = (turn.credit - cost, self.stamp);
        self.key(key).turn = Some(Turn { credit, next_stamp, ..turn });
        self.counters.started += 1;
        let others = self.keys.iter().filter(|(other, _)| **other != key);
        let is_alone = others.into_iter().all(|(_, other)| other.ring != Some(class));
        let job = self.job(id).unwrap();
        job.state = State::Running;
        job.paid_beside_others = if is_alone { 0 } else { cost };
        self.look();
        Some(id)
    }

    pub(super) fn finish(&mut self, id: Id, finish: Finish, cost: u64) -> bool {
        let job = self.job(id).filter(|job| job.state == State::Running);
        let Some((key, paid)) = job.map(|job| (job.key, job.paid_beside_others)) else {
            return false;
        };
        self.key(key).turn.as_mut().unwrap().credit += paid.saturating_sub(cost);
        match finish {
            Finish::Done => self.counters.done += 1,
            Finish::Failed => self.counters.failed += 1,
            Finish::Cancelled => self.counters.cancelled_running += 1,
        }
        self.remove(id);
        true
    }

    pub(super) fn cancel(&mut self, id: Id) -> bool {
        if self.job(id).is_none_or(|job| job.state == State::Running) {
            return false;
        }
        self.counters.cancelled_queued += 1;
        self.remove(id);
        true
    }

    /// The deadline that is over for longest.
    pub(super) fn overdue(&self) -> Option<u64> {
        let deadlines = self.queued().filter_map(|job| job.deadline);
        deadlines.filter(|deadline| *deadline <= self.now).min()
    }

    pub(super) fn expire(&mut self, id: Id) {
        self.counters.timed_out += 1;
        self.remove(id);
    }

    pub(super) fn reprioritize(&mut self, id: Id, class: u8) -> bool {
        let job = self.job(id).filter(|job| job.state == State::Queued);
        let is_queued = job.map(|job| job.class = class).is_some();
        self.look();
        is_queued
    }

    pub(super) fn change(&mut self, key: u8, change: impl FnOnce(&mut ModelKey)) {
        if let Some(class) = self.keys.get(&key).and_then(|key| key.ring) {
            // Rounds that are over count by the old weight.
            let turn = self.turn_in(key, self.present(class), 0);
            self.key(key).turn = turn;
        }
        change(self.key(key));
        self.look();
    }

    pub(super) fn job(&mut self, id: Id) -> Option<&mut ModelJob> {
        self.jobs.iter_mut().find(|job| job.id == id)
    }

    pub(super) fn count(&self, state: State) -> usize {
        self.jobs.iter().filter(|job| job.state == state).count()
    }

    pub(super) fn count_of(&self, key: u8, state: State) -> usize {
        self.jobs.iter().filter(|job| job.key == key && job.state == state).count()
    }

    pub(super) fn cap_of(&self, key: u8) -> usize {
        self.keys[&key].cap.unwrap_or(self.rules.key_cap)
    }

    fn key(&mut self, key: u8) -> &mut ModelKey {
        let new = ModelKey { cap: None, weight: 1, paused: false, ring: None, turn: None };
        self.keys.entry(key).or_insert(new)
    }

    fn queued(&self) -> impl Iterator<Item = &ModelJob> {
        self.jobs.iter().filter(|job| job.state == State::Queued)
    }

    fn remove(&mut self, id: Id) {
        self.jobs.retain(|job| job.id != id);
        self.look();
    }

    fn ageing(&self) -> u64 {
        u64::try_from(self.rules.ageing.as_nanos()).unwrap()
    }

    /// Submission plus one ageing per class; first come, first served among equals.
    fn rank(&self, job: &ModelJob) -> (u64, Id) {
        (job.submitted + self.ageing() * u64::from(job.class), job.id)
    }

    /// The job's class, less one per ageing waited.
    fn effective_class(&self, job: &ModelJob) -> u8 {
        let (mut class, mut since) = (job.class, job.submitted);
        while 0 < class && since + self.ageing() <= self.now {
            class -= 1;
            since += self.ageing();
        }
        class
    }

    fn head(&self, key: u8) -> Option<&ModelJob> {
        self.queued().filter(|job| job.key == key).min_by_key(|job| self.rank(job))
    }

    /// The turn in which a key can pay for its best job.
    fn turn_of(&self, key: u8) -> Option<Turn> {
        let (head, class) = (self.head(key)?, self.keys[&key].ring?);
        self.turn_in(key, self.present(class), head.cost)
    }

    /// A key's next turn that is not before this round and in which it can pay this cost: round by
    /// round.
    fn turn_in(&self, key: u8, round: u64, cost: u64) -> Option<Turn> {
        let mut turn = self.keys[&key].turn.clone()?;
        while turn.credit < cost || turn.round < round {
            turn.credit += self.rules.quantum * u64::from(self.keys[&key].weight);
            turn.round += 1;
            turn.stamp = turn.next_stamp;
        }
        Some(turn)
    }

    fn present(&self, class: u8) -> u64 {
        self.rounds.get(&class).copied().unwrap_or(0)
    }

    /// Sees which keys are in which ring now, and lets those enter that were not there before.
    fn look(&mut self) {
        let keys: Vec<u8> = self.keys.keys().copied().collect();
        for key in keys {
            let may_start =
                !self.keys[&key].paused && self.count_of(key, State::Running) < self.cap_of(key);
            let head = self.head(key).filter(|_| may_start);
            let ring = head.map(|head| self.effective_class(head));
            if let Some(class) = ring.filter(|_| ring != self.keys[&key].ring) {
                self.enter(key, class);
            }
            let is_idle = self.jobs.iter().all(|job| job.key != key);
            let key = self.key(key);
            key.ring = ring;
            if is_idle {
                key.turn = None;
            }
        }
    }

    /// A key that comes into a ring comes in its present round and with nothing, unless its turn there
    /// is not over.
    fn enter(&mut self, key: u8, class: u8) {
        let round = self.present(class);
        let turn = match self.keys[&key].turn.clone() {
            None => {
                self.stamp += 1;
                let (stamp, next_stamp) = (self.stamp, self.stamp);
                Turn { class, round, credit: 0, stamp, next_stamp }
            }
            Some(turn) if turn.class == class && turn.round == round => turn,
            Some(turn) => Turn { class, round, credit: 0, ..turn },
        };
        self.key(key).turn = Some(turn);
    }
}
