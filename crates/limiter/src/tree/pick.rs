//! Whose request is granted next, and what granting it changes.

use super::node::Waiting;
use super::turns::{Member, OWN};
use super::{Grant, NodeId, Ticket, Tree};
use crate::{Moment, NotUntil};

/// The request that is next below some node, and that all limits below that node can serve now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    ticket: Ticket,
    tokens: u64,
    /// Links passed from the leaf upwards so far.
    links: u32,
    /// Which of them, from the leaf upwards, a guarantee pays for: a bit each, `DEPTH_MAX` at most.
    guarantees: u32,
}

/// Nothing can be served below some node before this moment.
type Until = Moment;

impl Tree {
    /// Finds the request to be served next by the node `index`, its own limit included.
    ///
    /// The node sticks to a request that lacks its tokens until it has them: a large request is not
    /// starved by small ones behind it.
    pub(super) fn pick(&mut self, index: Member) -> Result<Pick, Until> {
        let now = self.now;
        self.nodes[index as usize].turns.release(now);
        let (guaranteed, guaranteed_at) = self.pick_guaranteed(index);
        let pick = match guaranteed {
            Some(pick) => self.pick_overdue(index).unwrap_or(pick),
            None => {
                let in_turn = self.pick_in_turn(index);
                in_turn.map_err(|until| until.min(guaranteed_at))?
            }
        };
        let ready_at = self.nodes[index as usize].limit.ready_at(pick.tokens, now);
        if now < ready_at {
            return Err(ready_at.min(guaranteed_at));
        }
        Ok(pick)
    }

    /// The first request in the order of turns that its own limits can serve.
    fn pick_in_turn(&mut self, index: Member) -> Result<Pick, Until> {
        // Each turn of the loop blocks one of the ready members.
        while let Some(member) = self.nodes[index as usize].turns.first() {
            match self.pick_member(index, member) {
                Ok(pick) => return Ok(pick),
                Err(until) => self.nodes[index as usize].turns.block(member, until),
            }
        }
        Err(self.nodes[index as usize].turns.unblocked_at())
    }

    /// The request that is next in turn, if guarantees have gone before it for long enough.
    fn pick_overdue(&mut self, index: Member) -> Option<Pick> {
        if !self.nodes[index as usize].turns.is_overdue(0) {
            return None;
        }
        let pick = self.pick_in_turn(index).ok()?;
        self.nodes[index as usize].turns.is_overdue(pick.tokens).then_some(pick)
    }

    fn pick_member(&mut self, index: Member, member: Member) -> Result<Pick, Until> {
        if member != OWN {
            let pick = self.pick(member)?;
            return Ok(Pick { links: pick.links + 1, ..pick });
        }
        let (number, Waiting { tokens, .. }) =
            self.nodes[index as usize].head().expect("an empty line leaves the turns");
        Ok(Pick { ticket: Ticket { index, number }, tokens, links: 0, guarantees: 0 })
    }

    /// The request of a child that is within its guarantee; else when there may be one.
    fn pick_guaranteed(&mut self, index: Member) -> (Option<Pick>, Until) {
        let now = self.now;
        let mut earliest = Moment::MAX;
        for rank in 0..self.nodes[index as usize].guaranteed.len() {
            let node = &self.nodes[index as usize];
            let child = node.guaranteed[rank];
            if !node.turns.is_ready(child) {
                continue;
            }
            match self.pick_member(index, child) {
                Err(until) => self.nodes[index as usize].turns.block(child, until),
                Ok(pick) => {
                    let guarantee = self.nodes[child as usize].guarantee.as_mut();
                    let ready_at =
                        guarantee.map_or(Moment::MAX, |bucket| bucket.ready_at(pick.tokens, now));
                    if ready_at <= now {
                        let guarantees = pick.guarantees | 1 << (pick.links - 1);
                        return (Some(Pick { guarantees, ..pick }), Moment::MAX);
                    }
                    let limit = &mut self.nodes[index as usize].limit;
                    earliest = earliest.min(ready_at.max(limit.ready_at(pick.tokens, now)));
                }
            }
        }
        (None, earliest)
    }

    /// Takes a picked request out of its line and its tokens out of all limits up to the root.
    pub(super) fn grant(&mut self, pick: Pick) {
        let Pick { ticket, tokens, guarantees, .. } = pick;
        let leaf = &mut self.nodes[ticket.index as usize];
        let waiting = leaf.leave_line(ticket.number).expect("a picked request waits");
        self.leave_waiting(ticket.index, waiting);
        let wait = self.now.saturating_since(waiting.since);
        self.for_path(ticket.index, |node| {
            node.stats.waited += 1;
            node.stats.waits.record(wait);
        });
        self.take(ticket.index, tokens, guarantees);
        self.leave_turns(ticket.index);
        self.grants.push_back(Grant { ticket, tokens, taken_at: self.now });
    }

    /// Takes tokens out of all limits from `index` to the root, each of which has them.
    pub(super) fn take(&mut self, index: Member, tokens: u64, guarantees: u32) {
        self.nodes[index as usize].serve_own(tokens);
        let mut child = index;
        let mut guarantees = guarantees;
        while let Some(parent) = self.nodes[child as usize].parent {
            if guarantees & 1 == 0 {
                let weight = self.nodes[child as usize].weight;
                self.nodes[parent as usize].turns.charge(child, tokens, weight);
            } else {
                self.charge_guarantee(parent, child, tokens);
            }
            self.nodes[parent as usize].take(tokens);
            guarantees >>= 1;
            child = parent;
        }
    }

    /// What a guarantee pays for does not count for the turns: it comes before the fair share, not out
    /// of it, but for the part that keeps others from starving. The one served goes to the end, so that
    /// guarantees that exceed the rate share it.
    fn charge_guarantee(&mut self, parent: Member, child: Member, tokens: u64) {
        let guarantee = self.nodes[child as usize].guarantee.as_mut();
        guarantee.expect("only a guarantee picks by guarantee").take(tokens);
        let guaranteed = &mut self.nodes[parent as usize].guaranteed;
        guaranteed.retain(|other| *other != child);
        guaranteed.push(child);
        self.nodes[parent as usize].turns.overtake(child, tokens);
    }

    /// Takes tokens for a newcomer whom those who wait would let pass.
    pub(super) fn try_take_in_turn(
        &mut self,
        node: NodeId,
        tokens: u64,
    ) -> Result<Moment, NotUntil> {
        let behind = self.ready_behind_all(node.index, tokens);
        let ticket = self.enqueue(node, tokens, self.now);
        self.dispatch(self.now);
        let granted = self.grants.iter().position(|grant| grant.ticket == ticket);
        if let Some(grant) = granted.and_then(|position| self.grants.remove(position)) {
            return Ok(grant.taken_at);
        }
        self.cancel_unasked(ticket);
        // All that can be granted has been: nobody need look again before the next wake.
        self.dispatch(self.now);
        Err(NotUntil::new(behind))
    }

    /// Takes back a request that nobody made: a canceled one would be counted.
    fn cancel_unasked(&mut self, ticket: Ticket) {
        self.cancel(ticket);
        self.nodes[ticket.index as usize].stats.canceled -= 1;
    }

    /// When one who came behind all that wait now would be served at the latest, if nobody else came.
    pub(super) fn ready_behind_all(&mut self, index: Member, tokens: u64) -> Moment {
        let now = self.now;
        let mut ready_at = Moment::ZERO;
        self.for_path(index, |node| {
            let ahead = node.stats.waiting_tokens;
            ready_at = ready_at.max(node.limit.ready_behind(ahead, tokens, now));
        });
        ready_at
    }

    pub(super) fn leave_waiting(&mut self, index: Member, waiting: Waiting) {
        self.waiting -= 1;
        self.for_path(index, |node| {
            node.stats.waiting -= 1;
            node.stats.waiting_tokens = node.stats.waiting_tokens.saturating_sub(waiting.tokens);
        });
    }

    /// Lets all nodes that nobody waits below any more leave the turns of their parents.
    fn leave_turns(&mut self, from: Member) {
        let mut index = from;
        while let (true, Some(parent)) =
            (self.nodes[index as usize].turns.is_idle(), self.nodes[index as usize].parent)
        {
            self.nodes[parent as usize].turns.leave(index);
            index = parent;
        }
    }

    /// Something at a node has changed: whether it, and those above, can be served is asked anew.
    pub(super) fn refresh(&mut self, from: Member) {
        self.stale = true;
        let mut index = from;
        while let Some(parent) = self.nodes[index as usize].parent {
            let is_idle = self.nodes[index as usize].turns.is_idle();
            let turns = &mut self.nodes[parent as usize].turns;
            if is_idle {
                turns.leave(index);
            } else {
                turns.join(index);
            }
            index = parent;
        }
    }
}
