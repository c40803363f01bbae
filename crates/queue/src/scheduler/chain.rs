//! Lines of jobs that anyone may leave: links beside the jobs, by the jobs' indices.

/// No job.
const NONE: u32 = u32::MAX;

/// Who is before and who is behind whom, for all chains. Eight bytes a job, apart from the jobs, so that
/// the neighbours of a job that leaves are in the cache even where the jobs are not.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<Link>);

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    behind: u32,
}

/// The ends of one line. It holds at least one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) first: u32,
    pub(super) last: u32,
}

impl Links {
    /// A line of this job, which is in no other.
    pub(super) fn chain(&mut self, job: u32) -> Chain {
        *self.at(job) = Link { before: NONE, behind: NONE };
        Chain { first: job, last: job }
    }

    /// Puts a job that is in no line at the end of one.
    pub(super) fn append(&mut self, chain: &mut Chain, job: u32) {
        *self.at(job) = Link { before: chain.last, behind: NONE };
        self.at(chain.last).behind = job;
        chain.last = job;
    }

    /// Takes a job out of its line; what is left of it, if anything is.
    pub(super) fn remove(&mut self, chain: Chain, job: u32) -> Option<Chain> {
        let Link { before, behind } = *self.at(job);
        let mut left = chain;
        match before {
            NONE => left.first = behind,
            before => self.at(before).behind = behind,
        }
        match behind {
            NONE => left.last = before,
            behind => self.at(behind).before = before,
        }
        (left.first != NONE).then_some(left)
    }

    fn at(&mut self, job: u32) -> &mut Link {
        let index = job as usize;
        if self.0.len() <= index {
            self.0.resize(index + 1, Link { before: NONE, behind: NONE });
        }
        &mut self.0[index]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn jobs(links: &Links, chain: Option<Chain>) -> Vec<u32> {
        let behind = |job: &u32| Some(links.0[*job as usize].behind).filter(|at| *at != NONE);
        std::iter::successors(chain.map(|chain| chain.first), behind).collect()
    }

    proptest! {
        /// Two lines beside each other: each is what a vector would be.
        #[test]
        fn a_chain_is_a_vector_with_quick_removal(
            moves in prop::collection::vec((0_usize..2, 0_u32..12), 1..100)
        ) {
            let mut links = Links::default();
            let mut chains = [None, None];
            let mut lines = [vec![], vec![]];
            for (at, job) in moves {
                if let Some(position) = lines[at].iter().position(|other| *other == job) {
                    lines[at].remove(position);
                    chains[at] = links.remove(chains[at].unwrap(), job);
                } else if !lines[1 - at].contains(&job) {
                    lines[at].push(job);
                    match &mut chains[at] {
                        Some(chain) => links.append(chain, job),
                        none => *none = Some(links.chain(job)),
                    }
                }
                for (chain, line) in chains.iter().zip(&lines) {
                    prop_assert_eq!(line, &jobs(&links, *chain));
                    prop_assert_eq!(line.last().copied(), chain.map(|chain| chain.last));
                }
            }
        }
    }
}
