//! Requests and events of the emitter, as bytes. Pure.

use std::io::Write as _;

use serde_json::Value;

/// Tokens of a request that names no number (the default of OpenAI's completions).
const TOKENS: u32 = 16;
/// The most that a request may ask for.
const TOKENS_MAX: u64 = 1 << 20;
/// The most that a head of a request may take.
const HEAD_BYTES_MAX: usize = 16 << 10;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

/// What a client wants.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Order {
    pub(super) chat: bool,
    pub(super) tokens: u32,
    pub(super) usage: bool,
    pub(super) model: String,
}

/// What the bytes so far are. The number is where the request ends.
#[derive(Debug, PartialEq)]
pub(super) enum Parsed {
    /// The beginning of a request.
    Partial,
    /// An order for a stream.
    Order(Order, usize),
    /// Something else, and its answer.
    Other(&'static [u8], usize),
}

/// Reads a request.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let Some(head_end) = bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4)
    else {
        let endless = HEAD_BYTES_MAX < bytes.len();
        return if endless { Parsed::Other(BAD_REQUEST, bytes.len()) } else { Parsed::Partial };
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let end = head_end + length.unwrap_or(0);
    if bytes.len() < end {
        return Parsed::Partial;
    }
    let mut words = head.split_whitespace();
    match (words.next(), words.next()) {
        (Some("GET"), Some("/health")) => Parsed::Other(OK, end),
        (Some("POST"), Some(path)) if path.ends_with("/completions") => {
            match serde_json::from_slice(&bytes[head_end..end]) {
                Ok(body) => Parsed::Order(order(&body, path), end),
                Err(_) => Parsed::Other(BAD_REQUEST, end),
            }
        }
        _ => Parsed::Other(NOT_FOUND, end),
    }
}

fn order(body: &Value, path: &str) -> Order {
    let tokens = body["max_tokens"].as_u64().unwrap_or(TOKENS.into()).clamp(1, TOKENS_MAX);
    Order {
        chat: path.ends_with("/chat/completions"),
        tokens: u32::try_from(tokens).unwrap_or(TOKENS),
        usage: body["stream_options"]["include_usage"] == true,
        model: body["model"].as_str().unwrap_or("test").to_owned(),
    }
}

/// Renders the events of one stream. What they share is rendered once.
#[derive(Debug)]
pub(super) struct Events {
    before: String,
    after: &'static str,
    tail: String,
}

impl Events {
    pub(super) fn new(order: &Order, id: u64) -> Self {
        let model = Value::from(order.model.as_str());
        let object = if order.chat { "chat.completion.chunk" } else { "text_completion" };
        let head = format!(
            r#"{{"id":"cmpl-{id}","object":"{object}","created":1700000000,"model":{model},"choices":["#
        );
        let (open, after, last) = if order.chat {
            let last = r#"{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}"#;
            (
                r#"{"index":0,"delta":{"content":""#,
                r#""},"logprobs":null,"finish_reason":null}]}"#,
                last,
            )
        } else {
            let last = r#"{"index":0,"text":"","logprobs":null,"finish_reason":"length"}"#;
            (r#"{"index":0,"text":""#, r#"","logprobs":null,"finish_reason":null}]}"#, last)
        };
        let mut tail = format!("data: {head}{last}]}}\n\n");
        if order.usage {
            let tokens = order.tokens;
            let usage = format!(r#""usage":{{"prompt_tokens":1,"completion_tokens":{tokens}}}"#);
            tail += &format!("data: {head}],{usage}}}\n\n");
        }
        tail += "data: [DONE]\n\n";
        Self { before: format!("{head}{open}"), after, tail }
    }

    /// The head of the reply.
    pub(super) fn head(&self) -> &'static [u8] {
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
          Transfer-Encoding: chunked\r\n\r\n"
    }

    /// Appends the event of token `k` in a chunk of its own, after its stamp.
    pub(super) fn token(&self, k: u32, stamp: i64, out: &mut Vec<u8>) {
        const FIXED: usize = ": t=\n\ndata: token_\n\n".len();
        let digits = digits(k.into()) + digits(stamp.unsigned_abs());
        let length = FIXED + digits + self.before.len() + self.after.len();
        let Self { before, after, .. } = self;
        write!(out, "{length:x}\r\n: t={stamp}\n\ndata: {before}token_{k}{after}\n\n\r\n")
            .expect("writing to memory cannot fail");
    }

    /// Appends what follows the last token.
    pub(super) fn end(&self, out: &mut Vec<u8>) {
        write!(out, "{:x}\r\n{}\r\n0\r\n\r\n", self.tail.len(), self.tail)
            .expect("writing to memory cannot fail");
    }
}

/// Appends a text as a chunk of its own; that of no text is the last one (RFC 9112, 7.1).
pub(super) fn framed(text: &str, out: &mut Vec<u8>) {
    write!(out, "{:x}\r\n{text}\r\n", text.len()).expect("writing to memory cannot fail");
}

/// Appends an error in the place of a token, and what ends streams.
pub(super) fn error_event(out: &mut Vec<u8>) {
    let error = r#"{"error":{"message":"the emitter was told to fail","type":"server_error"}}"#;
    framed(&format!("data: {error}\n\ndata: [DONE]\n\n"), out);
}

/// Appends a part of a line that has no end.
pub(super) fn endless(out: &mut Vec<u8>) {
    const PART_BYTES: usize = 64 << 10;
    framed(&"x".repeat(PART_BYTES), out);
}

/// A reply that refuses.
pub(super) fn refusal(status: u16) -> Vec<u8> {
    let body = r#"{"error":{"message":"the emitter was told to refuse","type":"server_error"}}"#;
    let head = "Content-Type: application/json\r\nContent-Length:";
    format!("HTTP/1.1 {status} Refused\r\n{head} {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"max_tokens":7,"stream_options":{"include_usage":true},"model":"a\"b"}"#;

    fn request(path: &str) -> String {
        let length = BODY.len();
        format!("POST {path} HTTP/1.1\r\nHost: a\r\ncontent-length: {length}\r\n\r\n{BODY}")
    }

    #[test]
    fn a_request_is_read_when_its_last_byte_is_there() {
        let text = request("/v1/completions");
        for end in 0..text.len() {
            assert_eq!(Parsed::Partial, parse(&text.as_bytes()[..end]));
        }
        let order = Order { chat: false, tokens: 7, usage: true, model: "a\"b".to_owned() };
        let more = format!("{text}POST");
        assert_eq!(Parsed::Order(order, text.len()), parse(more.as_bytes()));
        let Parsed::Order(order, _) = parse(request("/v1/chat/completions").as_bytes()) else {
            panic!("an order")
        };
        assert!(order.chat);
    }

    #[test]
    fn what_is_no_order_is_answered() {
        assert!(matches!(parse(b"GET /health HTTP/1.1\r\n\r\n"), Parsed::Other(OK, 24)));
        assert!(matches!(parse(b"GET /x HTTP/1.1\r\n\r\n"), Parsed::Other(NOT_FOUND, _)));
        let bad = "POST /v1/completions HTTP/1.1\r\ncontent-length: 1\r\n\r\n{";
        assert!(matches!(parse(bad.as_bytes()), Parsed::Other(BAD_REQUEST, _)));
        let endless = vec![b'x'; HEAD_BYTES_MAX + 1];
        assert!(matches!(parse(&endless), Parsed::Other(BAD_REQUEST, _)));
    }

    /// Takes the chunks of a body apart.
    fn body_of(mut bytes: &[u8]) -> String {
        let mut body = Vec::new();
        loop {
            let line = bytes.windows(2).position(|end| end == b"\r\n").unwrap();
            let length = std::str::from_utf8(&bytes[..line]).unwrap();
            let length = usize::from_str_radix(length, 16).unwrap();
            bytes = &bytes[line + 2..];
            body.extend_from_slice(&bytes[..length]);
            assert_eq!(b"\r\n", &bytes[length..length + 2]);
            bytes = &bytes[length + 2..];
            if length == 0 {
                assert!(bytes.is_empty());
                return String::from_utf8(body).unwrap();
            }
        }
    }

    #[test]
    fn events_are_framed_as_their_length_says() {
        for chat in [false, true] {
            let order = Order { chat, tokens: 12, usage: true, model: "a\"b".to_owned() };
            let events = Events::new(&order, 5);
            let mut out = Vec::new();
            for k in [0, 9, 10, 11] {
                events.token(k, 1_700_000_000_000_000_000, &mut out);
            }
            events.end(&mut out);
            let body = body_of(&out);
            let data: Vec<&str> =
                body.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
            assert_eq!(Some(&"[DONE]"), data.last());
            for event in &data[..data.len() - 1] {
                let event: Value = serde_json::from_str(event).unwrap();
                assert_eq!("a\"b", event["model"]);
            }
            assert_eq!(4, body.matches(": t=1700000000000000000\n\n").count());
            assert_eq!(4, body.matches("\"token_").count());
        }
    }
}
