//! What follows from each change of a lane.

use std::hash::Hash;
use std::sync::Arc;

use super::account::{Account, allowance};
use super::lane::Standing;
use super::line::Queued;
use super::rank::{NEVER_NS, Rank, nanos};
use super::ready::Place;
use super::{Scheduler, Slot};
use crate::job::{COST_MAX, Id, Job, State};
use crate::rules::Overflow;

impl<K: Clone + Eq + Hash, J> Scheduler<K, J> {
    /// The job that has not ended and bears the unique name of this one.
    pub(crate) fn twin_of(&self, job: &Job<K, J>) -> Option<Id> {
        self.uniques.get(job.unique.as_ref()?).copied()
    }

    /// The worst-ranked job of all, if it ranks behind this rank and may be shed.
    pub(super) fn worst_behind(&self, rank: Rank) -> Option<Id> {
        let (worst, index) = self.worst.last_key_value().filter(|(worst, _)| rank < **worst)?;
        Some(Id { sequence: worst.sequence, index: *index })
    }

    pub(super) fn shed(&mut self, id: Id) -> (Id, J) {
        self.counters.shed += 1;
        (id, self.take_queued(id.index).work)
    }

    pub(super) fn enqueue(&mut self, job: Job<K, J>, rank: Rank) -> Id {
        self.sequence += 1;
        self.counters.submitted += 1;
        let lane = self.lanes.find_or_insert(&job.key);
        let id = Id { sequence: rank.sequence, index: self.slots.next_index() };
        let timeout_ns = job.queue_timeout.map_or(NEVER_NS, nanos);
        let deadline_ns = self.now_ns.saturating_add(timeout_ns);
        if deadline_ns != NEVER_NS {
            self.deadlines.insert((deadline_ns, id.index));
        }
        if let Some(unique) = &job.unique {
            self.uniques.insert(Arc::clone(unique), id);
        }
        let queued = Queued { rank, class: job.class, index: id.index };
        self.slots.insert(Slot {
            rank,
            lane,
            class: job.class,
            state: State::Queued,
            cost: job.cost.clamp(1, COST_MAX),
            deadline_ns,
            unique: job.unique,
            work: job.work,
        });
        let line = self.lanes.at_mut(lane);
        line.jobs.push(queued, &mut self.links);
        // A lane that stands for a better job stands where it stood.
        let is_better = |head: Rank| head < rank;
        let stands = line.standing.and_then(|standing| standing.head).is_some_and(is_better);
        if !stands || self.rules.overflow == Overflow::ShedLowest {
            self.settle(lane);
        }
        id
    }

    /// Starts the best job of a lane whose turn it is in this round.
    pub(super) fn start_head_of(&mut self, index: u32, round: u64) -> Id {
        let has_rivals = self.ready.first_has_rivals();
        let lane = self.lanes.at_mut(index);
        let (rank, job) = lane.jobs.best().expect("a ready lane has a job");
        let queued = self.slots.at(job).queued(job);
        lane.jobs.remove(queued, &mut self.links, |job| self.slots.at(job).rank);
        let slot = self.slots.at_mut(job);
        slot.state = State::Running;
        if slot.deadline_ns != NEVER_NS {
            self.deadlines.remove(&(slot.deadline_ns, job));
        }
        lane.running += 1;
        self.counters.started += 1;
        self.stamp += 1;
        let account = lane.account.as_mut().expect("a ready lane has an account");
        let allowance = allowance(self.rules.quantum, lane.weight);
        account.pay(round, slot.cost, allowance, self.stamp);
        if !has_rivals {
            slot.cost = 0;
        }
        self.settle(index);
        Id { sequence: rank.sequence, index: job }
    }

    /// Takes a queued job out of everything; the caller counts why.
    pub(super) fn take_queued(&mut self, index: u32) -> Slot<J> {
        let slot = self.slots.remove(index);
        if slot.deadline_ns != NEVER_NS {
            self.deadlines.remove(&(slot.deadline_ns, index));
        }
        self.forget_unique(&slot);
        let jobs = &mut self.lanes.at_mut(slot.lane).jobs;
        jobs.remove(slot.queued(index), &mut self.links, |job| self.slots.at(job).rank);
        self.settle(slot.lane);
        slot
    }

    pub(super) fn forget_unique(&mut self, slot: &Slot<J>) {
        if let Some(unique) = &slot.unique {
            self.uniques.remove(unique);
        }
    }

    /// Brings what is known of a lane in step with the lane, after whatever changed it: where it
    /// stands among the ready ones, its worst job, whether there is any need to remember it.
    pub(super) fn settle(&mut self, index: u32) {
        self.settle_place(index);
        if self.rules.overflow == Overflow::ShedLowest {
            self.settle_worst(index);
        }
        let lane = self.lanes.at_mut(index);
        if lane.is_idle() {
            lane.account = None;
            if !lane.has_settings() {
                self.lanes.remove(index);
            }
        }
    }

    fn settle_place(&mut self, index: u32) {
        let lane = self.lanes.at_mut(index);
        let Some((head, job)) = lane.eligible_head(self.rules.key_cap) else {
            lane.standing = None;
            self.ready.remove(index);
            return;
        };
        let class = self.ageing.class_at(head.top_at_ns, self.now_ns);
        if class != 0 {
            self.promotions.look_at(index, self.ageing.better_at_ns(head.top_at_ns, class));
        }
        let stood_in = lane.standing.map(|standing| standing.place.class());
        let stood_for = lane.standing.and_then(|standing| standing.head);
        if (stood_in, stood_for) == (Some(class), Some(head)) {
            return;
        }
        let account = lane.account.get_or_insert_with(|| {
            self.stamp += 1;
            Account::new(class, &self.rounds, self.stamp)
        });
        if stood_in != Some(class) {
            account.enter(class, &self.rounds);
        }
        let allowance = allowance(self.rules.quantum, lane.weight);
        let turn = account.turn(self.slots.at(job).cost, allowance, &self.rounds);
        let place = Place::new(class, turn.round, turn.stamp);
        lane.standing = Some(Standing { place, head: Some(head) });
        self.ready.place(index, place);
    }

    fn settle_worst(&mut self, index: u32) {
        let lane = self.lanes.at_mut(index);
        let worst = lane.jobs.worst(|job| self.slots.at(job).rank);
        let rank = worst.map(|(rank, _)| rank);
        if lane.indexed_worst != rank {
            lane.indexed_worst.map(|old| self.worst.remove(&old));
            worst.map(|(rank, job)| self.worst.insert(rank, job));
            lane.indexed_worst = rank;
        }
    }
}
