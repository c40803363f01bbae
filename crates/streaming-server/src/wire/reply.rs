//! Bodies of replies that are not streamed.

use serde::Serialize;
use serde_json::Value;

use crate::runner::FinishReason;

/// How many tokens a request took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of all prompts.
    pub prompt_tokens: u64,
    /// Of all choices.
    pub completion_tokens: u64,
}

impl Serialize for Usage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let mut fields = serializer.serialize_struct("Usage", 3)?;
        fields.serialize_field("prompt_tokens", &self.prompt_tokens)?;
        fields.serialize_field("completion_tokens", &self.completion_tokens)?;
        let total = self.prompt_tokens + self.completion_tokens;
        fields.serialize_field("total_tokens", &total)?;
        fields.end()
    }
}

/// The reply to a request that is not streamed.
#[derive(Clone, Debug, Serialize)]
pub struct Reply {
    /// `cmpl-…` or `chatcmpl-…`.
    pub id: String,
    /// `text_completion` or `chat.completion`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// The model's name.
    pub model: String,
    /// In the order of their numbers.
    pub choices: Vec<Choice>,
    /// How many tokens it took.
    pub usage: Usage,
}

/// One choice of a reply.
#[derive(Clone, Debug, Serialize)]
pub struct Choice {
    /// Its number: that of the prompt times `n`, plus that among the prompt's.
    pub index: usize,
    /// Completions: its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Chats: its message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<ChatMessage>,
    /// The tokens' probabilities, where they were asked for.
    pub logprobs: Option<Value>,
    /// Why it ended.
    pub finish_reason: &'static str,
}

/// What a chat is answered.
#[derive(Clone, Debug, Serialize)]
pub struct ChatMessage {
    /// `assistant`.
    pub role: &'static str,
    /// Its text.
    pub content: String,
}

impl Choice {
    /// A choice of a completion.
    #[must_use]
    pub fn completion(index: usize, text: String, reason: FinishReason) -> Self {
        let finish_reason = reason.word();
        Self { index, text: Some(text), message: None, logprobs: None, finish_reason }
    }

    /// A choice of a chat.
    #[must_use]
    pub fn chat(index: usize, content: String, reason: FinishReason) -> Self {
        let message = Some(ChatMessage { role: "assistant", content });
        Self { index, text: None, message, logprobs: None, finish_reason: reason.word() }
    }
}

/// The reply of `GET /v1/models`.
#[derive(Clone, Debug, Serialize)]
pub struct Models {
    /// `list`.
    pub object: &'static str,
    /// One for each name.
    pub data: Vec<Model>,
}

/// What is told about a model.
#[derive(Clone, Debug, Serialize)]
pub struct Model {
    /// Its name.
    pub id: String,
    /// `model`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: u64,
    /// Who serves it.
    pub owned_by: &'static str,
    /// The largest `max_tokens`.
    pub max_model_len: u64,
}

impl Models {
    /// What is told about models of these names.
    #[must_use]
    pub fn named(names: &[String], created: u64, tokens_max: u64) -> Self {
        let model = |name: &String| Model {
            id: name.clone(),
            object: "model",
            created,
            owned_by: "streaming-server",
            max_model_len: tokens_max,
        };
        Self { object: "list", data: names.iter().map(model).collect() }
    }
}
