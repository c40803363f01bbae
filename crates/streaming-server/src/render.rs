//! Events of a stream as bytes.
//!
//! Everything that is the same in all events of a stream is rendered once, at its start. An event is
//! then two copies and the escaped text between them.
//!
//! The rules are those of the least forgiving clients: `data: `, one line of JSON, an empty line; no
//! `id:`, `retry:` or `event:`; a comment is a block of its own; the last event is `data: [DONE]`.

mod escape;
mod pages;
mod template;
mod whole;

use std::io::Write as _;

pub(crate) use self::escape::{push_decimal, push_escaped};
pub(crate) use self::template::{Api, Format, Shape, Template};
use self::whole::push_chat_token;
pub(crate) use self::whole::{Front, Whole};
use crate::handover::{Failure, Piece};
use crate::runner::FinishReason;
use crate::seam::Clock;
use crate::wire::{ApiError, Usage};

/// What an unknown or impossible logarithm is told as: JSON has no infinity (vLLM clamps alike).
const LOGPROB_MIN: f32 = -9999.0;

/// Where one choice stands.
#[derive(Clone, Copy, Debug, Default)]
struct Choice {
    /// Whether its first event was rendered.
    begun: bool,
    /// Characters of text so far, where offsets are told.
    characters: u64,
}

/// Renders the events of one stream.
#[derive(Debug)]
pub(crate) struct Renderer {
    template: Template,
    clock: Clock,
    choices: Box<[Choice]>,
    /// The text of each prompt, where it is to be repeated.
    echo: Box<[Box<str>]>,
    choices_per_prompt: usize,
    usage: Usage,
}

impl Renderer {
    pub(crate) fn new(template: Template, clock: Clock, usage: Usage, n_choices: usize) -> Self {
        Self {
            template,
            clock,
            choices: vec![Choice::default(); n_choices].into_boxed_slice(),
            echo: Box::default(),
            choices_per_prompt: n_choices,
            usage,
        }
    }

    /// Begins each choice with the text of its prompt.
    pub(crate) fn with_echo(mut self, echo: Box<[Box<str>]>) -> Self {
        self.choices_per_prompt = self.choices.len() / echo.len().max(1);
        self.echo = echo;
        self
    }

    /// One event for one piece of text.
    pub(crate) fn text(&mut self, out: &mut Vec<u8>, piece: &Piece, text: &[u8]) {
        let number = usize::from(piece.choice);
        if !self.choices[number].begun {
            self.begin(out, number);
        }
        self.usage.completion_tokens += u64::from(piece.tokens);
        if self.template.shape.is_plain() {
            self.template.open(out, number);
            push_escaped(out, text);
            self.template.close_plain(out);
            return;
        }
        self.template.open(out, number);
        push_escaped(out, text);
        self.template.close_text(out);
        self.logprobs(out, piece, text, number);
        self.template.close_choice(out, None);
        self.continuous_usage(out);
        if self.template.shape.timestamps {
            out.extend_from_slice(b",\"ts\":{\"due_ns\":");
            push_decimal(out, self.clock.monotonic_ns(piece.due_ns));
            out.extend_from_slice(b",\"emit_ns\":");
            push_decimal(out, self.clock.monotonic_ns(piece.emitted_ns));
            out.push(b'}');
        }
        self.template.close_event(out);
        self.choices[number].characters += characters(text);
    }

    /// The last event of a choice.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>, piece: &Piece, reason: FinishReason) {
        let number = usize::from(piece.choice);
        if !self.choices[number].begun {
            self.begin(out, number);
        }
        self.usage.completion_tokens += u64::from(piece.tokens);
        self.template.last(out, number, reason);
        self.continuous_usage(out);
        self.template.close_event(out);
    }

    /// What follows the last choice.
    pub(crate) fn end(&self, out: &mut Vec<u8>) {
        if self.template.shape.usage {
            self.template.usage_event(out, &self.usage);
        }
        self.template.done(out);
    }

    /// What tells a client that its stream is not whole.
    pub(crate) fn failure(&self, out: &mut Vec<u8>, error: &ApiError) {
        self.template.error_event(out, error);
        self.template.done(out);
    }

    /// What keeps a silent stream alive. Nothing where the format has no such thing.
    pub(crate) fn comment(&self, out: &mut Vec<u8>) {
        if self.template.shape.format == Format::Sse {
            out.extend_from_slice(b": keep-alive\n\n");
        }
    }

    /// The role of a message; the repeated prompt of a completion.
    fn begin(&mut self, out: &mut Vec<u8>, number: usize) {
        self.choices[number].begun = true;
        if self.template.role(out, number) {
            self.continuous_usage(out);
            self.template.close_event(out);
        }
        if let Some(prompt) = self.echo.get(number / self.choices_per_prompt.max(1)) {
            self.template.open(out, number);
            push_escaped(out, prompt.as_bytes());
            self.template.close_text(out);
            out.extend_from_slice(b"null");
            self.template.close_choice(out, None);
            self.continuous_usage(out);
            self.template.close_event(out);
            self.choices[number].characters += characters(prompt.as_bytes());
        }
    }

    fn continuous_usage(&self, out: &mut Vec<u8>) {
        if self.template.shape.continuous_usage {
            self.template.usage_field(out, &self.usage);
        } else if self.template.shape.usage {
            out.extend_from_slice(b",\"usage\":null");
        }
    }

    fn logprobs(&self, out: &mut Vec<u8>, piece: &Piece, text: &[u8], number: usize) {
        if !self.template.shape.logprobs {
            out.extend_from_slice(b"null");
            return;
        }
        if self.template.shape.api == Api::Chat {
            out.extend_from_slice(b"{\"content\":[");
            push_chat_token(out, text, piece.logprob);
        } else {
            out.extend_from_slice(b"{\"tokens\":[\"");
            push_escaped(out, text);
            out.extend_from_slice(b"\"],\"token_logprobs\":[");
            push_logprob(out, piece.logprob);
            out.extend_from_slice(b"],\"top_logprobs\":null,\"text_offset\":[");
            push_decimal(out, self.choices[number].characters);
        }
        out.extend_from_slice(b"]}");
    }
}

/// A logarithm of a probability as JSON can hold it.
fn told_logprob(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob.max(LOGPROB_MIN) } else { LOGPROB_MIN }
}

fn push_logprob(out: &mut Vec<u8>, logprob: f32) {
    // Writing to memory cannot fail.
    let _ = write!(out, "{:?}", told_logprob(logprob));
}

/// Writes bytes as a list of numbers.
fn push_list(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut open = b'[';
    for byte in bytes {
        out.push(open);
        push_decimal(out, u64::from(*byte));
        open = b',';
    }
    if bytes.is_empty() {
        out.push(open);
    }
    out.push(b']');
}

/// How many characters a text has: bytes that continue none.
fn characters(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte & 0xC0 != 0x80).count() as u64
}

/// What a client is told about a stream that was ended from outside.
pub(crate) fn error_of(failure: Failure) -> ApiError {
    match failure {
        Failure::Panicked => ApiError::server("the runner failed; send the request again"),
        Failure::Stuck => {
            ApiError::server("the runner took no step for too long; send the request again")
        }
        Failure::Absent => ApiError::server("there is no runner; send the request later"),
        Failure::Draining => ApiError::draining(),
    }
}

#[cfg(test)]
mod tests;
