//! A stream of events, rendered when the connection has room.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::frame::FRAME_BYTES;
use super::{Frame, FramePool};
use crate::handover::{Failure, Pending, Piece, PieceKind};
use crate::render::{Renderer, error_of};
use crate::serve::{Connection, Generation, Sent};
use crate::wire::ApiError;

/// The events of one request.
#[derive(Debug)]
pub(crate) struct StreamBody {
    generation: Generation,
    renderer: Renderer,
    frames: Arc<FramePool>,
    connection: Arc<Connection>,
    /// More waits than a frame holds: others have their turn first.
    yields: bool,
    done: bool,
}

impl StreamBody {
    pub(crate) fn new(
        generation: Generation,
        renderer: Renderer,
        frames: Arc<FramePool>,
        connection: Arc<Connection>,
    ) -> Self {
        Self { generation, renderer, frames, connection, yields: false, done: false }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// What its client is told in the place of the rest.
    pub(super) fn failure(&self, error: &ApiError) -> Vec<u8> {
        let mut out = Vec::new();
        self.renderer.failure(&mut out, error);
        out
    }

    /// All that waits, up to a frame's size; one event for each token.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        while !self.done {
            if std::mem::take(&mut self.yields) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let stream = Arc::clone(self.generation.stream());
            let Poll::Ready(mut pending) = stream.poll(cx) else { return Poll::Pending };
            let mut frame = self.frames.get();
            let out = frame.bytes_mut();
            let sent = render(&mut self.renderer, &mut pending, out);
            self.yields = !pending.is_drained();
            let failure = pending.failure.filter(|_| !self.yields);
            let comments = std::mem::take(&mut pending.comment_due);
            drop(pending);
            self.note(&sent);
            self.end(failure, out);
            if out.is_empty() && comments {
                self.renderer.comment(out);
            }
            // Nothing, where the format has no comments.
            if !out.is_empty() {
                return Poll::Ready(Some(frame));
            }
        }
        Poll::Ready(None)
    }

    fn note(&mut self, sent: &Sent) {
        if 0 < sent.cost_bytes {
            self.generation.note_sent(sent);
            self.connection.note_emitted(sent.emitted_ns);
        }
    }

    /// Writes the end, if this is it.
    fn end(&mut self, failure: Option<Failure>, out: &mut Vec<u8>) {
        if self.generation.has_ended() {
            self.renderer.end(out);
        } else if let Some(failure) = failure {
            self.renderer.failure(out, &error_of(failure));
            self.generation.note_failure();
        } else {
            return;
        }
        self.done = true;
    }
}

/// Renders what waits, up to a frame's size.
fn render(renderer: &mut Renderer, pending: &mut Pending, out: &mut Vec<u8>) -> Sent {
    let mut sent = Sent { emitted_ns: pending.oldest_ns, ..Sent::default() };
    while out.len() < FRAME_BYTES {
        let Some((piece, text)) = pending.next() else { break };
        sent.cost_bytes += Piece::cost_bytes(text.len());
        sent.tokens += u64::from(piece.tokens);
        match piece.kind {
            PieceKind::Text => renderer.text(out, &piece, text),
            PieceKind::Finish(reason) => {
                renderer.finish(out, &piece, reason);
                sent.choices_ended += 1;
                sent.reason = Some(reason);
            }
            PieceKind::Failure(_) => {}
        }
    }
    pending.settle();
    sent
}
