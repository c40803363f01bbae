//! What a key may still start before it is another's turn: deficit round robin.

use std::num::NonZeroU32;

/// A key's account in the ring of its class.
///
/// Deficit round robin (Shreedhar and Varghese, 1995) in the form of RFC 8290, 4.2: a key in credit
/// may start a job, whatever it costs; it pays afterwards, and while it owes it sits out the rounds
/// that repay the debt. Those rounds are counted at once instead of visited one by one, so that a
/// turn costs the same with any quantum.
///
/// Starts divided by weight of two keys that stay in one ring differ by less than one quantum and
/// one job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    /// The class whose ring the key is in, or was in last.
    class: u8,
    /// The round in which it may start next.
    pub(super) round: u64,
    /// Who came to the end of the line earlier goes first in a round.
    pub(super) stamp: u64,
    /// What it may still start in that round; never 0.
    credit: u64,
}

impl Account {
    /// The account of a key that comes for the first time: at the end of the present round.
    pub(super) fn new(class: u8, rounds: &Rounds, stamp: u64, allowance: u64) -> Self {
        Self { class, round: rounds.present(class), stamp, credit: allowance }
    }

    /// Comes into the ring of `class`, or back into it: nothing was saved up meanwhile, and the
    /// rounds that it owes there it owes here.
    pub(super) fn enter(&mut self, class: u8, rounds: &Rounds, allowance: u64) {
        let present = rounds.present(self.class);
        if self.round < present {
            self.credit = allowance;
        }
        let owed = self.round.saturating_sub(present);
        self.round = rounds.present(class).saturating_add(owed);
        self.class = class;
    }

    /// Pays for a start; at the end of the credit the turn ends, and `stamp` is the end of the line.
    pub(super) fn pay(&mut self, cost: u64, allowance: u64, stamp: u64) {
        if cost < self.credit {
            self.credit -= cost;
            return;
        }
        let owed = cost - self.credit;
        let rounds = owed / allowance + 1;
        self.credit = allowance - owed % allowance;
        self.round = self.round.saturating_add(rounds);
        self.stamp = stamp;
    }

    /// A changed weight holds from now on; credit of the old one is not kept.
    pub(super) fn limit_credit(&mut self, allowance: u64) {
        self.credit = self.credit.min(allowance);
    }
}

/// What a key of this weight may start per round.
pub(super) fn allowance(quantum: u64, weight: NonZeroU32) -> u64 {
    quantum.max(1).saturating_mul(u64::from(weight.get()))
}

/// The present round in the ring of each class.
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

    #[track_caller]
    fn check(costs: &[u64], round: u64, credit: u64) {
        let mut account = Account::new(0, &Rounds::default(), 0, ALLOWANCE);
        for cost in costs {
            account.pay(*cost, ALLOWANCE, 1);
        }
        assert_eq!((round, credit), (account.round, account.credit), "{costs:?}");
    }

    #[test]
    fn a_turn_lasts_as_long_as_the_credit() {
        check(&[3], 0, 7);
        check(&[3, 6], 0, 1);
        check(&[3, 7], 1, 10);
    }

    #[test]
    fn debts_are_repaid_by_sitting_out() {
        check(&[11], 1, 9);
        check(&[10, 20], 3, 10);
        check(&[35], 3, 5);
        check(&[35, 5], 4, 10);
    }

    #[test]
    fn debts_are_taken_along_and_savings_are_not() {
        let mut rounds = Rounds::default();
        let mut account = Account::new(1, &rounds, 0, ALLOWANCE);
        account.pay(25, ALLOWANCE, 1);
        rounds.advance(0, 100);
        account.enter(0, &rounds, ALLOWANCE);
        assert_eq!((102, 5), (account.round, account.credit));

        rounds.advance(0, 200);
        account.enter(0, &rounds, ALLOWANCE);
        assert_eq!((200, ALLOWANCE), (account.round, account.credit));
    }

    #[test]
    fn absurd_costs_do_not_overflow() {
        let mut account = Account::new(0, &Rounds::default(), 0, 1);
        for _ in 0..3 {
            account.pay(u64::MAX, 1, 1);
        }
        assert_eq!(u64::MAX, account.round);
        assert_eq!(u64::MAX, allowance(u64::MAX, NonZeroU32::MAX));
    }
}
