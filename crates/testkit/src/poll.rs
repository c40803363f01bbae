//! Futures polled by hand, one step at a time.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A future that a test polls itself: nothing else runs it, and how often it was woken is counted.
///
/// # Examples
///
/// ```
/// use testkit::Polled;
///
/// let (sender, receiver) = tokio::sync::oneshot::channel();
/// let mut received = Polled::new(receiver);
/// received.assert_pending();
/// sender.send(7).expect("the receiver is there");
/// assert_eq!(1, received.wakes());
/// assert_eq!(Ok(7), received.assert_ready());
/// ```
pub struct Polled<F> {
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
}

#[derive(Debug, Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl<F: Future> Polled<F> {
    /// Takes a future and does not poll it yet.
    pub fn new(future: F) -> Self {
        Self { future: Box::pin(future), wakes: Arc::default() }
    }

    /// Polls once.
    pub fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Polls once and returns the output.
    ///
    /// # Panics
    ///
    /// When the future is still pending.
    #[track_caller]
    pub fn assert_ready(&mut self) -> F::Output {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("the future is pending, woken {} times", self.wakes()),
        }
    }

    /// Polls once.
    ///
    /// # Panics
    ///
    /// When the future is ready.
    #[track_caller]
    pub fn assert_pending(&mut self) {
        assert!(self.poll().is_pending(), "the future is ready");
    }

    /// Returns how often the future was woken so far.
    #[must_use]
    pub fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::Relaxed)
    }
}

impl<F> fmt::Debug for Polled<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Polled").field("wakes", &self.wakes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "the future is pending, woken 0 times")]
    fn a_pending_future_is_not_ready() {
        Polled::new(std::future::pending::<()>()).assert_ready();
    }

    #[test]
    #[should_panic(expected = "the future is ready")]
    fn a_ready_future_is_not_pending() {
        Polled::new(async {}).assert_pending();
    }
}
