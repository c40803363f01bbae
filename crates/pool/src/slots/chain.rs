//! Doubly linked lists over the indices of a slab: any member leaves in constant time.

/// Marks the end of a chain.
const NONE: u32 = u32::MAX;

/// The two ends of one list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    head: u32,
    tail: u32,
}

/// The neighbors of one member.
#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
}

/// The links of all members; many chains may share one, as long as no index is in two of them.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<Link>);

impl Default for Chain {
    fn default() -> Self {
        Self { head: NONE, tail: NONE }
    }
}

impl Chain {
    /// The member that joined first.
    pub(super) fn oldest(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    /// The member that joined last.
    pub(super) fn newest(&self) -> Option<u32> {
        (self.tail != NONE).then_some(self.tail)
    }
}

impl Links {
    /// Appends `index`, which is in no chain of these links.
    pub(super) fn push(&mut self, chain: &mut Chain, index: u32) {
        let link = Link { before: chain.tail, after: NONE };
        let at = index as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, Link { before: NONE, after: NONE });
        }
        self.0[at] = link;
        match chain.newest() {
            Some(tail) => self.0[tail as usize].after = index,
            None => chain.head = index,
        }
        chain.tail = index;
    }

    /// Takes `index` out of `chain`, which holds it.
    pub(super) fn remove(&mut self, chain: &mut Chain, index: u32) {
        let Link { before, after } = self.0[index as usize];
        match before {
            NONE => chain.head = after,
            before => self.0[before as usize].after = after,
        }
        match after {
            NONE => chain.tail = before,
            after => self.0[after as usize].before = before,
        }
    }

    /// The member that joined right after `index`.
    pub(super) fn after(&self, index: u32) -> Option<u32> {
        let after = self.0[index as usize].after;
        (after != NONE).then_some(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(chain: &Chain, links: &Links) -> Vec<u32> {
        std::iter::successors(chain.oldest(), |&index| links.after(index)).collect()
    }

    #[track_caller]
    fn check(leaving: &[u32], expected: &[u32]) {
        let (mut chain, mut links) = (Chain::default(), Links::default());
        for index in [3, 0, 7, 1] {
            links.push(&mut chain, index);
        }
        for &index in leaving {
            links.remove(&mut chain, index);
        }
        assert_eq!(expected, members(&chain, &links));
        assert_eq!(expected.last().copied(), chain.newest());
    }

    #[test]
    fn members_leave_from_both_ends_and_the_middle() {
        check(&[], &[3, 0, 7, 1]);
        check(&[3], &[0, 7, 1]);
        check(&[1], &[3, 0, 7]);
        check(&[0, 7], &[3, 1]);
        check(&[7, 3, 1, 0], &[]);
    }
}
