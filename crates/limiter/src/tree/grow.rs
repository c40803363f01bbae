//! How limits are added to a tree, and removed.

use super::node::Node;
use super::turns::{AHEAD_MAX, Member, OWN};
use super::{NodeId, Share, ShareError, Tree};
use crate::{Moment, Rate, TokenBucket};

/// The largest part of a rate that may be guaranteed: the rest goes in turn whatever was promised.
const GUARANTEED_MAX: f64 = AHEAD_MAX as f64 / (AHEAD_MAX + 1) as f64;

/// The largest number of limits from the root to a leaf: each request passes them all.
pub(super) const DEPTH_MAX: usize = 16;

impl Tree {
    /// Adds a limit below `parent`, its bucket full.
    ///
    /// # Errors
    ///
    /// [`ShareError`] for a share that could not be served or would starve others, and below a node that
    /// is 16 deep; the tree is then unchanged.
    ///
    /// # Panics
    ///
    /// When `parent` was removed.
    pub fn add_child(
        &mut self,
        parent: NodeId,
        share: Share,
        now: Moment,
    ) -> Result<NodeId, ShareError> {
        let above = self.index(parent);
        self.check_share(above, share)?;
        self.advance(now);
        let limit = TokenBucket::new(share.ceiling, share.burst, self.now);
        let mut node = Node::new(limit, Some(above), share.weight);
        let has_guarantee = !share.guarantee.is_paused();
        node.guarantee =
            has_guarantee.then(|| TokenBucket::new(share.guarantee, share.burst, self.now));
        let index = self.place(node);
        let parent = &mut self.nodes[above as usize];
        parent.children += 1;
        if has_guarantee {
            parent.guaranteed.push(index);
        }
        Ok(NodeId { index, generation: self.nodes[index as usize].generation })
    }

    /// Removes a limit that nobody needs any more.
    ///
    /// # Panics
    ///
    /// When it is the root, has children or waiting requests, or was removed before.
    pub fn remove(&mut self, node: NodeId) {
        let index = self.index(node);
        let node = &mut self.nodes[index as usize];
        let parent = node.parent.expect("the root of a tree cannot be removed");
        assert!(node.children == 0, "a limit with {} children cannot be removed", node.children);
        assert!(node.line.is_empty(), "a limit that requests wait for cannot be removed");
        node.generation += 1;
        let parent = &mut self.nodes[parent as usize];
        parent.children -= 1;
        parent.turns.forget(index);
        parent.guaranteed.retain(|child| *child != index);
        self.vacant.push(index);
    }

    /// Whether a limit does what a new one of this rate and burst would do.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_like_new(
        &mut self,
        node: NodeId,
        (rate, burst): (Rate, crate::Burst),
        now: Moment,
    ) -> bool {
        let is_paused = self.nodes[self.index(node) as usize].resumes_at.is_some();
        let is_as_set = !is_paused && (rate, burst) == (self.rate(node), self.burst(node));
        is_as_set && self.is_full(node, now)
    }

    fn place(&mut self, mut node: Node) -> Member {
        if let Some(index) = self.vacant.pop() {
            node.generation = self.nodes[index as usize].generation;
            self.nodes[index as usize] = node;
            return index;
        }
        self.nodes.push(node);
        let index = Member::try_from(self.nodes.len() - 1).ok().filter(|index| *index < OWN);
        index.expect("memory ends before 2^32 nodes")
    }

    fn check_share(&self, parent: Member, share: Share) -> Result<(), ShareError> {
        if share.weight == 0 {
            return Err(ShareError::ZeroWeight);
        }
        if share.guarantee.is_unlimited() {
            return Err(ShareError::UnlimitedGuarantee);
        }
        if DEPTH_MAX <= self.depth(parent) {
            return Err(ShareError::TooDeep { depth_max: DEPTH_MAX });
        }
        let rate = self.rate_at_most(parent);
        let siblings = self.nodes[parent as usize]
            .guaranteed
            .iter()
            .filter_map(|child| self.guarantee_of(*child));
        let guarantees = siblings.map(per_second).sum::<f64>() + per_second(share.guarantee);
        if !share.guarantee.is_paused() && GUARANTEED_MAX * per_second(rate) < guarantees {
            return Err(ShareError::Overcommitted { parent: rate, guarantee: share.guarantee });
        }
        Ok(())
    }

    /// The lowest rate from here to the root.
    fn rate_at_most(&self, index: Member) -> Rate {
        let mut lowest = Rate::UNLIMITED;
        let mut above = Some(index);
        while let Some(index) = above {
            let node = &self.nodes[index as usize];
            let rate = node.resumes_at.unwrap_or(node.limit.rate());
            if per_second(rate) < per_second(lowest) {
                lowest = rate;
            }
            above = node.parent;
        }
        lowest
    }

    fn guarantee_of(&self, child: Member) -> Option<Rate> {
        self.nodes[child as usize].guarantee.as_ref().map(TokenBucket::rate)
    }

    fn depth(&self, index: Member) -> usize {
        let mut depth = 1;
        let mut node = &self.nodes[index as usize];
        while let Some(parent) = node.parent {
            depth += 1;
            node = &self.nodes[parent as usize];
        }
        depth
    }
}

/// Tokens per second; close enough to add up guarantees.
fn per_second(rate: Rate) -> f64 {
    rate.tokens() as f64 * 1e9 / rate.period_nanos() as f64
}
