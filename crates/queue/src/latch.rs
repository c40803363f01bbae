//! Something that happens once, and that many may wait for.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::arena::Arena;
use crate::sync::Mutex;

/// Is set once; whoever waits for it is woken, whoever comes later finds it set.
#[derive(Debug)]
pub(crate) struct Latch<T> {
    state: Mutex<LatchState<T>>,
}

#[derive(Debug)]
struct LatchState<T> {
    value: Option<T>,
    /// Who waits; emptied when the latch is set.
    waiters: Arena<Waker>,
}

impl<T: Copy> Latch<T> {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(LatchState { value: None, waiters: Arena::new() }) }
    }

    /// Sets the latch, unless it is set; wakes with no lock held.
    pub(crate) fn set(&self, value: T) {
        let mut state = self.state.lock();
        if state.value.is_some() {
            return;
        }
        state.value = Some(value);
        let waiters = std::mem::replace(&mut state.waiters, Arena::new());
        drop(state);
        waiters.into_values().for_each(Waker::wake);
    }

    pub(crate) fn get(&self) -> Option<T> {
        self.state.lock().value
    }

    /// Ready with the value, or wakes the task later; `place` is where its waker is kept.
    pub(crate) fn poll(&self, place: &mut Option<u32>, cx: &Context<'_>) -> Poll<T> {
        let mut state = self.state.lock();
        if let Some(value) = state.value {
            *place = None;
            return Poll::Ready(value);
        }
        let Some(index) = *place else {
            *place = Some(state.waiters.insert(cx.waker().clone()));
            return Poll::Pending;
        };
        let waker = state.waiters.at_mut(index);
        if !waker.will_wake(cx.waker()) {
            let old = std::mem::replace(waker, cx.waker().clone());
            // The last waker of a task may drop all that the task holds, such as another wait.
            drop(state);
            drop(old);
        }
        Poll::Pending
    }

    /// Takes the waker at `place` out again.
    pub(crate) fn leave(&self, place: &mut Option<u32>) {
        let Some(index) = place.take() else { return };
        let mut state = self.state.lock();
        if state.value.is_none() {
            let waker = state.waiters.remove(index);
            drop(state);
            drop(waker);
        }
    }
}

/// What has a latch inside.
pub(crate) trait HasLatch {
    type Value: Copy;

    fn latch(&self) -> &Latch<Self::Value>;
}

impl<T: Copy> HasLatch for Arc<Latch<T>> {
    type Value = T;

    fn latch(&self) -> &Latch<T> {
        self
    }
}

/// Waits for a latch. Dropping it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Wait<H: HasLatch> {
    pub(crate) holder: H,
    place: Option<u32>,
}

impl<H: HasLatch> Wait<H> {
    pub(crate) fn new(holder: H) -> Self {
        Self { holder, place: None }
    }
}

impl<H: HasLatch + Unpin> Future for Wait<H> {
    type Output = H::Value;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<H::Value> {
        let wait = &mut *self;
        wait.holder.latch().poll(&mut wait.place, cx)
    }
}

impl<H: HasLatch> Drop for Wait<H> {
    fn drop(&mut self) {
        self.holder.latch().leave(&mut self.place);
    }
}
