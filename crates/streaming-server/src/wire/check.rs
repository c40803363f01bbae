//! From a body to what is asked for, or to an error that names the field.

use std::sync::Arc;

use serde_path_to_error::{Path, Segment};

use super::request::{GenerateRequest, Logprobs, Message, StreamOptions};
use super::{ApiError, Prompt};

/// The most choices of a request, all prompts together: each is a sequence of the runner.
pub const CHOICES_MAX: usize = 128;
/// The most stop strings of a request.
pub const STOPS_MAX: usize = 16;
/// The most parts of all messages of a request together; a message of one text is one.
pub const PARTS_MAX: usize = 16_384;
/// The longest stop string, in bytes: so much of a text is held back at most.
pub const STOP_BYTES_MAX: usize = 1024;
/// The most alternatives that may be asked for, as OpenAI limits it.
const LOGPROBS_MAX: u64 = 20;
/// How many tokens are asked for by a request that does not say.
const TOKENS_DEFAULT: u64 = 16;

const ROLES: [&str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];

/// What a request asks for, checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ask {
    /// The model's name; none for the first.
    pub model: Option<String>,
    /// One or more.
    pub prompts: Vec<Prompt>,
    /// Choices for each prompt, at least 1.
    pub n: usize,
    /// Tokens of each choice at most, at least 1.
    pub tokens_max: u64,
    /// What ends a choice; none is empty.
    pub stops: Arc<[Box<str>]>,
    /// Whether tokens are sent as they come.
    pub stream: bool,
    /// Whether the usage is told before the end.
    pub usage: bool,
    /// Whether the usage so far is told in every event.
    pub continuous_usage: bool,
    /// Whether prompts are repeated.
    pub echo: bool,
    /// Whether probabilities are told.
    pub logprobs: bool,
    /// 0 to 2.
    pub temperature: f32,
    /// Above 0, up to 1.
    pub top_p: f32,
    /// What sampling is to begin with.
    pub seed: Option<i64>,
    /// The class that it asks for; 0 is served first.
    pub priority: u8,
}

impl Ask {
    /// Reads the body of `POST /v1/completions`.
    ///
    /// # Errors
    ///
    /// 400, with the field that is wrong.
    pub fn completion(body: &[u8], tokens_max: u64) -> Result<Self, ApiError> {
        let mut request = parse(body)?;
        let prompts = request.prompt.take().map(|prompts| prompts.0).unwrap_or_default();
        if prompts.is_empty() {
            let message =
                "`prompt` is missing or empty: give a string, a list of strings or tokens";
            return Err(ApiError::invalid("prompt", message));
        }
        if request.logprobs == Some(Logprobs::Flag(true)) {
            return Err(ApiError::invalid("logprobs", "`logprobs` of a completion is a number"));
        }
        request.max_completion_tokens = None;
        check(request, prompts, tokens_max)
    }

    /// Reads the body of `POST /v1/chat/completions`.
    ///
    /// # Errors
    ///
    /// 400, with the field that is wrong.
    pub fn chat(body: &[u8], tokens_max: u64) -> Result<Self, ApiError> {
        let mut request = parse(body)?;
        let messages = request.messages.take().map(|messages| messages.0).unwrap_or_default();
        check_messages(&messages)?;
        if matches!(request.logprobs, Some(Logprobs::Number(_))) {
            return Err(ApiError::invalid("logprobs", "`logprobs` of a chat is true or false"));
        }
        request.echo = None;
        check(request, vec![Prompt::Chat(messages)], tokens_max)
    }

    /// Choices of all prompts together.
    #[must_use]
    pub fn choices(&self) -> usize {
        self.prompts.len() * self.n
    }
}

fn parse(body: &[u8]) -> Result<GenerateRequest, ApiError> {
    is_object(body)?;
    let mut json = serde_json::Deserializer::from_slice(body);
    let request =
        serde_path_to_error::deserialize(&mut json).map_err(|error| field_error(&error))?;
    let end = json.end();
    end.map_err(|error| ApiError::malformed(format!("the body is no JSON: {error}")))?;
    Ok(request)
}

/// Whether a body may be a request at all: serde would take a list for one.
pub(super) fn is_object(body: &[u8]) -> Result<(), ApiError> {
    if body.trim_ascii_start().first() == Some(&b'{') {
        return Ok(());
    }
    Err(ApiError::malformed("the body is no JSON object"))
}

/// What a client is told about a body that cannot be read.
pub(super) fn field_error(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let message = error.inner().to_string();
    let is_data = error.inner().is_data();
    match field(error.path()).or_else(|| duplicate(&message)) {
        Some(field) if is_data => ApiError::invalid(&field, message),
        _ => ApiError::malformed(format!("the body is no JSON: {message}")),
    }
}

/// The field of the body that a path leads through.
fn field(path: &Path) -> Option<String> {
    path.iter().find_map(|segment| match segment {
        Segment::Map { key } => Some(key.clone()),
        _ => None,
    })
}

/// The field that serde says is there twice: the path to it is the object's.
fn duplicate(message: &str) -> Option<String> {
    let (field, _) = message.strip_prefix("duplicate field `")?.split_once('`')?;
    Some(field.to_owned())
}

fn check(request: GenerateRequest, prompts: Vec<Prompt>, tokens_max: u64) -> Result<Ask, ApiError> {
    let n = count("n", request.n.unwrap_or(1), CHOICES_MAX as u64)? as usize;
    if CHOICES_MAX < prompts.len().saturating_mul(n) {
        let asked = prompts.len().saturating_mul(n);
        let message = format!("{asked} choices are asked for, at most {CHOICES_MAX} are made");
        return Err(ApiError::invalid("prompt", message));
    }
    let tokens = match request.max_completion_tokens {
        Some(tokens) => count("max_completion_tokens", tokens, tokens_max)?,
        None => count("max_tokens", request.max_tokens.unwrap_or(TOKENS_DEFAULT), tokens_max)?,
    };
    let stream = request.stream.unwrap_or(false);
    let options = check_stream_options(request.stream_options, stream)?;
    for (name, penalty) in [
        ("presence_penalty", request.presence_penalty),
        ("frequency_penalty", request.frequency_penalty),
    ] {
        within(name, penalty.unwrap_or(0.0), -2.0..=2.0)?;
    }
    let top_p = within("top_p", request.top_p.unwrap_or(1.0), 0.0..=1.0)?;
    if top_p == 0.0 {
        return Err(ApiError::invalid("top_p", "`top_p` is 0, above 0 and up to 1"));
    }
    Ok(Ask {
        model: request.model,
        prompts,
        n,
        tokens_max: tokens,
        stops: check_stops(request.stop.map(|stop| stop.0).unwrap_or_default())?,
        stream,
        usage: options.include_usage.unwrap_or(false),
        continuous_usage: options.continuous_usage_stats.unwrap_or(false),
        echo: request.echo.unwrap_or(false),
        logprobs: check_logprobs(request.logprobs, request.top_logprobs)?,
        temperature: within("temperature", request.temperature.unwrap_or(1.0), 0.0..=2.0)?,
        top_p,
        seed: request.seed,
        priority: request.priority.unwrap_or(0).clamp(0, 255) as u8,
    })
}

fn count(name: &str, value: u64, max: u64) -> Result<u64, ApiError> {
    if (1..=max).contains(&value) {
        return Ok(value);
    }
    Err(ApiError::invalid(name, format!("`{name}` is {value}, from 1 to {max}")))
}

fn within(name: &str, value: f32, range: std::ops::RangeInclusive<f32>) -> Result<f32, ApiError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (from, to) = range.into_inner();
    Err(ApiError::invalid(name, format!("`{name}` is {value}, from {from} to {to}")))
}

fn check_messages(messages: &[Message]) -> Result<(), ApiError> {
    let refuse = |message: String| Err(ApiError::invalid("messages", message));
    if messages.is_empty() {
        return refuse("`messages` is missing or empty".to_owned());
    }
    for (number, message) in messages.iter().enumerate() {
        if !ROLES.contains(&message.role.as_str()) {
            let roles = ROLES.join(", ");
            return refuse(format!("the role of message {number} is none of {roles}"));
        }
        let super::Content::Parts(parts) = &message.content else { continue };
        if parts.iter().any(|part| part.kind != "text") {
            return refuse(format!("message {number} has a part that is no text"));
        }
    }
    Ok(())
}

fn check_stream_options(
    options: Option<StreamOptions>,
    stream: bool,
) -> Result<StreamOptions, ApiError> {
    if options.is_some() && !stream {
        let message = "`stream_options` is for streams: set `stream`";
        return Err(ApiError::invalid("stream_options", message));
    }
    Ok(options.unwrap_or_default())
}

fn check_stops(stops: Vec<String>) -> Result<Arc<[Box<str>]>, ApiError> {
    let refuse = |message: String| Err(ApiError::invalid("stop", message));
    if STOPS_MAX < stops.len() {
        return refuse(format!("{} stop strings, at most {STOPS_MAX}", stops.len()));
    }
    if let Some(stop) = stops.iter().find(|stop| !(1..=STOP_BYTES_MAX).contains(&stop.len())) {
        return refuse(format!(
            "a stop string of {} bytes, from 1 to {STOP_BYTES_MAX}",
            stop.len()
        ));
    }
    Ok(stops.into_iter().map(String::into_boxed_str).collect())
}

fn check_logprobs(asked: Option<Logprobs>, top: Option<u64>) -> Result<bool, ApiError> {
    let number = match asked {
        Some(Logprobs::Number(number)) => number,
        _ => 0,
    };
    for (name, number) in [("logprobs", number), ("top_logprobs", top.unwrap_or(0))] {
        if LOGPROBS_MAX < number {
            let message = format!("`{name}` is {number}, from 0 to {LOGPROBS_MAX}");
            return Err(ApiError::invalid(name, message));
        }
    }
    Ok(asked.is_some_and(|asked| asked != Logprobs::Flag(false)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the bytes, there is an answer.
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = (Ask::completion(&bytes, 100), Ask::chat(&bytes, 100));
        }

        /// Pieces of requests, put together anyhow.
        #[test]
        fn anything_like_a_request_is_read_or_refused(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just("null"),
                    Just("\"prompt\""), Just("\"messages\""), Just("\"role\""), Just("\"user\""),
                    Just("\"content\""), Just("\"max_tokens\""), Just("1e999"), Just("-1"),
                    Just("\"\\ud800\""), Just("\"stop\""), Just("true"),
                    Just("18446744073709551616"),
                ],
                0..20,
            ),
        ) {
            let body = format!("{{{}", parts.concat());
            let read = [Ask::completion(body.as_bytes(), 100), Ask::chat(body.as_bytes(), 100)];
            for ask in read.into_iter().flatten() {
                prop_assert!((1..=CHOICES_MAX).contains(&ask.choices()));
                prop_assert!((1..=100).contains(&ask.tokens_max));
            }
        }
    }
}
