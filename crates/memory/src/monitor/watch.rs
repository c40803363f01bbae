//! The latest level, for those who wait for it to change: with or without a runtime.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::level::Level;
use crate::sync::Mutex;

/// Where the monitor writes the level.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    level: Level,
    /// Counts the changes, so that each watch knows what it has seen.
    version: u64,
    closed: bool,
    /// At most one waker per watch.
    wakers: BTreeMap<u64, Waker>,
    next_watch: u64,
}

impl Board {
    pub(super) fn level(&self) -> Level {
        self.0.lock().level
    }

    pub(super) fn post(&self, level: Level) {
        self.change(|state| {
            state.level = level;
            state.version += 1;
        });
    }

    pub(super) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.lock();
        change(&mut state);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_values().for_each(Waker::wake);
    }
}

/// A receiver of the levels of a [`Monitor`](super::Monitor): always the latest, none twice.
///
/// Changes that follow each other quickly are seen as one.
#[derive(Debug)]
pub struct Watch {
    board: Arc<Board>,
    id: u64,
    seen: u64,
}

impl Watch {
    pub(super) fn new(board: Arc<Board>) -> Self {
        let mut state = board.0.lock();
        let (id, seen) = (state.next_watch, state.version);
        state.next_watch += 1;
        drop(state);
        Self { board, id, seen }
    }

    /// Returns the level at this instant.
    pub fn level(&self) -> Level {
        self.board.level()
    }

    /// Waits until the level is another than when this watch last looked, and returns it.
    ///
    /// # Errors
    ///
    /// [`Closed`] once the monitor is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: the change is there for the next call.
    pub async fn changed(&mut self) -> Result<Level, Closed> {
        poll_fn(|cx| self.poll_changed(cx)).await
    }

    /// Like [`changed`](Self::changed), but blocks the thread.
    ///
    /// # Errors
    ///
    /// Those of [`changed`](Self::changed).
    pub fn changed_blocking(&mut self) -> Result<Level, Closed> {
        crate::block::block_on(self.changed())
    }

    fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<Result<Level, Closed>> {
        let mut state = self.board.0.lock();
        if self.seen != state.version {
            self.seen = state.version;
            return Poll::Ready(Ok(state.level));
        }
        if state.closed {
            return Poll::Ready(Err(Closed));
        }
        let outdated = state.wakers.insert(self.id, cx.waker().clone());
        // The last waker of a task may drop all that the task holds, such as another watch.
        drop(state);
        drop(outdated);
        Poll::Pending
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let waker = self.board.0.lock().wakers.remove(&self.id);
        drop(waker);
    }
}

/// The monitor is gone; no level will follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the memory monitor has stopped")
    }
}

impl Error for Closed {}
