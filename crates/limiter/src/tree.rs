//! Limits within limits, and who waits for them.

mod grow;
mod node;
mod pick;
mod turns;

use std::collections::VecDeque;

use self::node::{Node, Waiting};
pub use self::node::{Share, ShareError};
use self::turns::{Member, OWN};
use crate::{Burst, Moment, NotUntil, Rate, Stats, TokenBucket};

/// A tree of rate limits with their waiting lines: the decisions of `Limiter`, without a clock.
///
/// A tree begins with its root alone, which is then simply a token bucket with a line. A request is
/// made at any node and is granted when all limits from there to the root have the tokens; it takes
/// them from all at once or from none.
///
/// Whoever drives it makes requests, calls [`Tree::dispatch`] with the time, hands out what
/// [`Tree::next_grant`] returns until that is `None`, and comes back at [`Tree::next_wake`].
///
/// # Fairness and order
///
/// At one node first come, first served, whatever the sizes; nobody passes those who wait, with one
/// exception: children of a node, and the node's own line, take turns by weight. A child at its ceiling
/// is passed over without losing its rank, so what it leaves is lent to its siblings; up to its
/// guarantee a child is served first, while of all that is granted one token in 64 still goes in turn.
///
/// # Cost
///
/// A grant costs `O(depth · log children)`, and the number of children with a guarantee besides.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use limiter::{Burst, Moment, Rate, Tree};
///
/// let start = Moment::ZERO;
/// let mut tree = Tree::new(Rate::per_second(1000), Burst::new(10)?, start);
/// let root = tree.root();
/// tree.try_take(root, 10, start)?;
///
/// let ticket = tree.enqueue(root, 5, start);
/// tree.dispatch(start);
/// assert!(tree.next_grant().is_none());
///
/// let wake = tree.next_wake().expect("somebody waits");
/// assert_eq!(start.saturating_add(Duration::from_millis(5)), wake);
/// tree.dispatch(wake);
/// assert_eq!(ticket, tree.next_grant().expect("its tokens are there").ticket);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    /// Places of removed nodes.
    vacant: Vec<Member>,
    /// The latest moment that the tree has been told.
    now: Moment,
    tickets: u64,
    waiting: usize,
    grants: VecDeque<Grant>,
    /// Nothing can be granted before, unless `stale`.
    wake: Moment,
    /// Something has changed since the last dispatch.
    stale: bool,
}

/// A node of one [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId {
    index: Member,
    generation: u32,
}

/// A request that waits in one [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    index: Member,
    number: u64,
}

/// A request that waited and has its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// Which request.
    pub ticket: Ticket,
    /// How many tokens it asked for and got.
    pub tokens: u64,
    /// When; to be named when giving some back.
    pub taken_at: Moment,
}

impl Tree {
    /// Returns a tree of one limit, its bucket full.
    pub fn new(rate: Rate, burst: Burst, now: Moment) -> Self {
        Self {
            nodes: vec![Node::new(TokenBucket::new(rate, burst, now), None, 1)],
            vacant: Vec::new(),
            now,
            tickets: 0,
            waiting: 0,
            grants: VecDeque::new(),
            wake: Moment::MAX,
            stale: false,
        }
    }

    /// Returns the root.
    pub fn root(&self) -> NodeId {
        NodeId { index: 0, generation: 0 }
    }

    /// Takes tokens at once, passing nobody who waits, and returns the moment to name when giving some
    /// back. Where somebody waits, it dispatches, so there may be grants to hand out.
    ///
    /// # Errors
    ///
    /// [`NotUntil`] when one of the limits lacks tokens or somebody else is next; it tells when the
    /// tokens would be there for one who came behind all that wait now. Nothing is taken.
    ///
    /// # Panics
    ///
    /// When `node` was removed.
    #[inline]
    pub fn try_take(&mut self, node: NodeId, tokens: u64, now: Moment) -> Result<Moment, NotUntil> {
        let index = self.index(node);
        self.advance(now);
        if 0 < self.waiting {
            return self.try_take_in_turn(node, tokens);
        }
        if self.nodes.len() == 1 {
            // The most frequent case by far, and the same as below.
            return self.nodes[0].try_take_alone(tokens, self.now);
        }
        self.try_take_by_path(index, tokens)
    }

    /// Takes tokens from all limits up to the root, if nobody waits.
    #[inline(never)]
    fn try_take_by_path(&mut self, index: Member, tokens: u64) -> Result<Moment, NotUntil> {
        let ready_at = self.ready_behind_all(index, tokens);
        if self.now < ready_at {
            return Err(NotUntil::new(ready_at));
        }
        self.take(index, tokens, 0);
        Ok(self.now)
    }

    /// Puts a request at the end of the line of `node`.
    ///
    /// # Panics
    ///
    /// When `node` was removed.
    pub fn enqueue(&mut self, node: NodeId, tokens: u64, now: Moment) -> Ticket {
        let index = self.index(node);
        self.advance(now);
        let ticket = Ticket { index, number: self.tickets };
        self.tickets += 1;
        self.waiting += 1;
        let waiting = Waiting { tokens, since: self.now };
        self.nodes[index as usize].join_line(ticket.number, waiting);
        self.for_path(index, |node| {
            node.stats.waiting += 1;
            node.stats.waiting_tokens = node.stats.waiting_tokens.saturating_add(tokens);
        });
        self.refresh(index);
        ticket
    }

    /// Takes a waiting request out of the line, as if it had never been made. Returns whether it was
    /// still waiting.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        let node = &mut self.nodes[ticket.index as usize];
        let Some(waiting) = node.leave_line(ticket.number) else {
            return false;
        };
        node.stats.canceled += 1;
        self.leave_waiting(ticket.index, waiting);
        self.refresh(ticket.index);
        true
    }

    /// Grants all that can be granted at `now`, in order.
    pub fn dispatch(&mut self, now: Moment) {
        self.advance(now);
        if !self.stale && self.now < self.wake {
            return;
        }
        // Each turn of the loop takes one request out of a line.
        self.wake = loop {
            match self.pick(0) {
                Ok(pick) => self.grant(pick),
                Err(until) => break until,
            }
        };
        self.stale = false;
    }

    /// Returns the next of the requests that dispatching has granted, in the order of the grants.
    pub fn next_grant(&mut self) -> Option<Grant> {
        self.grants.pop_front()
    }

    /// Returns when to dispatch again; `None` when nobody waits, or nobody will ever be served unless
    /// something changes.
    pub fn next_wake(&self) -> Option<Moment> {
        let wake = if self.stale { self.now } else { self.wake };
        (0 < self.waiting && wake != Moment::MAX).then_some(wake)
    }

    /// Gives tokens back that were granted at `node` at `taken_at`, to all limits that they were taken
    /// from; each as [`TokenBucket::give_back`] says.
    ///
    /// # Panics
    ///
    /// When `node` was removed.
    pub fn give_back(&mut self, node: NodeId, tokens: u64, taken_at: Moment, now: Moment) {
        let index = self.index(node);
        self.advance(now);
        let now = self.now;
        self.nodes[index as usize].turns.refund(OWN, tokens, 1);
        self.nodes[index as usize].give_back(tokens, taken_at, now);
        let mut child = index;
        while let Some(parent) = self.nodes[child as usize].parent {
            let weight = self.nodes[child as usize].weight;
            self.nodes[parent as usize].turns.refund(child, tokens, weight);
            self.nodes[parent as usize].give_back(tokens, taken_at, now);
            child = parent;
        }
        self.refresh(index);
    }

    /// Changes the rate of a limit (for a child, its ceiling) from `now` on, for those who wait as well.
    ///
    /// # Panics
    ///
    /// When `node` was removed.
    pub fn set_rate(&mut self, node: NodeId, rate: Rate, now: Moment) {
        self.change(node, now, |node, now| match &mut node.resumes_at {
            Some(resumes_at) => *resumes_at = rate,
            None => node.limit.set_rate(rate, now),
        });
    }

    /// Changes the burst of a limit from `now` on, as [`TokenBucket::set_burst`] says.
    ///
    /// # Panics
    ///
    /// When `node` was removed.
    pub fn set_burst(&mut self, node: NodeId, burst: Burst, now: Moment) {
        self.change(node, now, |node, now| node.limit.set_burst(burst, now));
    }

    /// Grants nothing at a limit, nor below it, until it is resumed.
    ///
    /// # Panics
    ///
    /// When `node` was removed.
    pub fn pause(&mut self, node: NodeId, now: Moment) {
        self.change(node, now, |node, now| {
            node.resumes_at.get_or_insert(node.limit.rate());
            node.limit.set_rate(Rate::PAUSED, now);
        });
    }

    /// Goes on at the rate before the pause, or at the one set meanwhile.
    ///
    /// # Panics
    ///
    /// When `node` was removed.
    pub fn resume(&mut self, node: NodeId, now: Moment) {
        self.change(node, now, |node, now| {
            if let Some(rate) = node.resumes_at.take() {
                node.limit.set_rate(rate, now);
            }
        });
    }

    /// Returns the rate of a limit, paused or not.
    ///
    /// # Panics
    ///
    /// When `node` was removed.
    pub fn rate(&self, node: NodeId) -> Rate {
        let node = &self.nodes[self.index(node) as usize];
        node.resumes_at.unwrap_or(node.limit.rate())
    }

    /// Returns the burst of a limit.
    ///
    /// # Panics
    ///
    /// When `node` was removed.
    pub fn burst(&self, node: NodeId) -> Burst {
        self.nodes[self.index(node) as usize].limit.burst()
    }

    /// Whether no limit from `node` to the root holds anything back.
    ///
    /// # Panics
    ///
    /// When `node` was removed.
    pub fn is_open(&self, node: NodeId) -> bool {
        let mut above = Some(self.index(node));
        while let Some(index) = above {
            let node = &self.nodes[index as usize];
            if !node.limit.rate().is_unlimited() {
                return false;
            }
            above = node.parent;
        }
        true
    }

    /// Whether the bucket of a limit is as full as a new one.
    ///
    /// # Panics
    ///
    /// When `node` was removed.
    pub fn is_full(&mut self, node: NodeId, now: Moment) -> bool {
        let index = self.index(node);
        self.advance(now);
        self.nodes[index as usize].limit.is_full(self.now)
    }

    /// Returns the number of requests that wait anywhere in the tree.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns what a limit has done, what its children did through it included.
    ///
    /// # Panics
    ///
    /// When `node` was removed.
    pub fn stats(&mut self, node: NodeId, now: Moment) -> Stats {
        let index = self.index(node);
        self.advance(now);
        let node = &mut self.nodes[index as usize];
        let mut stats = node.stats.clone();
        stats.available_tokens = node.limit.available(self.now);
        stats.debt_tokens = node.limit.debt(self.now);
        stats
    }

    #[inline]
    fn index(&self, node: NodeId) -> Member {
        let known = self.nodes.get(node.index as usize);
        let lives = known.is_some_and(|known| known.generation == node.generation);
        assert!(lives, "a limit that was removed, or is of another tree, cannot be used");
        node.index
    }

    #[inline]
    fn advance(&mut self, now: Moment) {
        self.now = self.now.max(now);
    }

    fn change(&mut self, node: NodeId, now: Moment, change: impl FnOnce(&mut Node, Moment)) {
        let index = self.index(node);
        self.advance(now);
        change(&mut self.nodes[index as usize], self.now);
        self.refresh(index);
    }

    fn for_path(&mut self, from: Member, mut act: impl FnMut(&mut Node)) {
        let mut above = Some(from);
        while let Some(index) = above {
            let node = &mut self.nodes[index as usize];
            act(node);
            above = node.parent;
        }
    }
}
