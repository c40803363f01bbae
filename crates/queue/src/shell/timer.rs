//! The task that ends jobs which were queued for too long.

use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use super::inner::Inner;
use super::state::Timer;

/// Ends jobs when their time-outs are over; ends when no queued job has one. It does not keep the
/// queue alive.
pub(super) async fn keep_time<K>(inner: Weak<Inner<K>>)
where
    K: Clone + Eq + Hash + Send + 'static,
{
    while let Some(deadline) = inner.upgrade().and_then(|inner| inner.expire()) {
        let Some(runtime) = inner.upgrade().map(|inner| inner.runtime.clone()) else { return };
        let mut sleep = pin!(runtime.sleep_until(deadline));
        poll_fn(|cx| {
            if sleep.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let Some(inner) = inner.upgrade() else { return Poll::Ready(()) };
            match &mut inner.state.lock().timer {
                Timer::Until(until, waker) if *until == deadline => {
                    *waker = Some(cx.waker().clone());
                    Poll::Pending
                }
                // There is an earlier deadline by now.
                _ => Poll::Ready(()),
            }
        })
        .await;
    }
}

impl<K: Clone + Eq + Hash + Send + 'static> Inner<K> {
    /// Ends what was queued for too long, as every transition does first; returns when to come again, if
    /// there is any need.
    fn expire(self: &Arc<Self>) -> Option<Duration> {
        self.transition(|state, _, _| {
            let deadline = state.scheduler.next_deadline();
            state.timer = deadline.map_or(Timer::Off, |deadline| Timer::Until(deadline, None));
            deadline
        })
    }
}
