//! Replies that are not streamed.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use memory::Reservation;
use serde_json::{Value, json};

use super::generation::{Generation, Sent};
use super::{Core, generate::RETRY_AFTER};
use crate::body::Body;
use crate::handover::{Failure, Pending, Piece, PieceKind};
use crate::render::{Api, error_of};
use crate::runner::FinishReason;
use crate::seam::unix_seconds;
use crate::wire::{ApiError, Choice, Reply, Usage};

/// By so much the reservation of a reply grows.
const STEP_BYTES: u64 = 64 << 10;

/// What is known of a reply before its text.
pub(super) struct Told<'a> {
    pub(super) api: Api,
    pub(super) id: String,
    pub(super) model: &'a str,
    pub(super) logprobs: bool,
    pub(super) usage: Usage,
    pub(super) echo: Box<[Box<str>]>,
}

/// One choice, as far as it has come.
#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    reason: Option<FinishReason>,
    /// Each token's bytes and the logarithm of its probability, where they are told.
    tokens: Vec<(std::ops::Range<usize>, f32)>,
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
    n_choices: usize,
) -> Result<Response<Body>, ApiError> {
    let refused = |_| ApiError::overloaded("there is no room for more replies", RETRY_AFTER);
    let mut held: Reservation = core.held.try_reserve(STEP_BYTES).map_err(refused)?;
    let per_prompt = n_choices / told.echo.len().max(1);
    let begin = |number: usize| {
        let prompt = told.echo.get(number / per_prompt);
        let bytes = prompt.map(|prompt| prompt.as_bytes().to_vec()).unwrap_or_default();
        Text { bytes, ..Text::default() }
    };
    let mut texts: Vec<Text> = (0..n_choices).map(begin).collect();
    let mut total_bytes = 0;
    while !generation.has_ended() {
        let (sent, failure) = take(&generation, &mut texts, told.logprobs).await;
        generation.note_sent(&sent);
        told.usage.completion_tokens += sent.tokens;
        if let Some(failure) = failure.filter(|_| !generation.has_ended()) {
            generation.note_failure();
            return Err(error_of(failure));
        }
        total_bytes += sent.cost_bytes;
        if held.bytes() < total_bytes {
            let grown = held.try_grow((total_bytes - held.bytes()).max(STEP_BYTES));
            grown.map_err(refused).inspect_err(|_| generation.note_failure())?;
        }
    }
    let reply = reply(told, texts);
    let text = serde_json::to_string(&reply).expect("strings and numbers are JSON");
    let mut reply = Response::new(Body::whole(text));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(reply)
}

/// Waits for tokens and takes all that wait.
async fn take(
    generation: &Generation,
    texts: &mut [Text],
    logprobs: bool,
) -> (Sent, Option<Failure>) {
    poll_fn(|cx| {
        let Poll::Ready(mut pending) = generation.stream().poll(cx) else { return Poll::Pending };
        // Nobody reads a comment within a reply that is sent as a whole.
        pending.comment_due = false;
        let sent = take_all(&mut pending, texts, logprobs);
        Poll::Ready((sent, pending.failure))
    })
    .await
}

fn take_all(pending: &mut Pending, texts: &mut [Text], logprobs: bool) -> Sent {
    let mut sent = Sent { emitted_ns: pending.oldest_ns, ..Sent::default() };
    while let Some((piece, bytes)) = pending.next() {
        let text = &mut texts[usize::from(piece.choice)];
        let from = text.bytes.len();
        text.bytes.extend_from_slice(bytes);
        sent.cost_bytes += Piece::cost_bytes(bytes.len());
        sent.tokens += u64::from(piece.tokens);
        match piece.kind {
            PieceKind::Text if logprobs => {
                text.tokens.push((from..text.bytes.len(), piece.logprob));
            }
            PieceKind::Finish(reason) => {
                text.reason = Some(reason);
                sent.choices_ended += 1;
                sent.reason = Some(reason);
            }
            PieceKind::Text | PieceKind::Failure(_) => {}
        }
    }
    pending.settle();
    sent
}

fn reply(told: Told<'_>, texts: Vec<Text>) -> Reply {
    let (chat, logprobs) = (told.api == Api::Chat, told.logprobs);
    let choice = |(index, text): (usize, Text)| {
        let told = logprobs.then(|| if chat { chat_logprobs(&text) } else { logprobs_of(&text) });
        let reason = text.reason.expect("every choice has ended");
        let text = String::from_utf8(text.bytes).expect("filters let whole characters through");
        let choice = if chat { Choice::chat } else { Choice::completion };
        Choice { logprobs: told, ..choice(index, text, reason) }
    };
    Reply {
        id: told.id,
        object: if chat { "chat.completion" } else { "text_completion" },
        created: unix_seconds(),
        model: told.model.to_owned(),
        choices: texts.into_iter().enumerate().map(choice).collect(),
        usage: told.usage,
    }
}

fn told_token(text: &Text, range: &std::ops::Range<usize>) -> String {
    String::from_utf8_lossy(&text.bytes[range.clone()]).into_owned()
}

fn logprobs_of(text: &Text) -> Value {
    let tokens: Vec<_> = text.tokens.iter().map(|(range, _)| told_token(text, range)).collect();
    let logprobs: Vec<_> = text.tokens.iter().map(|(_, logprob)| known(*logprob)).collect();
    let offsets: Vec<_> = text.tokens.iter().map(|(range, _)| range.start).collect();
    json!({ "tokens": tokens, "token_logprobs": logprobs, "top_logprobs": null,
        "text_offset": offsets })
}

fn chat_logprobs(text: &Text) -> Value {
    let token = |(range, logprob): &(std::ops::Range<usize>, f32)| {
        json!({ "token": told_token(text, range), "logprob": known(*logprob),
            "bytes": &text.bytes[range.clone()], "top_logprobs": [] })
    };
    json!({ "content": text.tokens.iter().map(token).collect::<Vec<_>>() })
}

fn known(logprob: f32) -> f32 {
    crate::render::told_logprob(logprob)
}
