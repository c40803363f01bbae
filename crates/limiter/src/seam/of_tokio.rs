//! Tokio's clock and timer, so that `tokio::time::pause` works.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::Moment;

/// The longest sleep; longer waits are slept in pieces, because far instants overflow.
const SLEEP_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A clock whose origin is the instant of its making.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now() }
    }

    #[inline]
    pub(crate) fn now(&self) -> Moment {
        Moment::ZERO.saturating_add(self.origin.elapsed())
    }

    /// The instant of a moment of the past or present.
    pub(crate) fn instant(&self, moment: Moment) -> Instant {
        self.origin + moment.saturating_since(Moment::ZERO)
    }
}

/// A timer that is set only when it is polled. Holds memory only while it is set.
#[derive(Debug)]
pub(crate) struct Timer {
    set: Option<(Moment, Pin<Box<Sleep>>)>,
    /// Whose timer it is: the wait may go on on another runtime, when this one stands still or has ended.
    home: Option<Id>,
}

impl Timer {
    pub(crate) fn new() -> Self {
        Self { set: None, home: None }
    }

    /// Ready when it was set for `moment` and that has come, or after [`SLEEP_MAX`].
    pub(crate) fn poll(&mut self, clock: &Clock, moment: Moment, cx: &mut Context<'_>) -> Poll<()> {
        let here = Some(Handle::current().id());
        if self.home != here {
            (self.set, self.home) = (None, here);
        }
        if self.set.as_ref().is_none_or(|(set_for, _)| *set_for != moment) {
            let wait = moment.saturating_since(clock.now()).min(SLEEP_MAX);
            let wake = Instant::now() + wait;
            match &mut self.set {
                Some((set_for, sleep)) => {
                    *set_for = moment;
                    sleep.as_mut().reset(wake);
                }
                None => self.set = Some((moment, Box::pin(sleep_until(wake)))),
            }
        }
        let polled = self.set.as_mut().map_or(Poll::Pending, |(_, sleep)| sleep.as_mut().poll(cx));
        if polled.is_ready() {
            self.set = None;
        }
        polled
    }

    pub(crate) fn unset(&mut self) {
        self.set = None;
    }
}
