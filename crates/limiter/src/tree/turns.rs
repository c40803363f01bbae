//! Who is next among members that share something by weight.

use std::collections::{BTreeMap, BTreeSet};

use crate::Moment;

/// One of those who share: a child by its index, or [`OWN`].
pub(super) type Member = u32;

/// The line of those who wait at the shared node itself.
pub(super) const OWN: Member = u32::MAX;

/// How many tokens may be served ahead of the turns (see [`Turns::overtake`]) for each token of the request
/// that is next: one in 64 goes in turn then, enough that nobody starves, and little to take from those
/// who were promised to come first.
pub(super) const AHEAD_MAX: u64 = 63;

/// Fractions of a token in a tag: weights up to 2³² divide to less than a token.
const TAG_BITS: u32 = 32;

/// Turns among members that have requests waiting, by weight.
///
/// Each member has a tag: what it has been served so far, divided by its weight. The member of the least
/// tag is next. Members that come back after an absence begin at the tag of the last one served, so
/// being idle saves up nothing. Two members that both wait all the time are served in proportion to
/// their weights, to within one request of each.
///
/// Members that cannot be served before some moment are set aside until then, and lose no rank by it.
///
/// # Source
///
/// Start-time fair queueing (Goyal, Vin and Cheng, 1996). It needs no quantum to choose, and a request
/// of any size costs one step, where deficit round robin takes `size / quantum` rounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    ready: BTreeSet<(u128, Member)>,
    blocked: BTreeSet<(Moment, Member)>,
    seats: BTreeMap<Member, Seat>,
    /// The tag of the last member served.
    tag_served: u128,
    /// What was served ahead of the turns, less what turns since then have made up for.
    ahead_tokens: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seat {
    tag: u128,
    place: Place,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Place {
    /// Wants nothing.
    #[default]
    Away,
    Ready,
    BlockedUntil(Moment),
}

impl Turns {
    /// A member has something to be served, now or later.
    pub(super) fn join(&mut self, member: Member) {
        let seat = self.seats.entry(member).or_default();
        match seat.place {
            Place::Ready => return,
            Place::BlockedUntil(moment) => drop(self.blocked.remove(&(moment, member))),
            Place::Away => {}
        }
        seat.tag = seat.tag.max(self.tag_served);
        seat.place = Place::Ready;
        self.ready.insert((seat.tag, member));
    }

    /// A member wants nothing any more.
    pub(super) fn leave(&mut self, member: Member) {
        if let Some(seat) = self.seats.get_mut(&member) {
            match seat.place {
                Place::Ready => drop(self.ready.remove(&(seat.tag, member))),
                Place::BlockedUntil(moment) => drop(self.blocked.remove(&(moment, member))),
                Place::Away => {}
            }
            seat.place = Place::Away;
        }
    }

    /// A member is gone for good.
    pub(super) fn forget(&mut self, member: Member) {
        self.leave(member);
        self.seats.remove(&member);
    }

    /// A ready member cannot be served before `until`.
    pub(super) fn block(&mut self, member: Member, until: Moment) {
        self.leave(member);
        self.blocked.insert((until, member));
        self.seats.entry(member).or_default().place = Place::BlockedUntil(until);
    }

    /// Brings those back that were blocked until now.
    pub(super) fn release(&mut self, now: Moment) {
        while let Some((until, member)) = self.blocked.first().copied() {
            if now < until {
                break;
            }
            self.join(member);
        }
    }

    /// The ready member whose turn it is.
    pub(super) fn first(&self) -> Option<Member> {
        self.ready.first().map(|(_, member)| *member)
    }

    pub(super) fn is_ready(&self, member: Member) -> bool {
        self.seats.get(&member).is_some_and(|seat| seat.place == Place::Ready)
    }

    /// When the first blocked member can be served; [`Moment::MAX`] if there is none.
    pub(super) fn unblocked_at(&self) -> Moment {
        self.blocked.first().map_or(Moment::MAX, |(until, _)| *until)
    }

    /// Whether nobody wants anything.
    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.blocked.is_empty()
    }

    /// Counts what a member was served ahead of its turn: not for its rank, but for how long others that
    /// are ready have waited for theirs.
    pub(super) fn overtake(&mut self, member: Member, tokens: u64) {
        let is_waited_for = self.ready.iter().any(|(_, other)| *other != member);
        self.ahead_tokens =
            if is_waited_for { self.ahead_tokens.saturating_add(tokens) } else { 0 };
    }

    /// Whether so much was served ahead of the turns that a request of `tokens` must wait no longer.
    pub(super) fn is_overdue(&self, tokens: u64) -> bool {
        0 < self.ahead_tokens && tokens.saturating_mul(AHEAD_MAX) <= self.ahead_tokens
    }

    /// Counts what a member was served in turn.
    pub(super) fn charge(&mut self, member: Member, tokens: u64, weight: u32) {
        let made_up_for = tokens.saturating_mul(AHEAD_MAX);
        self.ahead_tokens = self.ahead_tokens.saturating_sub(made_up_for);
        let tag_served = &mut self.tag_served;
        Self::retag(&mut self.seats, &mut self.ready, member, |tag| {
            let start = tag.max(*tag_served);
            *tag_served = start;
            start.saturating_add(share(tokens, weight))
        });
    }

    /// Takes back what a member was served and did not use.
    pub(super) fn refund(&mut self, member: Member, tokens: u64, weight: u32) {
        let least = self.tag_served;
        Self::retag(&mut self.seats, &mut self.ready, member, |tag| {
            tag.saturating_sub(share(tokens, weight)).max(least.min(tag))
        });
    }

    fn retag(
        seats: &mut BTreeMap<Member, Seat>,
        ready: &mut BTreeSet<(u128, Member)>,
        member: Member,
        change: impl FnOnce(u128) -> u128,
    ) {
        let seat = seats.entry(member).or_default();
        let tag = change(seat.tag);
        if seat.place == Place::Ready {
            ready.remove(&(seat.tag, member));
            ready.insert((tag, member));
        }
        seat.tag = tag;
    }
}

fn share(tokens: u64, weight: u32) -> u128 {
    (u128::from(tokens) << TAG_BITS) / u128::from(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves requests of these sizes and weights and returns how often each member had its turn.
    #[track_caller]
    fn serve(members: &[(u64, u32)], turns_taken: usize) -> Vec<u64> {
        let mut turns = Turns::default();
        let mut served = vec![0; members.len()];
        for member in 0..members.len() {
            turns.join(member as Member);
        }
        for _ in 0..turns_taken {
            let member = turns.first().unwrap();
            let (tokens, weight) = members[member as usize];
            turns.charge(member, tokens, weight);
            served[member as usize] += tokens;
        }
        served
    }

    #[test]
    fn members_are_served_by_weight() {
        assert_eq!(vec![100, 200, 400], serve(&[(1, 1), (1, 2), (1, 4)], 700));
    }

    #[test]
    fn sizes_do_not_matter() {
        assert_eq!(vec![9000, 9000], serve(&[(1000, 1), (9, 1)], 1009));
    }

    #[test]
    fn absence_saves_nothing_up() {
        let mut turns = Turns::default();
        turns.join(0);
        for _ in 0..1000 {
            turns.charge(0, 1, 1);
        }
        turns.join(1);
        let mut first = 0;
        for _ in 0..10 {
            let member = turns.first().unwrap();
            first += u64::from(member == 0);
            turns.charge(member, 1, 1);
        }
        assert!((4..=6).contains(&first), "{first}");
    }

    #[test]
    fn a_blocked_member_keeps_its_rank() {
        let mut turns = Turns::default();
        turns.join(0);
        turns.join(1);
        turns.charge(1, 1, 1);
        let until = Moment::from_nanos(5);
        turns.block(0, until);
        assert_eq!((Some(1), until), (turns.first(), turns.unblocked_at()));
        turns.release(Moment::from_nanos(4));
        assert_eq!(Some(1), turns.first());
        turns.release(until);
        assert_eq!((Some(0), Moment::MAX), (turns.first(), turns.unblocked_at()));
    }

    #[test]
    fn unused_service_does_not_count() {
        let mut turns = Turns::default();
        turns.join(0);
        turns.join(1);
        turns.charge(0, 1000, 1);
        turns.refund(0, 999, 1);
        turns.charge(1, 2, 1);
        assert_eq!(Some(0), turns.first());
    }
}
