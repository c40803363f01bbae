//! What all handles of one tree of limiters share: the tree under a lock, and who drives its timer.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::seam::{Clock, Timer};
use crate::sync::{AtomicBool, Ordering, QuickMutex};
use crate::waiters::{Slot, Waiters};
use crate::{Grant, Moment, NodeId, NotUntil, Ticket, Tree};

/// The tree, its clock, and the tasks that wait.
///
/// No task is spawned and there is one timer for the whole tree: one of those who wait, the leader,
/// holds it and dispatches for all when it fires. The leader changes when it is granted or dropped: the
/// next is then woken to set a timer of its own.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    state: QuickMutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tree: Tree,
    waiters: Waiters<Ticket, Grant>,
    leader: Option<Ticket>,
    /// What the leader's timer is set for, or will be when the leader, being woken, looks.
    timer_set_for: Moment,
    /// Each node's door, open while no limit from there to the root holds anything back.
    doors: HashMap<NodeId, Door>,
}

/// Says without a lock that a limiter is unlimited.
///
/// Relaxed is enough: the door guards no data, and whoever learns of a change of rate through any
/// synchronization sees the door as that change has left it.
#[derive(Clone, Debug)]
pub(crate) struct Door(Arc<AtomicBool>);

impl Door {
    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A request of a task: made when first polled, taken back when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) ticket: Option<Ticket>,
    timer: Timer,
}

impl Shared {
    pub(crate) fn new(tree: Tree, clock: Clock) -> Self {
        let state = State {
            tree,
            waiters: Waiters::new(),
            leader: None,
            timer_set_for: Moment::MAX,
            doors: HashMap::new(),
        };
        Self { clock, state: QuickMutex::new(state) }
    }

    pub(crate) fn try_take(
        &self,
        node: NodeId,
        tokens: u64,
        now: Moment,
    ) -> Result<Moment, NotUntil> {
        let mut state = self.state.lock();
        if state.waiters.is_empty() {
            return state.tree.try_take(node, tokens, now);
        }
        let (taken, woken) = state.try_take_in_turn(node, tokens, now);
        drop(state);
        wake(woken);
        taken
    }

    /// Changes or reads the tree, grants what the change allows, and wakes whom it concerns.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Tree, Moment) -> R) -> R {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let result = act(&mut state.tree, now);
        state.tree.dispatch(now);
        let woken = state.settle();
        drop(state);
        wake(woken);
        result
    }

    /// Like [`Shared::with`], for changes of `node` that may open or close its door and those below.
    pub(crate) fn change(&self, node: NodeId, act: impl FnOnce(&mut Tree, NodeId, Moment)) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        act(&mut state.tree, node, now);
        state.set_doors(node);
        state.tree.dispatch(now);
        let woken = state.settle();
        drop(state);
        wake(woken);
    }

    /// Makes a door for a node.
    pub(crate) fn add_door(&self, node: NodeId) -> Door {
        let mut state = self.state.lock();
        let door = Door(Arc::new(AtomicBool::new(state.tree.is_open(node))));
        state.doors.insert(node, door.clone());
        door
    }

    /// Removes a node and its door.
    pub(crate) fn remove(&self, node: NodeId) {
        let mut state = self.state.lock();
        state.doors.remove(&node);
        state.tree.remove(node);
    }

    /// Polls a claim for `tokens`; ready once they are taken.
    pub(crate) fn poll(
        &self,
        claim: &mut Claim,
        (node, tokens): (NodeId, u64),
        cx: &mut Context<'_>,
    ) -> Poll<Moment> {
        // Ends, because each turn but the first begins at a later moment than the tree waited for.
        loop {
            let now = self.clock.now();
            let mut state = self.state.lock();
            let ticket = *claim.ticket.get_or_insert_with(|| state.tree.enqueue(node, tokens, now));
            let outdated = state.waiters.wait(ticket, cx);
            let (granted, woken) = state.poll(ticket, now);
            let timer_set_for = (state.leader == Some(ticket)).then_some(state.timer_set_for);
            drop(state);
            drop(outdated);
            wake(woken);
            if let Some(grant) = granted {
                claim.ticket = None;
                claim.timer.unset();
                return Poll::Ready(grant.taken_at);
            }
            match timer_set_for.filter(|moment| *moment != Moment::MAX) {
                None => claim.timer.unset(),
                Some(moment) => {
                    if claim.timer.poll(&self.clock, moment, cx).is_ready() {
                        continue;
                    }
                }
            }
            return Poll::Pending;
        }
    }

    /// Takes a claim back: a waiting one leaves the line, a granted one gives its tokens back.
    pub(crate) fn cancel(&self, claim: &mut Claim, node: NodeId) {
        let Some(ticket) = claim.ticket.take() else {
            return;
        };
        self.forget(ticket, node);
    }

    fn forget(&self, ticket: Ticket, node: NodeId) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let left = state.waiters.leave(ticket);
        match &left {
            Some(Slot::Granted(Grant { tokens, taken_at, .. })) => {
                state.tree.give_back(node, *tokens, *taken_at, now);
            }
            Some(Slot::Waiting(_)) | None => drop(state.tree.cancel(ticket)),
        }
        if state.leader == Some(ticket) {
            state.leader = None;
        }
        state.tree.dispatch(now);
        let woken = state.settle();
        drop(state);
        drop(left);
        wake(woken);
    }
}

impl State {
    /// Takes tokens where others wait, and returns whom to wake.
    #[cold]
    fn try_take_in_turn(
        &mut self,
        node: NodeId,
        tokens: u64,
        now: Moment,
    ) -> (Result<Moment, NotUntil>, Vec<Waker>) {
        let taken = self.tree.try_take(node, tokens, now);
        (taken, self.settle())
    }

    /// Dispatches, and returns what the ticket has been granted.
    fn poll(&mut self, ticket: Ticket, now: Moment) -> (Option<Grant>, Vec<Waker>) {
        self.tree.dispatch(now);
        let mut woken = self.hand_out();
        let granted = self.waiters.take(ticket);
        // One that has been granted must not lead: it would never look again.
        if granted.is_none() && self.leader.is_none_or(|leader| leader == ticket) {
            self.leader = Some(ticket);
            self.timer_set_for = self.tree.next_wake().unwrap_or(Moment::MAX);
        }
        self.appoint(&mut woken);
        (granted, woken)
    }

    /// Hands out the grants, sees to it that somebody leads, and returns whom to wake.
    fn settle(&mut self) -> Vec<Waker> {
        let mut woken = self.hand_out();
        self.appoint(&mut woken);
        woken
    }

    fn hand_out(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        while let Some(grant) = self.tree.next_grant() {
            if self.leader == Some(grant.ticket) {
                self.leader = None;
            }
            woken.extend(self.waiters.grant(grant.ticket, grant));
        }
        woken
    }

    fn appoint(&mut self, woken: &mut Vec<Waker>) {
        let next_wake = self.tree.next_wake().unwrap_or(Moment::MAX);
        let leads = self.leader.is_some();
        if leads && self.timer_set_for <= next_wake {
            return;
        }
        self.leader = self.leader.or_else(|| self.waiters.first_waiting());
        self.timer_set_for = next_wake;
        woken.extend(self.leader.and_then(|leader| self.waiters.waker(leader)));
    }

    /// Sets the doors that a change of `node` concerns.
    fn set_doors(&self, node: NodeId) {
        // What is below is open only if this is: where this stays as it was, all of them do.
        if self.doors[&node].is_open() == self.tree.is_open(node) {
            return;
        }
        for (node, Door(is_open)) in &self.doors {
            is_open.store(self.tree.is_open(*node), Ordering::Relaxed);
        }
    }
}

impl Claim {
    pub(crate) fn new() -> Self {
        Self { ticket: None, timer: Timer::new() }
    }
}

/// Wakes tasks; never under the lock, because a waker may run anything.
fn wake(woken: Vec<Waker>) {
    woken.into_iter().for_each(Waker::wake);
}
