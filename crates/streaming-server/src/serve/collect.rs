//! Replies that are not streamed.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use memory::Reservation;

use super::Core;
use super::generation::{Generation, Sent};
use crate::body::{Body, ReplyBody, Running};
use crate::handover::{Failure, Pending, Piece, PieceKind};
use crate::render::{Front, Whole, error_of};
use crate::seam::unix_seconds;
use crate::wire::{ApiError, Usage};

/// By so much the reservation of a reply grows.
const STEP_BYTES: u64 = 64 << 10;

/// What is known of a reply before its text.
pub(super) struct Told<'a> {
    pub(super) id: String,
    pub(super) model: &'a str,
    pub(super) usage: Usage,
}

/// Waits for all choices and makes a reply of them.
///
/// # Cancel safety
///
/// Dropping the future cancels the request.
pub(super) async fn collect(
    core: &Arc<Core>,
    mut generation: Generation,
    mut told: Told<'_>,
    mut whole: Whole,
) -> Result<Response<Body>, ApiError> {
    let refused = |_| ApiError::no_room_for_reply();
    let held = core.held.try_reserve(STEP_BYTES).map_err(refused);
    let mut held = held.inspect_err(|_| generation.note_failure())?;
    loop {
        grow(&mut held, whole.bytes()).inspect_err(|_| generation.note_failure())?;
        if generation.has_ended() {
            break;
        }
        let (sent, failure) = take(&generation, &mut whole).await;
        generation.note_sent(&sent);
        told.usage.completion_tokens += sent.tokens;
        if let Some(failure) = failure.filter(|_| !generation.has_ended()) {
            generation.note_failure();
            return Err(error_of(failure));
        }
    }
    let front = Front { id: &told.id, created: unix_seconds(), model: told.model };
    let parts = whole.into_parts(&front, &told.usage);
    let body = ReplyBody::new(parts, Running::Generated(generation, held));
    let mut reply = Response::new(Body::Reply(Box::new(body)));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(reply)
}

/// Lets a reservation hold so many bytes.
fn grow(held: &mut Reservation, bytes: u64) -> Result<(), ApiError> {
    let missing = bytes.saturating_sub(held.bytes());
    if missing == 0 {
        return Ok(());
    }
    held.try_grow(missing.max(STEP_BYTES)).map_err(|_| ApiError::no_room_for_reply())
}

/// Waits for tokens and takes all that wait.
async fn take(generation: &Generation, whole: &mut Whole) -> (Sent, Option<Failure>) {
    poll_fn(|cx| {
        let Poll::Ready(mut pending) = generation.stream().poll(cx) else { return Poll::Pending };
        // Nobody reads a comment within a reply that is sent as a whole.
        pending.comment_due = false;
        let sent = take_all(&mut pending, whole);
        Poll::Ready((sent, pending.failure))
    })
    .await
}

fn take_all(pending: &mut Pending, whole: &mut Whole) -> Sent {
    let mut sent = Sent { emitted_ns: pending.oldest_ns, ..Sent::default() };
    while let Some((piece, bytes)) = pending.next() {
        let choice = usize::from(piece.choice);
        sent.cost_bytes += Piece::cost_bytes(bytes.len());
        sent.tokens += u64::from(piece.tokens);
        match piece.kind {
            PieceKind::Text => whole.token(choice, bytes, piece.logprob),
            PieceKind::Finish(reason) => {
                whole.text(choice, bytes);
                whole.finish(choice, reason);
                sent.choices_ended += 1;
                sent.reason = Some(reason);
            }
            PieceKind::Failure(_) => {}
        }
    }
    pending.settle();
    sent
}
