//! Requests to the token routes.

use serde_json::{Value, json};

use super::schedule::Schedule;
use crate::blob::finalize;
use crate::origin::{Reply, Request};

/// Tokens of a request that does not say how many.
const TOKENS_DEFAULT: u64 = 16;
/// The most tokens of one request.
const TOKENS_MAX: u64 = 1 << 20;
/// The name of the one model.
const MODEL: &str = "test";

/// What a path and method of the token routes come to.
pub(crate) enum Route {
    Reply(Box<Reply>),
    Stream(Box<Order>),
}

/// A stream, or a whole text, that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(super) schedule: Schedule,
    pub(super) tokens: u64,
    pub(super) chat: bool,
    /// Server-sent events; else the whole text in one reply.
    pub(super) stream: bool,
    /// Whether a chunk with the usage comes before the end.
    pub(super) usage: bool,
    pub(super) prompt_tokens: u64,
    pub(super) model: String,
    /// The client's id of the request, to be told back.
    pub(super) request_id: Option<String>,
    /// HTTP/1.0 knows no chunks: the end of the connection ends the stream.
    pub(super) chunked: bool,
    /// Draws the jitter.
    pub(super) seed: u64,
}

impl Route {
    /// Returns what the request comes to; `None` where it is for no token route.
    pub(crate) fn of(request: &Request, defaults: &Schedule) -> Option<Self> {
        let reply = match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/v1/completions") => return Some(Self::order(request, defaults, false)),
            ("POST", "/v1/chat/completions") => return Some(Self::order(request, defaults, true)),
            ("GET", "/v1/models") => models(),
            ("GET", "/health") => Reply::json(200, &json!({"status": "healthy"})),
            (_, "/v1/completions" | "/v1/chat/completions") => {
                error(405, "this route takes POST", None).with("Allow", "POST")
            }
            _ => return None,
        };
        Some(Self::Reply(Box::new(reply)))
    }

    fn order(request: &Request, defaults: &Schedule, chat: bool) -> Self {
        match Order::read(request, defaults, chat) {
            Ok(order) => Self::Stream(Box::new(order)),
            Err((what, parameter)) => Self::Reply(Box::new(error(400, &what, Some(parameter)))),
        }
    }
}

impl Order {
    /// Reads the body; the error names the member that is wrong.
    fn read(
        request: &Request,
        defaults: &Schedule,
        chat: bool,
    ) -> Result<Self, (String, &'static str)> {
        let json: Value = serde_json::from_slice(&request.body)
            .map_err(|error| (format!("the body is no JSON: {error}"), "body"))?;
        let mut schedule = defaults.clone();
        if let Some(changes) = json.get("schedule") {
            schedule.apply(changes).map_err(|what| (what, "schedule"))?;
        }
        let asked = json.get("max_completion_tokens").or_else(|| json.get("max_tokens"));
        let tokens = match asked {
            None | Some(Value::Null) => TOKENS_DEFAULT,
            Some(value) => value
                .as_u64()
                .filter(|tokens| (1..=TOKENS_MAX).contains(tokens))
                .ok_or((format!("max_tokens is no number from 1 to {TOKENS_MAX}"), "max_tokens"))?,
        };
        let model = json.get("model").and_then(Value::as_str).unwrap_or(MODEL).to_owned();
        Ok(Self {
            schedule,
            tokens,
            chat,
            stream: json.get("stream").and_then(Value::as_bool).unwrap_or(false),
            usage: json.pointer("/stream_options/include_usage") == Some(&Value::Bool(true)),
            prompt_tokens: count_words(&json),
            model,
            request_id: request.header("x-request-id").map(str::to_owned),
            chunked: 1 <= request.minor_version,
            seed: json.get("seed").and_then(Value::as_u64).map_or(0, finalize),
        })
    }
}

/// Counts the words of the prompt or of the messages; an array of numbers has as many tokens.
fn count_words(json: &Value) -> u64 {
    match json.get("prompt").or_else(|| json.get("messages")) {
        Some(Value::String(text)) => text.split_whitespace().count() as u64,
        Some(Value::Array(items)) => items.iter().map(words_of_item).sum(),
        _ => 0,
    }
}

fn words_of_item(item: &Value) -> u64 {
    match item {
        Value::Number(_) => 1,
        Value::String(text) => text.split_whitespace().count() as u64,
        Value::Array(items) => items.len() as u64,
        message => message
            .get("content")
            .and_then(Value::as_str)
            .map_or(0, |text| text.split_whitespace().count() as u64),
    }
}

fn models() -> Reply {
    let model = json!({"id": MODEL, "object": "model", "created": 0, "owned_by": "testkit"});
    Reply::json(200, &json!({"object": "list", "data": [model]}))
}

fn error(status: u16, message: &str, parameter: Option<&str>) -> Reply {
    let kind = "invalid_request_error";
    let error = json!({"message": message, "type": kind, "param": parameter, "code": null});
    Reply::json(status, &json!({"error": error}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Order, String> {
        let request = Request { body: body.into(), minor_version: 1, ..Request::default() };
        Order::read(&request, &Schedule::default(), false).map_err(|(what, _)| what)
    }

    #[test]
    fn defaults_are_those_of_the_api() {
        let order = read("{}").unwrap();
        assert_eq!((16, false, "test"), (order.tokens, order.stream, order.model.as_str()));
    }

    #[test]
    fn members_are_read() {
        let order = read(
            r#"{"max_tokens":3,"stream":true,"stream_options":{"include_usage":true},
                "prompt":"one two three","schedule":{"interval":"5ms"},"unknown":1}"#,
        )
        .unwrap();
        assert_eq!(
            (3, true, true, 3),
            (order.tokens, order.stream, order.usage, order.prompt_tokens)
        );
        assert_eq!(5, order.schedule.interval.as_millis());
    }

    #[test]
    fn prompts_of_all_forms_are_counted() {
        let words = |body: &str| count_words(&serde_json::from_str(body).unwrap());
        assert_eq!(4, words(r#"{"prompt":[1,2,3,4]}"#));
        assert_eq!(3, words(r#"{"prompt":["a b","c"]}"#));
        assert_eq!(3, words(r#"{"prompt":[[1,2],[3]]}"#));
        assert_eq!(2, words(r#"{"messages":[{"role":"user","content":"hello you"}]}"#));
    }

    #[test]
    fn bad_requests_are_named() {
        assert!(read("{").unwrap_err().starts_with("the body is no JSON"));
        assert!(read(r#"{"max_tokens":0}"#).unwrap_err().contains("from 1 to 1048576"));
        assert!(read(r#"{"schedule":{"x":1}}"#).unwrap_err().contains("no such member"));
    }
}
