//! A timer that many waits in turn share.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Id};
use tokio::task;
use tokio::time::{Sleep, sleep_until};

use crate::seam;

/// Tells when a wait has taken too long.
///
/// Nearly every wait is over long before its limit, so the timer is not moved for each: it is left to go
/// off early, once per limit at most, and then set to the end of the wait that is under way. Until it goes
/// off it may keep the memory of a task that has ended, and wake one that waits for something else. It
/// keeps a task's waker until another one waits.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// The timer and its runtime: those who wait may come from another one, and outlive this one.
    timer: Option<(Id, Pin<Box<Sleep>>)>,
    /// Whom it wakes, since the last time it was asked: a task, and by which waker.
    wakes: Option<(task::Id, Waker)>,
    /// The present, where the next wait begins at once.
    now: Option<Instant>,
    /// The end of the wait under way; `None` where there is none, or the clock does not reach that far.
    due: Option<Instant>,
    is_waiting: bool,
}

impl Alarm {
    /// Ends the wait under way.
    pub(super) fn rest(&mut self) {
        self.rest_until(None);
    }

    /// Ends the wait under way; the next one begins at `now`, if that is given.
    pub(super) fn rest_until(&mut self, now: Option<Instant>) {
        self.is_waiting = false;
        self.now = now;
    }

    /// Ready once the wait takes longer than `limit`; the first call begins it.
    pub(super) fn poll(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_waiting {
            self.is_waiting = true;
            let now = self.now.take().unwrap_or_else(seam::now);
            self.due = now.checked_add(limit);
            if self.is_set(now, cx.waker()) {
                return Poll::Pending;
            }
            self.timer = self.timer.take().filter(|(home, _)| *home == Handle::current().id());
        }
        let Some(due) = self.due else { return Poll::Pending };
        if !self.wakes_this(cx.waker()) {
            self.wakes = task::try_id().map(|task| (task, cx.waker().clone()));
        }
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

    /// Whether the timer will go off in time and wake this task: then it need not be asked, which takes
    /// longer than all the rest. It has not gone off before its deadline, so what it was told holds; and
    /// the same task is on the same runtime.
    fn is_set(&self, now: Instant, waker: &Waker) -> bool {
        let (Some((_, timer)), Some(due)) = (&self.timer, self.due) else { return false };
        let deadline = timer.deadline().into_std();
        now < deadline && deadline <= due && self.wakes_this(waker)
    }

    fn wakes_this(&self, waker: &Waker) -> bool {
        let wakes = self.wakes.as_ref().filter(|(task, _)| task::try_id() == Some(*task));
        wakes.is_some_and(|(_, wakes)| wakes.will_wake(waker))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{Instant, advance, timeout};

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

    /// The same of a task, which the timer need not be told of again.
    #[tokio::test(start_paused = true)]
    async fn a_task_that_waits_again_has_all_of_the_limit() {
        let task = tokio::spawn(async {
            let mut alarm = Alarm::default();
            begin(&mut alarm, SECOND).await;
            advance(SECOND / 2).await;
            assert_eq!(SECOND, wait(&mut alarm, SECOND).await);
            assert_eq!(SECOND / 4, wait(&mut alarm, SECOND / 4).await);
            begin(&mut alarm, SECOND).await;
            advance(2 * SECOND).await;
            assert_eq!(SECOND, wait(&mut alarm, SECOND).await);
            begin(&mut alarm, SECOND).await;
            assert_eq!(SECOND / 4, wait(&mut alarm, SECOND / 4).await);
        });
        timeout(60 * SECOND, task).await.expect("each wait ends").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn another_task_that_waits_is_woken() {
        let first = tokio::spawn(async {
            let mut alarm = Alarm::default();
            begin(&mut alarm, SECOND).await;
            alarm
        });
        let mut alarm = first.await.unwrap();
        let second = tokio::spawn(async move { wait(&mut alarm, 2 * SECOND).await });
        let waited = timeout(60 * SECOND, second).await.expect("it is woken");
        assert_eq!(2 * SECOND, waited.unwrap());
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
