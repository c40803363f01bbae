//! The queued jobs of one key, best first.

use std::collections::BTreeMap;

use super::chain::{Chain, Links};
use super::rank::Rank;

/// Jobs in the order of their ranks.
///
/// Jobs of one class rank as they come, for time does not go back; so each class has a line in which a
/// job joins at the end, and the best of all is the best of the firsts. Only who was put into another
/// class has to be sorted in, and is kept apart. (A tree of all jobs by rank took nearly three times as
/// long for a cancellation among ten thousand, and 17 times among a million.)
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The classes that have jobs, in no order.
    classes: Vec<Class>,
    /// Jobs that were put into another class, by rank.
    moved: BTreeMap<Rank, u32>,
    best: Option<(Rank, u32)>,
    len: usize,
}

#[derive(Debug)]
struct Class {
    class: u8,
    /// The rank of its first job.
    first: Rank,
    chain: Chain,
}

/// A queued job, as its line knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    pub(super) rank: Rank,
    pub(super) class: u8,
    pub(super) index: u32,
}

impl Line {
    /// Its best job and the job's index.
    pub(super) fn best(&self) -> Option<(Rank, u32)> {
        self.best
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lets in a job that ranks behind all others of its class.
    pub(super) fn push(&mut self, job: Queued, links: &mut Links) {
        match self.classes.iter_mut().find(|class| class.class == job.class) {
            Some(class) => links.append(&mut class.chain, job.index),
            None => {
                let chain = links.chain(job.index);
                self.classes.push(Class { class: job.class, first: job.rank, chain });
            }
        }
        self.came(job);
    }

    /// Lets in a job from wherever it was.
    pub(super) fn insert(&mut self, job: Queued) {
        self.moved.insert(job.rank, job.index);
        self.came(job);
    }

    fn came(&mut self, job: Queued) {
        self.len += 1;
        if self.best.is_none_or(|(best, _)| job.rank < best) {
            self.best = Some((job.rank, job.index));
        }
    }

    /// Takes out a job, which is in; `rank_of` tells a job's rank by its index.
    pub(super) fn remove(&mut self, job: Queued, links: &mut Links, rank_of: impl Fn(u32) -> Rank) {
        if self.moved.remove(&job.rank).is_none() {
            self.unlink(job, links, rank_of);
        }
        self.len -= 1;
        if self.best == Some((job.rank, job.index)) {
            let firsts = self.classes.iter().map(|class| (class.first, class.chain.first));
            let moved = self.moved.first_key_value().map(|(rank, index)| (*rank, *index));
            self.best = firsts.chain(moved).min();
        }
    }

    fn unlink(&mut self, job: Queued, links: &mut Links, rank_of: impl Fn(u32) -> Rank) {
        let at = self.classes.iter().position(|class| class.class == job.class);
        let at = at.expect("the class of a queued job has a line");
        let class = &mut self.classes[at];
        let Some(left) = links.remove(class.chain, job.index) else {
            self.classes.swap_remove(at);
            return;
        };
        if left.first != class.chain.first {
            class.first = rank_of(left.first);
        }
        class.chain = left;
    }

    /// Its worst job and the job's index.
    pub(super) fn worst(&self, rank_of: impl Fn(u32) -> Rank) -> Option<(Rank, u32)> {
        let lasts = self.classes.iter().map(|class| class.chain.last);
        let moved = self.moved.last_key_value().map(|(rank, index)| (*rank, *index));
        lasts.map(|last| (rank_of(last), last)).chain(moved).max()
    }
}
