//! Bodies of requests.

use serde::Deserialize;

use super::{Content, Messages, Prompts, Strings};

/// The body of `POST /v1/completions` and of `POST /v1/chat/completions`: the routes differ in what
/// they look at.
///
/// # Examples
///
/// ```
/// use streaming_server::wire::GenerateRequest;
///
/// let body = r#"{"prompt": [1, 2, 3], "max_tokens": 8, "ignore_eos": true}"#;
/// let request: GenerateRequest = serde_json::from_str(body)?;
/// assert_eq!(3, request.prompt.unwrap().0[0].tokens());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct GenerateRequest {
    /// The model's name; the server's first if left out.
    pub model: Option<String>,
    /// Completions: what is to be continued.
    pub prompt: Option<Prompts>,
    /// Chat: the conversation so far.
    pub messages: Option<Messages>,
    /// So many tokens at most, at least 1; 16 if left out.
    pub max_tokens: Option<u64>,
    /// Chat: the same by its newer name, which wins.
    pub max_completion_tokens: Option<u64>,
    /// Whether tokens are sent as they come.
    pub stream: Option<bool>,
    /// What a stream is to hold besides.
    #[serde(deserialize_with = "super::object::optional")]
    pub stream_options: Option<StreamOptions>,
    /// So many choices for each prompt; 1 if left out.
    pub n: Option<u64>,
    /// Texts that end a choice, which are not shown.
    pub stop: Option<Strings>,
    /// Completions: whether the prompt is repeated before its continuation.
    pub echo: Option<bool>,
    /// Whether the tokens' probabilities are told: for completions a number, for chats a flag.
    pub logprobs: Option<Logprobs>,
    /// Chat: how many alternatives are told; none are known, whatever is asked for.
    pub top_logprobs: Option<u64>,
    /// 0 to 2.
    pub temperature: Option<f32>,
    /// Above 0 and up to 1.
    pub top_p: Option<f32>,
    /// -2 to 2.
    pub presence_penalty: Option<f32>,
    /// -2 to 2.
    pub frequency_penalty: Option<f32>,
    /// What sampling is to begin with.
    pub seed: Option<i64>,
    /// The request's class, as vLLM has it: the lowest is served first. Its key's is the lowest that
    /// it can have.
    pub priority: Option<i64>,
}

/// The field `stream_options`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StreamOptions {
    /// An event with the usage before the end.
    pub include_usage: Option<bool>,
    /// The usage so far in every event, as vLLM has it.
    pub continuous_usage_stats: Option<bool>,
}

/// The field `logprobs`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged, expecting = "expected a flag or a number from 0 to 20")]
pub enum Logprobs {
    /// Of chats.
    Flag(bool),
    /// Of completions: how many alternatives.
    Number(u64),
}

/// One message of a conversation.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Message {
    /// Who says it: `system`, `developer`, `user`, `assistant`, `tool` or `function`.
    pub role: String,
    /// What is said.
    #[serde(default)]
    pub content: Content,
}

/// One part of a message.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Part {
    /// What it is: `text` alone is served.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text, where it is one.
    #[serde(default)]
    pub text: Option<String>,
}
