//! When a site may be asked: by the quota that it tells, and by what it asks for when it refuses. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::retry::{Quota, RETRY_AFTER_MAX};

/// Those who wait hear of a wait again when its end has moved by more than this.
const NEWS_MIN: Duration = Duration::from_secs(1);

/// Who may ask next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Now.
    Ask,
    /// Not before; whether that has not been said yet.
    Hold { until: Instant, is_news: bool },
    /// Those under way may use up what is left: their answers will tell.
    Answers,
}

/// When a site may be asked.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Nothing is asked before.
    held_until: Option<Instant>,
    /// As far as a wait was told.
    told_until: Option<Instant>,
    /// Questions that are not answered yet.
    unanswered: u64,
    /// The least that any answer has said to be left of its quota, and when that is over; `None` while none
    /// has. Answers come in any order, and it is unknown which of them count those not answered yet.
    left: Option<(u64, Instant)>,
}

impl Gate {
    /// Decides about a question; one that may be asked is under way from now on.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        if let Some(until) = self.held_until.filter(|&until| now < until) {
            return self.hold(until);
        }
        match self.left {
            Some((left, _)) if left.max(1) <= self.unanswered => return Next::Answers,
            Some((0, until)) if now < until => return self.hold(until),
            // Of a new window the first answer tells.
            _ => {}
        }
        self.ask();
        Next::Ask
    }

    /// Takes note that a question is under way.
    pub(super) fn ask(&mut self) {
        self.unanswered += 1;
    }

    fn hold(&mut self, until: Instant) -> Next {
        let is_news = self.told_until.is_none_or(|told| told + NEWS_MIN < until);
        if is_news {
            self.told_until = Some(until);
        }
        Next::Hold { until, is_news }
    }

    /// Takes note that a question was answered, and of what is left.
    pub(super) fn answered(&mut self, quota: Option<Quota>, now: Instant) {
        self.given_up();
        let Some(Quota { remaining, resets_in }) = quota else {
            // Where a new window's first answer tells nothing, nothing is known of it.
            self.left = self.left.filter(|&(_, until)| now < until);
            return;
        };
        self.left = Some(match self.left.filter(|&(_, until)| now < until) {
            Some((left, until)) => (left.min(remaining), until),
            None => (remaining, now + resets_in.min(RETRY_AFTER_MAX)),
        });
    }

    /// Takes note that no answer will come.
    pub(super) fn given_up(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
    }

    /// Leaves the site alone for so long, at most [`RETRY_AFTER_MAX`].
    pub(super) fn leave_alone(&mut self, wait: Duration, now: Instant) {
        let until = now + wait.min(RETRY_AFTER_MAX);
        self.held_until = self.held_until.max(Some(until));
    }

    /// How long the site is to be left alone.
    pub(super) fn left_alone(&self, now: Instant) -> Duration {
        self.held_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn quota(remaining: u64) -> Option<Quota> {
        Some(Quota { remaining, resets_in: SECOND })
    }

    #[test]
    fn a_wait_is_news_once() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        gate.leave_alone(7 * SECOND, now);
        let hold = |is_news| Next::Hold { until: now + 7 * SECOND, is_news };
        assert_eq!([hold(true), hold(false)], [gate.next(now), gate.next(now)]);
        gate.leave_alone(2 * SECOND, now);
        assert_eq!(hold(false), gate.next(now), "it asked for more before");
        assert_eq!(7 * SECOND, gate.left_alone(now));
        assert_eq!(Next::Ask, gate.next(now + 7 * SECOND));
    }

    #[test]
    fn what_is_under_way_counts() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        assert_eq!([Next::Ask; 3], [(); 3].map(|()| gate.next(now)));
        gate.answered(quota(2), now);
        assert_eq!(Next::Answers, gate.next(now), "two are under way, and there is room for two");
        gate.answered(quota(3), now);
        assert_eq!([Next::Ask, Next::Answers], [(); 2].map(|()| gate.next(now)), "that is older");
    }

    #[test]
    fn an_answer_without_a_quota_has_cost_none() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        assert_eq!(Next::Ask, gate.next(now));
        gate.answered(quota(1), now);
        for _ in 0..3 {
            assert_eq!(Next::Ask, gate.next(now));
            gate.answered(None, now);
        }
    }

    #[test]
    fn of_a_new_window_the_first_answer_tells() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        assert_eq!(Next::Ask, gate.next(now));
        gate.answered(quota(0), now);
        let later = now + SECOND;
        assert_eq!(Next::Hold { until: later, is_news: true }, gate.next(now));
        assert_eq!([Next::Ask, Next::Answers], [(); 2].map(|()| gate.next(later)));
        gate.given_up();
        assert_eq!(Next::Ask, gate.next(later), "nobody else will tell");
    }

    #[test]
    fn who_told_a_quota_once_and_then_no_more_is_asked_many_at_once() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        assert_eq!(Next::Ask, gate.next(now));
        gate.answered(quota(0), now);
        let later = now + SECOND;
        assert_eq!([Next::Ask, Next::Answers], [(); 2].map(|()| gate.next(later)));
        gate.answered(None, later);
        assert_eq!([Next::Ask; 9], [(); 9].map(|()| gate.next(later)));
    }

    proptest! {
        /// A server counts a question at any instant between its way there and its answer.
        #[test]
        fn no_quota_is_overstepped(
            quota in 1_u64..20,
            askers in 1_usize..12,
            order in prop::collection::vec((0_u8..3, any::<prop::sample::Index>()), 0..200),
        ) {
            let (mut gate, now) = (Gate::default(), Instant::now());
            // The first one, alone, learns of the quota.
            assert_eq!(Next::Ask, gate.next(now));
            let mut counted = 1;
            gate.answered(Some(Quota { remaining: quota - counted, resets_in: SECOND }), now);
            let (mut on_way, mut answers) = (0, Vec::new());
            for (step, which) in order {
                match step {
                    0 if on_way + answers.len() < askers => {
                        on_way += usize::from(gate.next(now) == Next::Ask);
                    }
                    1 if 0 < on_way => {
                        on_way -= 1;
                        counted += 1;
                        prop_assert!(counted <= quota, "one too many");
                        answers.push(quota - counted);
                    }
                    2 if !answers.is_empty() => {
                        let remaining = answers.swap_remove(which.index(answers.len()));
                        gate.answered(Some(Quota { remaining, resets_in: SECOND }), now);
                    }
                    _ => {}
                }
            }
        }
    }
}
