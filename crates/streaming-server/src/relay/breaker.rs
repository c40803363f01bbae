//! Whether an upstream is worth asking: it is left alone for a while when it fails again and again.

use std::time::Duration;

/// So many failures in a row are no accident.
const FAILURES_MAX: u32 = 5;
/// How long it is left alone first, and at most; each time twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A trial of which nothing was heard for so long is no longer waited for: another request tries.
const TRIAL_MAX: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is asked.
    Closed { failures: u32 },
    /// It is left alone until then.
    Open { until: Duration, pause: Duration },
    /// One request tries whether it is back.
    Trial { since: Duration, pause: Duration },
}

/// A circuit breaker (Nygard, *Release It!*, 2007). Pure: `now` is the time since any fixed instant.
#[derive(Debug)]
pub(super) struct Breaker(State);

impl Breaker {
    pub(super) fn new() -> Self {
        Self(State::Closed { failures: 0 })
    }

    /// Whether a request may be sent.
    pub(super) fn admits(&self, now: Duration) -> bool {
        match self.0 {
            State::Closed { .. } => true,
            State::Open { until, .. } => until <= now,
            State::Trial { since, .. } => since + TRIAL_MAX <= now,
        }
    }

    /// A request is sent. After a pause it is the one that tries; no other is admitted beside it.
    pub(super) fn send(&mut self, now: Duration) {
        if let State::Open { pause, .. } | State::Trial { pause, .. } = self.0 {
            self.0 = State::Trial { since: now, pause };
        }
    }

    /// The request that was sent then is over. If it was the one that tries, and nothing is known of it,
    /// the next one does: its client has gone, or there was no room for the answer.
    pub(super) fn leave(&mut self, sent: Duration) {
        if let State::Trial { since, pause } = self.0
            && since == sent
        {
            self.0 = State::Open { until: since, pause };
        }
    }

    /// It answered as it should.
    pub(super) fn succeed(&mut self) {
        self.0 = State::Closed { failures: 0 };
    }

    /// It did not. Returns whether it is left alone from now on and was not before.
    pub(super) fn fail(&mut self, now: Duration) -> bool {
        let (next, is_news) = match self.0 {
            State::Closed { failures } if failures + 1 < FAILURES_MAX => {
                (State::Closed { failures: failures + 1 }, false)
            }
            State::Closed { .. } => {
                (State::Open { until: now + PAUSE_MIN, pause: PAUSE_MIN }, true)
            }
            State::Trial { pause, .. } => {
                let pause = (pause * 2).min(PAUSE_MAX);
                (State::Open { until: now + pause, pause }, false)
            }
            // Sent before it opened.
            open @ State::Open { .. } => (open, false),
        };
        self.0 = next;
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn open_at(now: Duration) -> Breaker {
        let mut breaker = Breaker::new();
        let news: Vec<_> = (0..FAILURES_MAX).map(|_| breaker.fail(now)).collect();
        assert_eq!([false, false, false, false, true], news[..]);
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_does_not() {
        let mut breaker = Breaker::new();
        for _ in 0..10 {
            (1..FAILURES_MAX).for_each(|_| assert!(!breaker.fail(SECOND)));
            breaker.succeed();
        }
        assert!(breaker.admits(SECOND));
        assert!(!open_at(SECOND).admits(SECOND));
    }

    #[test]
    fn after_the_pause_one_request_tries() {
        let mut breaker = open_at(SECOND);
        assert!(!breaker.admits(SECOND * 2 - Duration::from_nanos(1)));
        assert!(breaker.admits(SECOND * 2));
        breaker.send(SECOND * 2);
        assert!(!breaker.admits(SECOND * 3));
        breaker.succeed();
        assert!(breaker.admits(SECOND * 3));
    }

    #[test]
    fn pauses_grow_up_to_a_limit_and_a_lost_trial_is_forgotten() {
        let mut breaker = open_at(Duration::ZERO);
        let mut now = SECOND;
        for pause_s in [2, 4, 8, 16, 30, 30] {
            breaker.send(now);
            assert!(!breaker.fail(now));
            now += SECOND * pause_s;
            assert!(!breaker.admits(now - Duration::from_nanos(1)) && breaker.admits(now));
        }
        breaker.send(now);
        assert!(breaker.admits(now + TRIAL_MAX));
        breaker.leave(SECOND);
        assert!(!breaker.admits(now));
        breaker.leave(now);
        assert!(breaker.admits(now));
        breaker.send(now);
        assert!(!breaker.fail(now) && !breaker.admits(now + SECOND * 29));
    }
}
