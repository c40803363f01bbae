//! What replies tell: usage, and models.

use serde::Serialize;

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
