//! Replies that are sent as a whole, rendered as their tokens come.
//!
//! A long one has a hundred megabytes: rendered at its end, it would keep all others waiting meanwhile.

use std::collections::VecDeque;
use std::io::Write as _;

use bytes::Bytes;

use super::pages::Pages;
use super::{Api, characters, push_decimal, push_escaped, push_list, push_logprob};
use crate::runner::FinishReason;
use crate::wire::Usage;

/// What stands before the choices.
#[derive(Debug)]
pub(crate) struct Front<'a> {
    pub(crate) id: &'a str,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) model: &'a str,
}

/// One choice, as far as it has come: parts of JSON.
#[derive(Debug, Default)]
struct Choice {
    text: Pages,
    /// Characters of the text.
    characters: u64,
    /// Whether anything was told of its tokens.
    told: bool,
    /// Chats: all that is told of each token. Completions: the tokens.
    tokens: Pages,
    logprobs: Pages,
    offsets: Pages,
    reason: Option<FinishReason>,
}

/// The choices of a reply.
#[derive(Debug)]
pub(crate) struct Whole {
    api: Api,
    logprobs: bool,
    choices: Box<[Choice]>,
    /// What all of it holds.
    bytes: u64,
}

impl Whole {
    /// Begins each choice with the text of its prompt, where there is one.
    pub(crate) fn new(api: Api, logprobs: bool, n_choices: usize, echo: &[Box<str>]) -> Self {
        let mut choices: Box<[Choice]> = (0..n_choices).map(|_| Choice::default()).collect();
        let mut bytes = 0;
        let per_prompt = (n_choices / echo.len().max(1)).max(1);
        for (prompt, choices) in echo.iter().zip(choices.chunks_mut(per_prompt)) {
            let mut escaped = Vec::with_capacity(prompt.len());
            push_escaped(&mut escaped, prompt.as_bytes());
            bytes += escaped.len() as u64;
            let escaped = Bytes::from(escaped);
            for choice in choices {
                choice.text.share(&escaped);
                choice.characters = characters(prompt.as_bytes());
            }
        }
        Self { api, logprobs, choices, bytes }
    }

    /// How many bytes it holds.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends a token to a choice.
    pub(crate) fn token(&mut self, choice: usize, text: &[u8], logprob: f32) {
        if self.logprobs {
            let choice = &mut self.choices[choice];
            self.bytes += match self.api {
                Api::Completions => choice.tell(text, logprob),
                Api::Chat => choice.tell_chat(text, logprob),
            };
        }
        self.text(choice, text);
    }

    /// Appends text to a choice.
    pub(crate) fn text(&mut self, choice: usize, text: &[u8]) {
        let choice = &mut self.choices[choice];
        self.bytes += choice.text.write(|out| push_escaped(out, text));
        if self.logprobs {
            choice.characters += characters(text);
        }
    }

    /// Ends a choice.
    pub(crate) fn finish(&mut self, choice: usize, reason: FinishReason) {
        self.choices[choice].reason = Some(reason);
    }

    /// The reply, once every choice has ended.
    pub(crate) fn into_parts(self, front: &Front<'_>, usage: &Usage) -> VecDeque<Bytes> {
        let mut out = Pages::default();
        out.write(|out| {
            let object = match self.api {
                Api::Completions => "text_completion",
                Api::Chat => "chat.completion",
            };
            let model = serde_json::Value::from(front.model);
            push(out, format_args!("{{\"id\":\"{}\",\"object\":\"{object}\"", front.id));
            push(out, format_args!(",\"created\":{},\"model\":{model}", front.created));
            push(out, format_args!(",\"choices\":["));
        });
        for (number, choice) in self.choices.into_iter().enumerate() {
            choice.put(&mut out, number, self.api, self.logprobs);
        }
        out.write(|out| {
            out.extend_from_slice(b"],\"usage\":");
            // Writing to memory cannot fail, nor can numbers.
            let _ = serde_json::to_writer(&mut *out, usage);
            out.push(b'}');
        });
        out.into_parts()
    }
}

impl Choice {
    /// Whether something stands before the next token in a list.
    fn comma(&mut self) -> &'static [u8] {
        if std::mem::replace(&mut self.told, true) { b"," } else { b"" }
    }

    fn tell(&mut self, text: &[u8], logprob: f32) -> u64 {
        let comma = self.comma();
        let tokens = self.tokens.write(|out| {
            out.extend_from_slice(comma);
            out.push(b'"');
            push_escaped(out, text);
            out.push(b'"');
        });
        let logprobs = self.logprobs.write(|out| {
            out.extend_from_slice(comma);
            push_logprob(out, logprob);
        });
        let offsets = self.offsets.write(|out| {
            out.extend_from_slice(comma);
            push_decimal(out, self.characters);
        });
        tokens + logprobs + offsets
    }

    fn tell_chat(&mut self, text: &[u8], logprob: f32) -> u64 {
        let comma = self.comma();
        self.tokens.write(|out| {
            out.extend_from_slice(comma);
            push_chat_token(out, text, logprob);
        })
    }

    fn put(self, out: &mut Pages, number: usize, api: Api, logprobs: bool) {
        let (open, close): (&str, &[u8]) = match api {
            Api::Completions => ("\"text\":\"", b"\",\"logprobs\":"),
            Api::Chat => {
                ("\"message\":{\"role\":\"assistant\",\"content\":\"", b"\"},\"logprobs\":")
            }
        };
        let comma = if number == 0 { "" } else { "," };
        out.write(|out| push(out, format_args!("{comma}{{\"index\":{number},{open}")));
        out.append(self.text);
        out.write(|out| out.extend_from_slice(close));
        match api {
            _ if !logprobs => {
                out.write(|out| out.extend_from_slice(b"null"));
            }
            Api::Completions => {
                out.write(|out| out.extend_from_slice(b"{\"tokens\":["));
                out.append(self.tokens);
                out.write(|out| out.extend_from_slice(b"],\"token_logprobs\":["));
                out.append(self.logprobs);
                out.write(|out| {
                    out.extend_from_slice(b"],\"top_logprobs\":null,\"text_offset\":[");
                });
                out.append(self.offsets);
                out.write(|out| out.extend_from_slice(b"]}"));
            }
            Api::Chat => {
                out.write(|out| out.extend_from_slice(b"{\"content\":["));
                out.append(self.tokens);
                out.write(|out| out.extend_from_slice(b"]}"));
            }
        }
        let reason = self.reason.expect("every choice has ended").word();
        out.write(|out| push(out, format_args!(",\"finish_reason\":\"{reason}\"}}")));
    }
}

/// What a chat is told of one token.
pub(super) fn push_chat_token(out: &mut Vec<u8>, text: &[u8], logprob: f32) {
    out.extend_from_slice(b"{\"token\":\"");
    push_escaped(out, text);
    out.extend_from_slice(b"\",\"logprob\":");
    push_logprob(out, logprob);
    out.extend_from_slice(b",\"bytes\":");
    push_list(out, text);
    out.extend_from_slice(b",\"top_logprobs\":[]}");
}

fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn whole(api: Api, logprobs: bool) -> (u64, Value) {
        let echo: Box<[Box<str>]> = match api {
            Api::Completions => Box::new(["é \"x".into(), "y".into()]),
            Api::Chat => Box::default(),
        };
        let mut whole = Whole::new(api, logprobs, 4, &echo);
        for choice in 0..4 {
            whole.token(choice, "ü\n".as_bytes(), -0.5);
            whole.token(choice, b"b", f32::NEG_INFINITY);
            whole.finish(choice, FinishReason::Stop);
        }
        let bytes = whole.bytes();
        let front = Front { id: "id", created: 7, model: "a \"model\"" };
        let parts = whole.into_parts(&front, &Usage { prompt_tokens: 1, completion_tokens: 8 });
        let json: Vec<u8> = parts.into_iter().flatten().collect();
        (bytes, serde_json::from_slice(&json).unwrap())
    }

    #[test]
    fn a_completion_with_and_without_probabilities() {
        let (_, told) = whole(Api::Completions, true);
        let logprobs = json!({ "tokens": ["ü\n", "b"], "token_logprobs": [-0.5, -9999.0],
            "top_logprobs": null, "text_offset": [4, 6] });
        let choice = json!({ "index": 1, "text": "é \"xü\nb", "logprobs": logprobs,
            "finish_reason": "stop" });
        assert_eq!(choice, told["choices"][1]);
        let plain =
            json!({ "index": 2, "text": "yü\nb", "logprobs": null, "finish_reason": "stop" });
        assert_eq!(plain, whole(Api::Completions, false).1["choices"][2]);
        assert_eq!((json!("a \"model\""), json!(9)), {
            (told["model"].clone(), told["usage"]["total_tokens"].clone())
        });
    }

    #[test]
    fn a_chat_tells_the_bytes_of_each_token() {
        let (bytes, told) = whole(Api::Chat, true);
        let choice = &told["choices"][3];
        assert_eq!(json!({ "role": "assistant", "content": "ü\nb" }), choice["message"]);
        let token = json!({ "token": "ü\n", "logprob": -0.5, "bytes": [195, 188, 10],
            "top_logprobs": [] });
        assert_eq!(token, choice["logprobs"]["content"][0]);
        assert!(4 * 2 * 60 < bytes, "{bytes} bytes: what is told of tokens counts");
    }
}
