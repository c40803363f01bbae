//! The parts of events that are the same throughout a stream.

use crate::runner::FinishReason;
use crate::wire::{ApiError, Usage};

/// Which route's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Completions,
    Chat,
}

/// How objects are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Server-sent events.
    Sse,
    /// One object a line, and no word at the end.
    Ndjson,
}

/// What a client asked to be told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) api: Api,
    pub(crate) format: Format,
    /// An event with the usage at the end.
    pub(crate) usage: bool,
    /// The usage so far in every event.
    pub(crate) continuous_usage: bool,
    pub(crate) logprobs: bool,
    /// When each token was due and produced.
    pub(crate) timestamps: bool,
}

impl Shape {
    /// Whether all that changes from event to event is the text.
    pub(crate) fn is_plain(&self) -> bool {
        !self.continuous_usage && !self.logprobs && !self.timestamps
    }
}

/// Ready parts.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) shape: Shape,
    /// For each choice: an event up to the list of choices and the choice's number in it.
    heads: Box<[Box<[u8]>]>,
    /// For each choice: an event up to the text.
    opens: Box<[Box<[u8]>]>,
    /// An event from the end of the text on, with nothing special in it.
    plain_end: Box<[u8]>,
    /// An event up to the list of choices.
    event: Box<[u8]>,
}

impl Template {
    pub(crate) fn new(shape: Shape, id: &str, created: u64, model: &str, n_choices: usize) -> Self {
        let object = match shape.api {
            Api::Completions => "text_completion",
            Api::Chat => "chat.completion.chunk",
        };
        let data = if shape.format == Format::Sse { "data: " } else { "" };
        let model = serde_json::Value::from(model);
        let event = format!(
            "{data}{{\"id\":\"{id}\",\"object\":\"{object}\",\"created\":{created},\
             \"model\":{model},\"choices\":["
        );
        let head = |number| format!("{event}{{\"index\":{number},").into_bytes().into_boxed_slice();
        let heads: Box<[Box<[u8]>]> = (0..n_choices).map(head).collect();
        let text: &[u8] = match shape.api {
            Api::Completions => b"\"text\":\"",
            Api::Chat => b"\"delta\":{\"content\":\"",
        };
        let opens = heads.iter().map(|head| [head, text].concat().into_boxed_slice()).collect();
        let mut template = Self {
            shape,
            heads,
            opens,
            plain_end: Box::default(),
            event: event.into_bytes().into(),
        };
        let mut plain_end = Vec::new();
        template.close_text(&mut plain_end);
        plain_end.extend_from_slice(b"null");
        template.close_choice(&mut plain_end, None);
        if shape.usage {
            plain_end.extend_from_slice(b",\"usage\":null");
        }
        template.close_event(&mut plain_end);
        template.plain_end = plain_end.into_boxed_slice();
        template
    }

    /// Up to the text.
    pub(crate) fn open(&self, out: &mut Vec<u8>, choice: usize) {
        out.extend_from_slice(&self.opens[choice]);
    }

    /// From the text on, with nothing special.
    pub(crate) fn close_plain(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.plain_end);
    }

    /// From the text to what logprobs are.
    pub(crate) fn close_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self.shape.api {
            Api::Completions => b"\",\"logprobs\":",
            Api::Chat => b"\"},\"logprobs\":",
        });
    }

    /// From there to the end of the choices.
    pub(crate) fn close_choice(&self, out: &mut Vec<u8>, reason: Option<FinishReason>) {
        match reason {
            None => out.extend_from_slice(b",\"finish_reason\":null}]"),
            Some(reason) => {
                out.extend_from_slice(b",\"finish_reason\":\"");
                out.extend_from_slice(reason.word().as_bytes());
                out.extend_from_slice(b"\"}]");
            }
        }
    }

    /// From there to the end of the event.
    pub(crate) fn close_event(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self.shape.format {
            Format::Sse => b"}\n\n",
            Format::Ndjson => b"}\n",
        });
    }

    /// The event that begins a message, up to the end of the choices. Returns whether there is one:
    /// completions have none.
    pub(crate) fn role(&self, out: &mut Vec<u8>, choice: usize) -> bool {
        if self.shape.api == Api::Completions {
            return false;
        }
        out.extend_from_slice(&self.heads[choice]);
        out.extend_from_slice(
            b"\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null",
        );
        self.close_choice(out, None);
        true
    }

    /// The last event of a choice, up to the end of the choices.
    pub(crate) fn last(&self, out: &mut Vec<u8>, choice: usize, reason: FinishReason) {
        out.extend_from_slice(&self.heads[choice]);
        out.extend_from_slice(match self.shape.api {
            Api::Completions => b"\"text\":\"\",\"logprobs\":null",
            Api::Chat => b"\"delta\":{},\"logprobs\":null",
        });
        self.close_choice(out, Some(reason));
    }

    pub(crate) fn usage_field(&self, out: &mut Vec<u8>, usage: &Usage) {
        out.extend_from_slice(b",\"usage\":");
        // Writing to memory cannot fail, nor can numbers.
        let _ = serde_json::to_writer(&mut *out, usage);
    }

    /// The event that holds the usage and no choice: `vllm bench` looks for it nowhere else.
    pub(crate) fn usage_event(&self, out: &mut Vec<u8>, usage: &Usage) {
        out.extend_from_slice(&self.event);
        out.push(b']');
        self.usage_field(out, usage);
        self.close_event(out);
    }

    pub(crate) fn error_event(&self, out: &mut Vec<u8>, error: &ApiError) {
        let data: &[u8] = if self.shape.format == Format::Sse { b"data: " } else { b"" };
        out.extend_from_slice(data);
        out.extend_from_slice(error.to_json().as_bytes());
        out.extend_from_slice(match self.shape.format {
            Format::Sse => b"\n\n",
            Format::Ndjson => b"\n",
        });
    }

    pub(crate) fn done(&self, out: &mut Vec<u8>) {
        if self.shape.format == Format::Sse {
            out.extend_from_slice(b"data: [DONE]\n\n");
        }
    }
}
