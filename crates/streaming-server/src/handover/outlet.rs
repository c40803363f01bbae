//! Steps for one I/O thread, handed over with one wake.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::Stream;
use crate::arena::{Arena, Id};
use crate::runner::FinishReason;
use crate::sync::{Mutex, MutexGuard};

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PieceKind {
    /// The text of one token, or of several of which the first were held back.
    Text,
    /// The end of a choice.
    Finish(FinishReason),
    /// The runner failed; the last of its stream.
    Failure(super::Failure),
}

/// One event of a stream, but for its text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    /// When it was due, and when its step produced it, in nanoseconds since the server's start.
    pub(crate) due_ns: u64,
    pub(crate) emitted_ns: u64,
    pub(crate) text_bytes: u32,
    /// How many tokens it accounts for.
    pub(crate) tokens: u32,
    /// Logarithm of its probability; NaN where it is not known.
    pub(crate) logprob: f32,
    pub(crate) choice: u16,
    pub(crate) kind: PieceKind,
}

impl Piece {
    /// What a piece counts against the backlog.
    pub(crate) fn cost_bytes(text_bytes: usize) -> u64 {
        (size_of::<Self>() + text_bytes) as u64
    }
}

/// Pieces that follow each other for the same stream.
#[derive(Clone, Copy, Debug)]
struct Run {
    address: Id,
    pieces: u32,
    text_bytes: u32,
    /// When the step produced the first of them.
    emitted_ns: u64,
}

/// The tokens of whole steps, flat: their text, the pieces it falls into, and whose they are.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    text: Vec<u8>,
    pieces: Vec<Piece>,
    runs: Vec<Run>,
}

impl Steps {
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.pieces.clear();
        self.runs.clear();
    }

    /// Where text of the next piece is to be written.
    pub(crate) fn text_mut(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Adds a piece, whose text are the last bytes written to [`text_mut`](Self::text_mut).
    pub(crate) fn push(&mut self, address: Id, piece: Piece) {
        self.pieces.push(piece);
        if let Some(run) = self.runs.last_mut().filter(|run| run.address == address) {
            run.pieces += 1;
            run.text_bytes += piece.text_bytes;
            return;
        }
        let Piece { text_bytes, emitted_ns, .. } = piece;
        self.runs.push(Run { address, pieces: 1, text_bytes, emitted_ns });
    }

    fn append(&mut self, other: &mut Self) {
        self.text.append(&mut other.text);
        self.pieces.append(&mut other.pieces);
        self.runs.append(&mut other.runs);
    }
}

#[derive(Debug, Default)]
struct Waiting {
    steps: Steps,
    waker: Option<Waker>,
}

/// The streams of one I/O thread, and the tokens on their way to them.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    /// What the steps hold is bounded by the streams' credits.
    waiting: Mutex<Waiting>,
    /// Locked by the I/O side alone.
    streams: Mutex<Arena<Arc<Stream>>>,
}

impl Outlet {
    /// The runner's side: hands steps over and leaves an empty buffer. Wakes the other side once.
    pub(crate) fn publish(&self, steps: &mut Steps) {
        let mut waiting = self.waiting.lock();
        if waiting.steps.is_empty() {
            std::mem::swap(&mut waiting.steps, steps);
        } else {
            waiting.steps.append(steps);
        }
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The I/O side: takes all that was handed over into `steps`, which must be empty.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, steps: &mut Steps) -> Poll<()> {
        let mut waiting = self.waiting.lock();
        if waiting.steps.is_empty() {
            waiting.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        std::mem::swap(&mut waiting.steps, steps);
        Poll::Ready(())
    }

    /// Gives each stream what is its own, and wakes it. What is for streams that are gone is dropped.
    pub(crate) fn deliver(&self, steps: &mut Steps) {
        let streams = self.streams.lock();
        let (mut text_at, mut piece_at) = (0, 0);
        for run in &steps.runs {
            let text = &steps.text[text_at..][..run.text_bytes as usize];
            let pieces = &steps.pieces[piece_at..][..run.pieces as usize];
            text_at += text.len();
            piece_at += pieces.len();
            if let Some(stream) = streams.get(run.address) {
                stream.deliver(text, pieces, run.emitted_ns);
            }
        }
        drop(streams);
        steps.clear();
    }

    /// Gives a stream a place.
    pub(crate) fn add(&self, stream: Arc<Stream>) -> Id {
        self.streams.lock().insert(stream)
    }

    /// Takes a stream's place away: what is still on its way to it is dropped.
    pub(crate) fn remove(&self, address: Id) {
        self.streams.lock().remove(address);
    }

    /// All streams that have a place.
    pub(crate) fn streams(&self) -> MutexGuard<'_, Arena<Arc<Stream>>> {
        self.streams.lock()
    }
}
