//! What a key may start in a round, and in which round it is its turn: deficit round robin.

use std::num::NonZeroU32;

/// A key's account in the ring of its class.
///
/// Deficit round robin (Shreedhar and Varghese, 1995): each round gives each key its allowance, a key
/// starts its next job in the round in which it can pay for it, and keeps its turn while it can pay.
/// Rounds in which it can not are counted instead of visited, so that a turn costs the same whatever
/// the allowance. A key pays before the start, so nothing is owed when it goes, and it can be
/// forgotten; and as it comes back with nothing, its next turn is in a later round than the last that
/// was served, so coming and going gains nothing on those who wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    /// The class whose ring the key is in, or was in last.
    class: u8,
    /// The round of its present or last turn.
    round: u64,
    /// What is left of its allowances up to that round.
    credit: u64,
    /// Its place in that round: who came to the end of the line earlier goes first.
    stamp: u64,
    /// Its place in the round of its next turn.
    next_stamp: u64,
}

/// A turn of a key: when it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) round: u64,
    pub(super) stamp: u64,
}

impl Account {
    /// The account of a key that comes for the first time, at the end of the line.
    pub(super) fn new(class: u8, rounds: &Rounds, stamp: u64) -> Self {
        Self { class, round: rounds.present(class), credit: 0, stamp, next_stamp: stamp }
    }

    /// Comes into the ring of `class`, or back into it, with nothing saved up; but a turn that is not
    /// over goes on.
    pub(super) fn enter(&mut self, class: u8, rounds: &Rounds) {
        let present = rounds.present(class);
        if self.class != class || self.round < present {
            self.class = class;
            self.round = present;
            self.credit = 0;
        }
    }

    /// When the key can pay for a job of this cost; not before the present round.
    pub(super) fn turn(&self, cost: u64, allowance: u64, rounds: &Rounds) -> Turn {
        let lacking = cost.saturating_sub(self.credit).div_ceil(allowance);
        let round = self.round.saturating_add(lacking).max(rounds.present(self.class));
        // Where rounds have run out, a key that cannot pay stays in the last one, but not in its place.
        let is_same_turn = lacking == 0 && round == self.round;
        let stamp = if is_same_turn { self.stamp } else { self.next_stamp };
        Turn { round, stamp }
    }

    /// Takes what the rounds up to this one give.
    pub(super) fn collect(&mut self, round: u64, allowance: u64) {
        if self.round < round {
            let given = (round - self.round).saturating_mul(allowance);
            self.credit = self.credit.saturating_add(given);
            self.round = round;
            self.stamp = self.next_stamp;
        }
    }

    /// Pays for a start in this round; `stamp` is the end of the line.
    pub(super) fn pay(&mut self, round: u64, cost: u64, allowance: u64, stamp: u64) {
        self.collect(round, allowance);
        // Less is there only where the number of the round no longer fits 64 bits.
        self.credit = self.credit.saturating_sub(cost);
        self.next_stamp = stamp;
    }

    /// Gets back what a job was paid for and did not cost.
    pub(super) fn refund(&mut self, unspent: u64) {
        self.credit = self.credit.saturating_add(unspent);
    }
}

/// What a round gives to a key of this weight.
pub(super) fn allowance(quantum: u64, weight: NonZeroU32) -> u64 {
    quantum.max(1).saturating_mul(u64::from(weight.get()))
}

/// The present round in the ring of each class: that of the latest start.
#[derive(Debug, Default)]
pub(super) struct Rounds(Vec<u64>);

impl Rounds {
    pub(super) fn present(&self, class: u8) -> u64 {
        self.0.get(usize::from(class)).copied().unwrap_or(0)
    }

    /// A key started a job in this round: earlier ones are over.
    pub(super) fn advance(&mut self, class: u8, round: u64) {
        let class = usize::from(class);
        if self.0.len() <= class {
            self.0.resize(class + 1, 0);
        }
        self.0[class] = round;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: u64 = 10;

    /// Each cost with the round in which it is paid for.
    #[track_caller]
    fn check(costs_and_rounds: &[(u64, u64)]) {
        let mut rounds = Rounds::default();
        let mut account = Account::new(0, &rounds, 0);
        for (cost, round) in costs_and_rounds {
            assert_eq!(*round, account.turn(*cost, ALLOWANCE, &rounds).round);
            account.pay(*round, *cost, ALLOWANCE, 1);
            rounds.advance(0, *round);
        }
    }

    #[test]
    fn a_turn_lasts_as_long_as_the_credit() {
        check(&[(3, 1), (6, 1), (1, 1), (1, 2)]);
        check(&[(3, 1), (8, 2), (9, 2), (1, 3)]);
    }

    #[test]
    fn a_large_job_waits_until_it_is_paid_for() {
        check(&[(10, 1), (10, 2)]);
        check(&[(35, 4), (5, 4), (6, 5)]);
    }

    #[test]
    fn the_end_of_a_turn_is_the_end_of_the_line() {
        let rounds = Rounds::default();
        let mut account = Account::new(0, &rounds, 7);
        account.pay(1, 6, ALLOWANCE, 8);
        assert_eq!(Turn { round: 1, stamp: 7 }, account.turn(4, ALLOWANCE, &rounds));
        assert_eq!(Turn { round: 2, stamp: 8 }, account.turn(5, ALLOWANCE, &rounds));
    }

    #[test]
    fn nothing_is_saved_up_while_away() {
        let mut rounds = Rounds::default();
        let mut account = Account::new(1, &rounds, 0);
        account.pay(1, 1, ALLOWANCE, 1);
        rounds.advance(1, 1);
        account.enter(1, &rounds);
        assert_eq!(1, account.turn(9, ALLOWANCE, &rounds).round, "its turn is not over");

        rounds.advance(1, 100);
        account.enter(1, &rounds);
        assert_eq!(101, account.turn(9, ALLOWANCE, &rounds).round);

        rounds.advance(0, 50);
        account.enter(0, &rounds);
        assert_eq!(51, account.turn(9, ALLOWANCE, &rounds).round);
    }

    /// A key waits for its turn with a large job, and another, small one comes before that.
    #[test]
    fn what_was_given_for_one_job_pays_for_others() {
        let mut rounds = Rounds::default();
        let mut account = Account::new(0, &rounds, 0);
        assert_eq!(9, account.turn(90, ALLOWANCE, &rounds).round);
        rounds.advance(0, 4);
        assert_eq!(4, account.turn(5, ALLOWANCE, &rounds).round, "rounds do not go back");
        account.pay(4, 5, ALLOWANCE, 1);
        assert_eq!(4, account.turn(35, ALLOWANCE, &rounds).round);
        assert_eq!(10, account.turn(90, ALLOWANCE, &rounds).round);
    }

    #[test]
    fn absurd_costs_do_not_overflow() {
        let mut rounds = Rounds::default();
        let mut account = Account::new(0, &rounds, 0);
        for _ in 0..3 {
            let turn = account.turn(u64::MAX, 1, &rounds);
            account.pay(turn.round, u64::MAX, 1, 1);
            rounds.advance(0, turn.round);
        }
        assert_eq!(u64::MAX, rounds.present(0));
        assert_eq!(u64::MAX, allowance(u64::MAX, NonZeroU32::MAX));
    }

    #[test]
    fn keys_take_turns_job_by_job_where_rounds_have_run_out() {
        let mut rounds = Rounds::default();
        rounds.advance(0, u64::MAX);
        let mut accounts = [0, 1].map(|stamp| Account::new(0, &rounds, stamp));
        let mut turns = Vec::new();
        for stamp in 2..8 {
            let turn = |at: &usize| accounts[*at].turn(1, ALLOWANCE, &rounds).stamp;
            let first = [0, 1].into_iter().min_by_key(turn).expect("there are two");
            accounts[first].pay(u64::MAX, 1, ALLOWANCE, stamp);
            turns.push(first);
        }
        assert_eq!([0, 1, 0, 1, 0, 1], turns[..]);
    }
}
