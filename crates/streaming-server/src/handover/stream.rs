//! What waits for one client.

use std::task::{Context, Poll, Waker};

use super::{Credit, Piece, PieceKind};
use crate::sync::{Mutex, MutexGuard};

/// Why a stream was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The runner panicked.
    Panicked,
    /// The runner took no step for too long.
    Stuck,
    /// The server stops and would not wait longer.
    Draining,
    /// The runner could not be started.
    Absent,
}

/// Tokens that no poll has taken yet, in order.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    text: Vec<u8>,
    text_at: usize,
    pieces: Vec<Piece>,
    piece_at: usize,
    /// When the last step came, or a comment was sent.
    pub(crate) last_ns: u64,
    /// When the step of the oldest piece came.
    pub(crate) oldest_ns: u64,
    /// It has been silent for so long that a comment is due.
    pub(crate) comment_due: bool,
    pub(crate) failure: Option<Failure>,
    waker: Option<Waker>,
    is_awaited: bool,
}

impl Pending {
    /// Whether there is anything to be said.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_drained() && self.failure.is_none()
    }

    /// Whether all pieces were taken.
    pub(crate) fn is_drained(&self) -> bool {
        self.pieces.len() == self.piece_at
    }

    /// Takes the first piece.
    pub(crate) fn next(&mut self) -> Option<(Piece, &[u8])> {
        let piece = *self.pieces.get(self.piece_at)?;
        self.piece_at += 1;
        let from = self.text_at;
        self.text_at += piece.text_bytes as usize;
        Some((piece, &self.text[from..self.text_at]))
    }

    /// Makes room; call it when no text of a taken piece is in use any more.
    pub(crate) fn settle(&mut self) {
        if self.pieces.len() == self.piece_at {
            self.text.clear();
            self.pieces.clear();
            (self.text_at, self.piece_at) = (0, 0);
        } else if self.pieces.len() / 2 < self.piece_at {
            // What is left is less than what goes: each piece is moved once at most, on average.
            self.text.drain(..std::mem::take(&mut self.text_at));
            self.pieces.drain(..std::mem::take(&mut self.piece_at));
        }
    }

    fn wake(&mut self) {
        if std::mem::take(&mut self.is_awaited)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }
}

/// One client's stream, between the outlet's task and the connection's.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) credit: Credit,
    /// Which start of the runner it belongs to.
    pub(crate) epoch: u64,
    pending: Mutex<Pending>,
}

impl Stream {
    /// A stream that holds up to `backlog_bytes_max`, in use since `now_ns`.
    pub(crate) fn new(backlog_bytes_max: u64, epoch: u64, now_ns: u64) -> Self {
        let pending = Pending { last_ns: now_ns, ..Pending::default() };
        Self { credit: Credit::new(backlog_bytes_max), epoch, pending: Mutex::new(pending) }
    }

    /// Adds what a step has for it.
    pub(super) fn deliver(&self, text: &[u8], pieces: &[Piece], emitted_ns: u64) {
        let mut pending = self.pending.lock();
        let (pieces, failure) = match pieces.split_last() {
            Some((Piece { kind: PieceKind::Failure(failure), .. }, pieces)) => {
                (pieces, Some(*failure))
            }
            _ => (pieces, None),
        };
        pending.failure = pending.failure.or(failure);
        if pending.is_drained() {
            pending.settle();
            pending.oldest_ns = emitted_ns;
        }
        pending.last_ns = emitted_ns;
        pending.text.extend_from_slice(text);
        pending.pieces.extend_from_slice(pieces);
        pending.wake();
    }

    /// Ends it from outside, unless it has ended.
    pub(crate) fn fail(&self, failure: Failure) {
        let mut pending = self.pending.lock();
        pending.failure.get_or_insert(failure);
        pending.wake();
    }

    /// Asks for a comment if it has been silent since before `since_ns`.
    pub(crate) fn remind(&self, since_ns: u64, now_ns: u64) {
        let mut pending = self.pending.lock();
        if pending.last_ns < since_ns && pending.is_drained() {
            pending.last_ns = now_ns;
            pending.comment_due = true;
            pending.wake();
        }
    }

    /// What waits, once something does or a comment is due.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<MutexGuard<'_, Pending>> {
        let mut pending = self.pending.lock();
        if !pending.is_empty() || pending.comment_due {
            return Poll::Ready(pending);
        }
        if !pending.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            pending.waker = Some(cx.waker().clone());
        }
        pending.is_awaited = true;
        Poll::Pending
    }
}
