//! The order of jobs, as a value: no clock, no task, no lock.

mod account;
mod chain;
mod keys;
mod lane;
mod line;
mod promotions;
mod rank;
mod ready;
mod settle;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use self::account::Rounds;
use self::chain::Links;
use self::lane::Lanes;
use self::line::Queued;
use self::promotions::Promotions;
use self::rank::{Ageing, Rank, nanos};
use self::ready::Ready;
use crate::arena::Arena;
use crate::counters::{Counters, KeySnapshot, Snapshot};
use crate::job::{Finish, Id, Job, Refusal, Refused, State};
use crate::rules::Rules;

/// Decides which job is next. The order is on the [front page](crate#the-order).
///
/// `now` is the time since any instant that the caller keeps to, such as the scheduler's making. Time
/// does not go back: an earlier `now` is taken for the latest one seen.
///
/// A job's `work` stays here until the job ends; [`work_mut`](Self::work_mut) lends it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use queue::{Finish, Job, Rules, Scheduler};
///
/// let mut scheduler = Scheduler::new(Rules { key_cap: 1, ..Rules::default() });
/// let now = Duration::ZERO;
/// let a1 = scheduler.push(Job::new("a", "first"), now)?.id;
/// let a2 = scheduler.push(Job::new("a", "second"), now)?.id;
/// let b1 = scheduler.push(Job { class: 1, ..Job::new("b", "third") }, now)?.id;
///
/// assert_eq!(Some(a1), scheduler.next(now));
/// assert_eq!(Some(b1), scheduler.next(now), "key a is at its cap");
/// assert_eq!(None, scheduler.next(now));
/// assert_eq!(Some("first"), scheduler.finish(a1, Finish::Done));
/// assert_eq!(Some(a2), scheduler.next(now));
/// # Ok::<(), queue::Refused<&str, &str>>(())
/// ```
pub struct Scheduler<K, J> {
    rules: Rules,
    ageing: Ageing,
    /// The latest instant seen.
    now_ns: u64,
    /// Counts submissions.
    sequence: u64,
    /// Counts ends of turns.
    stamp: u64,
    slots: Arena<Slot<J>>,
    lanes: Lanes<K>,
    links: Links,
    ready: Ready,
    promotions: Promotions,
    rounds: Rounds,
    /// Queued jobs that have a time-out, by its end.
    deadlines: BTreeSet<(u64, u32)>,
    uniques: HashMap<Arc<str>, Id>,
    /// The worst-ranked job of each lane by rank, kept only where jobs may be shed.
    worst: BTreeMap<Rank, u32>,
    counters: Counters,
    closed: bool,
}

/// A job that was queued and has not ended.
///
/// It begins with a line of the cache: where a slot lay across two, one process in eight took half as
/// long again for everything.
#[derive(Debug)]
#[repr(align(64))]
struct Slot<J> {
    rank: Rank,
    lane: u32,
    class: u8,
    state: State,
    /// What its key pays for its start; once it runs, what may be given back of that.
    cost: u64,
    /// [`rank::NEVER_NS`] without a time-out.
    deadline_ns: u64,
    unique: Option<Arc<str>>,
    work: J,
}

impl<J> Slot<J> {
    /// The job as its line knows it.
    fn queued(&self, index: u32) -> Queued {
        Queued { rank: self.rank, class: self.class, index }
    }
}

/// A job was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pushed<J> {
    /// Its name.
    pub id: Id,
    /// The job that made room for it, and which thereby ended, under
    /// [`Overflow::ShedLowest`](crate::Overflow::ShedLowest).
    pub shed: Option<(Id, J)>,
}

impl<K: Clone + Eq + Hash, J> Scheduler<K, J> {
    /// An empty scheduler. Allocates as jobs come.
    pub fn new(rules: Rules) -> Self {
        Self {
            ageing: Ageing::new(rules.ageing),
            rules: Rules { capacity: rules.capacity.max(1), ..rules },
            now_ns: 0,
            sequence: 0,
            stamp: 0,
            slots: Arena::new(),
            lanes: Lanes::new(),
            links: Links::default(),
            ready: Ready::default(),
            promotions: Promotions::default(),
            rounds: Rounds::default(),
            deadlines: BTreeSet::new(),
            uniques: HashMap::new(),
            worst: BTreeMap::new(),
            counters: Counters::default(),
            closed: false,
        }
    }

    /// Queues a job. Logarithmic in the keys that have jobs and in the jobs that have a time-out; linear in
    /// the classes in which its key has jobs, of which there are at most 256.
    ///
    /// # Errors
    ///
    /// Gives the job back, and changes nothing but a counter: [`Refusal::Duplicate`] if one of its
    /// unique name has not ended, [`Refusal::Closed`] after [`close`](Self::close),
    /// [`Refusal::Full`] if `capacity` jobs are queued, none of which may be shed for it.
    pub fn push(&mut self, job: Job<K, J>, now: Duration) -> Result<Pushed<J>, Refused<K, J>> {
        self.push_if(job, now, |_| Ok(()))
    }

    /// Like [`push`](Self::push), if `record` agrees, which is asked last of all.
    pub(crate) fn push_if(
        &mut self,
        mut job: Job<K, J>,
        now: Duration,
        record: impl FnOnce(&mut Job<K, J>) -> Result<(), Refusal>,
    ) -> Result<Pushed<J>, Refused<K, J>> {
        self.advance(now);
        if let Some(id) = self.twin_of(&job) {
            self.counters.joined += 1;
            return Err(Refused { job, why: Refusal::Duplicate(id) });
        }
        if self.closed {
            return Err(self.reject(job, Refusal::Closed));
        }
        let rank = Rank {
            top_at_ns: self.ageing.top_at_ns(self.now_ns, job.class),
            sequence: self.sequence,
        };
        let worst = if self.is_full() { self.worst_behind(rank) } else { None };
        if self.is_full() && worst.is_none() {
            let capacity = self.rules.capacity;
            return Err(self.reject(job, Refusal::Full { capacity }));
        }
        if let Err(why) = record(&mut job) {
            return Err(self.reject(job, why));
        }
        let shed = worst.map(|worst| self.shed(worst));
        Ok(Pushed { id: self.enqueue(job, rank), shed })
    }

    /// Starts the job whose turn it is, unless none may start. Call it until it returns none after
    /// everything that may have made room: a push, a finish, a raised cap, a resumed key.
    ///
    /// Jobs that are [due to expire](Self::expire) are not told from others: expire them first.
    pub fn next(&mut self, now: Duration) -> Option<Id> {
        self.advance(now);
        if self.closed || self.rules.cap as u64 <= self.counters.running() {
            return None;
        }
        let (place, lane) = self.ready.first()?;
        self.rounds.advance(place.class(), place.round());
        Some(self.start_head_of(lane, place.round()))
    }

    /// Ends a running job and frees its slots; returns its work, or none if it does not run.
    pub fn finish(&mut self, id: Id, finish: Finish) -> Option<J> {
        self.finish_at(id, finish, u64::MAX)
    }

    /// Like [`finish`](Self::finish), for a job that cost so much in the end: what its key paid beyond
    /// that pays for the key's next jobs. More than the job's [`cost`](Job::cost) counts as that.
    ///
    /// Nothing is given back of a job that started while no other key of its class waited: its key
    /// did not wait for those rounds, and would have saved them up. For the same reason it is lost to
    /// a key that has no job that may start until the round is over.
    pub fn finish_at(&mut self, id: Id, finish: Finish, cost: u64) -> Option<J> {
        if self.state(id)? != State::Running {
            return None;
        }
        match finish {
            Finish::Done => self.counters.done += 1,
            Finish::Failed => self.counters.failed += 1,
            Finish::Cancelled => self.counters.cancelled_running += 1,
        }
        let slot = self.slots.remove(id.index);
        self.forget_unique(&slot);
        let lane = self.lanes.at_mut(slot.lane);
        lane.running -= 1;
        let unspent = slot.cost.saturating_sub(cost);
        lane.refund(unspent);
        // A lane that is ready anyway stands where it stood, unless it can pay sooner now.
        if lane.standing.is_none() || 0 < unspent {
            self.settle(slot.lane);
        }
        Some(slot.work)
    }

    /// Takes a queued job out, which will not start then; returns its work, or none if it is not
    /// queued. A running job ends by [`finish`](Self::finish) alone.
    pub fn cancel(&mut self, id: Id) -> Option<J> {
        if self.state(id)? != State::Queued {
            return None;
        }
        self.counters.cancelled_queued += 1;
        Some(self.take_queued(id.index).work)
    }

    /// Takes out one job that has been queued for its time-out; call it until it returns none.
    pub fn expire(&mut self, now: Duration) -> Option<(Id, J)> {
        self.advance(now);
        let (deadline_ns, index) = *self.deadlines.first()?;
        if self.now_ns < deadline_ns {
            return None;
        }
        self.counters.timed_out += 1;
        let slot = self.take_queued(index);
        Some((Id { sequence: slot.rank.sequence, index }, slot.work))
    }

    /// When [`expire`](Self::expire) should be called again, if at all.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline_ns, _)| Duration::from_nanos(*deadline_ns))
    }

    /// Puts a queued job into another class, as if it had been submitted into it; false if it is not
    /// queued.
    pub fn reprioritize(&mut self, id: Id, class: u8) -> bool {
        if self.state(id) != Some(State::Queued) {
            return false;
        }
        let slot = self.slots.at_mut(id.index);
        let submitted_ns = slot.rank.top_at_ns - self.ageing.top_at_ns(0, slot.class);
        let before = slot.queued(id.index);
        slot.class = class;
        slot.rank.top_at_ns = self.ageing.top_at_ns(submitted_ns, class);
        let (lane, after) = (slot.lane, slot.queued(id.index));
        let jobs = &mut self.lanes.at_mut(lane).jobs;
        jobs.remove(before, &mut self.links, |job| self.slots.at(job).rank);
        jobs.insert(after);
        self.settle(lane);
        true
    }

    /// Lets nothing in and starts nothing from now on. What is queued stays until it is cancelled,
    /// what runs until it is finished.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Where a job is on its way; none if it ended.
    pub fn state(&self, id: Id) -> Option<State> {
        let slot = self.slots.get(id.index)?;
        (slot.rank.sequence == id.sequence).then_some(slot.state)
    }

    /// The work of a job that has not ended.
    pub fn work(&self, id: Id) -> Option<&J> {
        self.state(id)?;
        Some(&self.slots.at(id.index).work)
    }

    /// The work of a job that has not ended.
    pub fn work_mut(&mut self, id: Id) -> Option<&mut J> {
        self.state(id)?;
        Some(&mut self.slots.at_mut(id.index).work)
    }

    /// The key of a job that has not ended.
    pub fn key(&self, id: Id) -> Option<&K> {
        self.state(id)?;
        Some(&self.lanes.at(self.slots.at(id.index).lane).key)
    }

    /// All jobs that have not ended, in no order.
    pub fn ids(&self) -> impl Iterator<Item = (Id, State)> {
        let id = |index, slot: &Slot<J>| Id { sequence: slot.rank.sequence, index };
        self.slots.iter().map(move |(index, slot)| (id(index, slot), slot.state))
    }

    /// Whether the next job finds no room.
    pub fn is_full(&self) -> bool {
        self.rules.capacity as u64 <= self.counters.queued()
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// This moment, key by key. Linear in the keys.
    pub fn snapshot(&self) -> Snapshot<K> {
        let of_lane = |lane: &lane::Lane<K>| KeySnapshot {
            key: lane.key.clone(),
            queued: lane.jobs.len(),
            running: lane.running,
            cap: lane.cap.unwrap_or(self.rules.key_cap),
            weight: lane.weight.get(),
            paused: lane.paused,
        };
        let keys = self.lanes.iter().map(of_lane).collect();
        let (counters, cap) = (self.counters, self.rules.cap);
        Snapshot { counters, cap, waiting: 0, journal_failures: 0, keys }
    }

    /// Lets time pass, which does not go back, and jobs age.
    fn advance(&mut self, now: Duration) {
        self.now_ns = self.now_ns.max(nanos(now));
        while let Some(lane) = self.promotions.due(self.now_ns) {
            if self.lanes.contains(lane) {
                self.settle(lane);
            }
        }
    }

    pub(crate) fn reject(&mut self, job: Job<K, J>, why: Refusal) -> Refused<K, J> {
        self.counters.submitted += 1;
        self.counters.rejected += 1;
        Refused { job, why }
    }
}

impl<K: fmt::Debug, J> fmt::Debug for Scheduler<K, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("rules", &self.rules)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
