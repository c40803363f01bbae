//! A clock that only a test moves, for model checkers.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::Moment;
use crate::sync::Mutex;

/// A clock that stands still until it is moved.
#[derive(Clone, Debug)]
pub struct Clock {
    face: Arc<Mutex<Face>>,
    origin: Instant,
}

#[derive(Debug, Default)]
struct Face {
    now: Moment,
    sleepers: Vec<Waker>,
}

impl Clock {
    /// Returns a clock that shows the origin.
    #[expect(clippy::new_without_default, reason = "the real clock has no default either")]
    pub fn new() -> Self {
        Self { face: Arc::new(Mutex::new(Face::default())), origin: Instant::now() }
    }

    /// Moves the clock and wakes all who sleep; they look for themselves whether their time has come.
    pub fn advance(&self, time: Duration) {
        let sleepers = {
            let mut face = self.face.lock();
            face.now = face.now.saturating_add(time);
            std::mem::take(&mut face.sleepers)
        };
        sleepers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn now(&self) -> Moment {
        self.face.lock().now
    }

    pub(crate) fn instant(&self, moment: Moment) -> Instant {
        self.origin + moment.saturating_since(Moment::ZERO)
    }
}

#[derive(Debug)]
pub(crate) struct Timer;

impl Timer {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn poll(&mut self, clock: &Clock, moment: Moment, cx: &mut Context<'_>) -> Poll<()> {
        let mut face = clock.face.lock();
        if moment <= face.now {
            return Poll::Ready(());
        }
        face.sleepers.push(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn unset(&mut self) {}
}
