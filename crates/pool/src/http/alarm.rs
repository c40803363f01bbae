//! A timer that many waits in turn share.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Id};
use tokio::time::{Sleep, sleep_until};

use crate::seam;

/// Tells when a wait has taken too long.
///
/// Nearly every wait is over long before its limit, so the timer is not moved for each: it is left to go
/// off early, once per limit at most, and then set to the end of the wait that is under way. Until it goes
/// off it may keep the memory of a task that has ended, and wake one that waits for something else.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// The timer and its runtime: those who wait may come from another one, and outlive this one.
    timer: Option<(Id, Pin<Box<Sleep>>)>,
    /// The end of the wait under way; `None` where there is none, or the clock does not reach that far.
    due: Option<Instant>,
    is_waiting: bool,
}

impl Alarm {
    /// Ends the wait under way.
    pub(super) fn rest(&mut self) {
        self.is_waiting = false;
    }

    /// Ready once the wait takes longer than `limit`; the first call begins it.
    pub(super) fn poll(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_waiting {
            self.is_waiting = true;
            self.due = seam::now().checked_add(limit);
            self.timer = self.timer.take().filter(|(home, _)| *home == Handle::current().id());
        }
        let Some(due) = self.due else { return Poll::Pending };
        let new = || (Handle::current().id(), Box::pin(sleep_until(due.into())));
        let (_, timer) = self.timer.get_or_insert_with(new);
        if due < timer.deadline().into_std() {
            timer.as_mut().reset(due.into());
        }
        ready!(timer.as_mut().poll(cx));
        if timer.deadline().into_std() < due {
            timer.as_mut().reset(due.into());
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{Instant, advance};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn wait(alarm: &mut Alarm, limit: Duration) -> Duration {
        let start = Instant::now();
        alarm.rest();
        poll_fn(|cx| alarm.poll(limit, cx)).await;
        start.elapsed()
    }

    /// Begins a wait that is over before its limit.
    async fn begin(alarm: &mut Alarm, limit: Duration) {
        alarm.rest();
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll(limit, cx))).await.is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_all_of_its_limit() {
        let mut alarm = Alarm::default();
        begin(&mut alarm, SECOND).await;
        advance(SECOND / 2).await;
        assert_eq!(SECOND, wait(&mut alarm, SECOND).await);
        assert_eq!(2 * SECOND, wait(&mut alarm, 2 * SECOND).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_wait_ends_first() {
        let mut alarm = Alarm::default();
        begin(&mut alarm, 10 * SECOND).await;
        assert_eq!(SECOND, wait(&mut alarm, SECOND).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_beyond_the_clock_is_none() {
        begin(&mut Alarm::default(), Duration::MAX).await;
    }

    #[test]
    fn a_timer_does_not_outlive_its_runtime() {
        let runtime =
            || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut alarm = Alarm::default();
        runtime().block_on(begin(&mut alarm, 60 * SECOND));
        runtime().block_on(begin(&mut alarm, 60 * SECOND));
    }
}
