//! The bytes of a stream: server-sent events as OpenAI's clients read them, in HTTP chunks.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::order::Order;

/// Renders the events of one stream. What all its events share is rendered once.
#[derive(Debug)]
pub(super) struct Events {
    before_text: String,
    after_text: &'static str,
    chat: bool,
    stamps: bool,
    chunked: bool,
    /// One event, before it is put into its chunk.
    event: Vec<u8>,
}

const AFTER_COMPLETION: &str = r#"","logprobs":null,"finish_reason":null}]}"#;
const AFTER_CHAT: &str = r#""},"logprobs":null,"finish_reason":null}]}"#;

impl Events {
    pub(super) fn new(order: &Order, id: u64) -> Self {
        let mut before_text = head_of_chunk(order, id);
        before_text += if order.chat {
            r#""choices":[{"index":0,"delta":{"content":""#
        } else {
            r#""choices":[{"index":0,"text":""#
        };
        Self {
            before_text,
            after_text: if order.chat { AFTER_CHAT } else { AFTER_COMPLETION },
            chat: order.chat,
            stamps: order.schedule.stamps,
            chunked: order.chunked,
            event: Vec::new(),
        }
    }

    /// Appends the head of the reply and, for a chat, the event that names the role.
    pub(super) fn begin(&mut self, order: &Order, id: u64, out: &mut Vec<u8>) {
        let framing =
            if self.chunked { "Transfer-Encoding: chunked\r\n" } else { "Connection: close\r\n" };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
             X-Accel-Buffering: no\r\n{framing}{}\r\n",
            request_id(order),
        );
        out.extend(head.as_bytes());
        if self.chat {
            let delta = json!({"role": "assistant", "content": ""});
            let choice =
                json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": null});
            self.data(&chunk(order, id, &json!([choice]), None), out);
        }
    }

    /// Appends the event of token `k`.
    pub(super) fn token(&mut self, k: u64, out: &mut Vec<u8>) {
        self.open();
        self.event.extend(self.before_text.as_bytes());
        write!(self.event, "token_{k}").expect("writing to memory cannot fail");
        self.event.extend(self.after_text.as_bytes());
        self.close(out);
    }

    /// Appends what follows the last token.
    pub(super) fn end(&mut self, order: &Order, id: u64, out: &mut Vec<u8>) {
        let choice = if self.chat {
            json!({"index": 0, "delta": {}, "logprobs": null, "finish_reason": "length"})
        } else {
            json!({"index": 0, "text": "", "logprobs": null, "finish_reason": "length"})
        };
        self.data(&chunk(order, id, &json!([choice]), None), out);
        if order.usage {
            self.data(&chunk(order, id, &json!([]), Some(usage(order))), out);
        }
        self.event.clear();
        self.event.extend(b"data: [DONE]\n\n");
        self.frame(out);
        if self.chunked {
            out.extend(b"0\r\n\r\n");
        }
    }

    fn data(&mut self, json: &str, out: &mut Vec<u8>) {
        self.open();
        self.event.extend(json.as_bytes());
        self.close(out);
    }

    /// Begins an event. The stamp is a block of its own: clients that split at blank lines would
    /// otherwise take the data behind it for part of the comment.
    fn open(&mut self) {
        self.event.clear();
        if self.stamps {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            write!(self.event, ": t={}\n\n", since.as_nanos())
                .expect("writing to memory cannot fail");
        }
        self.event.extend(b"data: ");
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        self.event.extend(b"\n\n");
        self.frame(out);
    }

    fn frame(&self, out: &mut Vec<u8>) {
        if self.chunked {
            write!(out, "{:x}\r\n", self.event.len()).expect("writing to memory cannot fail");
        }
        out.extend(&self.event);
        if self.chunked {
            out.extend(b"\r\n");
        }
    }
}

/// Renders the reply to a request without `stream`.
pub(super) fn whole(order: &Order, id: u64) -> Vec<u8> {
    let text: String = (0..order.tokens).map(|k| format!("token_{k}")).collect();
    let choice = if order.chat {
        let message = json!({"role": "assistant", "content": text});
        json!({"index": 0, "message": message, "logprobs": null, "finish_reason": "length"})
    } else {
        json!({"index": 0, "text": text, "logprobs": null, "finish_reason": "length"})
    };
    let object = if order.chat { "chat.completion" } else { "text_completion" };
    let body = json!({
        "id": name(order, id), "object": object, "created": 0, "model": order.model,
        "choices": [choice], "usage": usage(order),
    })
    .to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}\r\n",
        body.len(),
        request_id(order),
    );
    (head + &body).into_bytes()
}

fn request_id(order: &Order) -> String {
    order.request_id.as_ref().map_or_else(String::new, |id| format!("x-request-id: {id}\r\n"))
}

fn name(order: &Order, id: u64) -> String {
    format!("{}-{id}", if order.chat { "chatcmpl" } else { "cmpl" })
}

/// Renders what all chunks of a stream begin with.
fn head_of_chunk(order: &Order, id: u64) -> String {
    let object = if order.chat { "chat.completion.chunk" } else { "text_completion" };
    let model = Value::from(order.model.as_str());
    let name = name(order, id);
    format!(r#"{{"id":"{name}","object":"{object}","created":0,"model":{model},"#)
}

fn chunk(order: &Order, id: u64, choices: &Value, usage: Option<Value>) -> String {
    let usage = usage.map_or_else(String::new, |usage| format!(r#","usage":{usage}"#));
    format!(r#"{}"choices":{choices}{usage}}}"#, head_of_chunk(order, id))
}

fn usage(order: &Order) -> Value {
    json!({
        "prompt_tokens": order.prompt_tokens, "completion_tokens": order.tokens,
        "total_tokens": order.prompt_tokens + order.tokens,
    })
}
