//! What a relay has to know of a request: how much it asks for, and of which model.

use serde::Deserialize;

use super::check::{field_error, is_object};
use super::{ApiError, CHOICES_MAX, Prompts};

/// How many tokens are counted for a request that does not say how many it wants.
const TOKENS_ASSUMED: u64 = 256;
/// Bytes of a request for each token of its prompt, roughly, whatever the language.
const BYTES_PER_TOKEN: u64 = 4;

/// What is read of a request that is passed on; the rest is its upstream's to judge.
#[derive(Clone, Debug)]
pub(crate) struct Glance {
    pub(crate) model: Option<String>,
    pub(crate) stream: bool,
    /// Roughly.
    pub(crate) prompt_tokens: u64,
    /// Of all choices.
    pub(crate) tokens_max: u64,
    pub(crate) priority: u8,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    model: Option<String>,
    prompt: Option<Prompts>,
    stream: Option<bool>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    n: Option<u64>,
    priority: Option<i64>,
}

impl Glance {
    /// Reads the body of `POST /v1/completions`.
    ///
    /// # Errors
    ///
    /// 400, with the field that is wrong.
    pub(crate) fn completion(body: &[u8], tokens_max: u64) -> Result<Self, ApiError> {
        let fields = Fields { max_completion_tokens: None, ..Fields::read(body)? };
        fields.check(body.len(), tokens_max)
    }

    /// Reads the body of `POST /v1/chat/completions`.
    ///
    /// # Errors
    ///
    /// 400, with the field that is wrong.
    pub(crate) fn chat(body: &[u8], tokens_max: u64) -> Result<Self, ApiError> {
        let fields = Fields { prompt: None, ..Fields::read(body)? };
        fields.check(body.len(), tokens_max)
    }
}

impl Fields {
    fn read(body: &[u8]) -> Result<Self, ApiError> {
        is_object(body)?;
        let mut json = serde_json::Deserializer::from_slice(body);
        let fields =
            serde_path_to_error::deserialize(&mut json).map_err(|error| field_error(&error))?;
        let end = json.end();
        end.map_err(|error| ApiError::malformed(format!("the body is no JSON: {error}")))?;
        Ok(fields)
    }

    fn check(self, body_bytes: usize, tokens_max: u64) -> Result<Glance, ApiError> {
        let (name, told) = match self.max_completion_tokens {
            Some(tokens) => ("max_completion_tokens", Some(tokens)),
            None => ("max_tokens", self.max_tokens),
        };
        let asked = told.unwrap_or(TOKENS_ASSUMED.min(tokens_max));
        if tokens_max < asked {
            let message = format!("`{name}` is {asked}, at most {tokens_max}");
            return Err(ApiError::invalid(name, message));
        }
        let n = self.n.unwrap_or(1);
        if !(1..=CHOICES_MAX as u64).contains(&n) {
            let message = format!("`n` is {n}, from 1 to {CHOICES_MAX}");
            return Err(ApiError::invalid("n", message));
        }
        let prompts = self.prompt.map_or(1, |prompts| prompts.0.len().max(1) as u64);
        Ok(Glance {
            model: self.model,
            stream: self.stream.unwrap_or(false),
            prompt_tokens: body_bytes as u64 / BYTES_PER_TOKEN,
            tokens_max: asked.saturating_mul(n).saturating_mul(prompts),
            priority: self.priority.unwrap_or(0).clamp(0, 255) as u8,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_read_and_the_rest_is_not() {
        let body =
            br#"{"model":"m","stream":true,"max_tokens":9,"n":3,"messages":{"odd":[1]},"x":1e9}"#;
        let glance = Glance::completion(body, 100).unwrap();
        assert_eq!(
            (Some("m".to_owned()), true, 27),
            (glance.model, glance.stream, glance.tokens_max)
        );
        assert_eq!(body.len() as u64 / 4, glance.prompt_tokens);
        for (most, assumed) in [(1000, TOKENS_ASSUMED), (100, 100)] {
            assert_eq!(assumed, Glance::chat(b"{}", most).unwrap().tokens_max);
        }
    }

    #[test]
    fn every_choice_of_every_prompt_counts_as_its_dialect_has_them() {
        for (prompt, prompts) in
            [("\"a\"", 1), ("[\"a\",\"b c\"]", 2), ("[1,2,3]", 1), ("[[1],[2],[]]", 3), ("[]", 1)]
        {
            let body =
                format!(r#"{{"prompt":{prompt},"n":2,"max_tokens":50,"max_completion_tokens":3}}"#);
            let [completion, chat] = [Glance::completion, Glance::chat]
                .map(|glance| glance(body.as_bytes(), 100).unwrap().tokens_max);
            assert_eq!((prompts * 2 * 50, 2 * 3), (completion, chat), "{prompt}");
        }
        let error = Glance::chat(br#"{"max_completion_tokens":101}"#, 100).unwrap_err();
        assert_eq!(Some("max_completion_tokens"), error.param.as_deref());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, param) in [
            (&br#"{"max_tokens":101}"#[..], Some("max_tokens")),
            (br#"{"max_tokens":-1}"#, Some("max_tokens")),
            (br#"{"n":129}"#, Some("n")),
            (br#"{"n":18446744073709551615}"#, Some("n")),
            (br#"{"n":0}"#, Some("n")),
            (br#"{"stream":"yes"}"#, Some("stream")),
            (br#"{"model":7}"#, Some("model")),
            (br#"{"prompt":7}"#, Some("prompt")),
            (b"[]", None),
            (b"{", None),
            (b"{} x", None),
        ] {
            let error = Glance::completion(body, 100).unwrap_err();
            assert_eq!((400, param), (error.status.as_u16(), error.param.as_deref()));
        }
    }
}
