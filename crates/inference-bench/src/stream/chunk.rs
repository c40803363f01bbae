//! What an event of an OpenAI-compatible stream says.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::record::Kind;

/// One event, as far as a measurement needs it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chunk<'a> {
    pub(crate) kind: Kind,
    /// The text it brought.
    pub(crate) text: Cow<'a, str>,
    /// Tokens in it, where it tells by its log probabilities.
    pub(crate) tokens: Option<u16>,
    /// The tokens of the answer so far, where it tells.
    pub(crate) completion_tokens: Option<u64>,
}

/// Why an event is none of a stream of tokens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ChunkError {
    /// It is no JSON, or not of that form.
    NotAChunk(String),
    /// The server tells of an error, in these words.
    Error(String),
}

/// A text that is copied only where JSON escapes it.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The first element of a list; the others are read over. No list is made for it.
struct First<T>(Option<T>);

impl<T> Default for First<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FirstVisitor(PhantomData))
    }
}

struct FirstVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for FirstVisitor<T> {
    type Value = First<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<First<T>, A::Error> {
        let first = list.next_element()?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(First(first))
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    choices: First<Choice<'a>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
    #[serde(default)]
    logprobs: Option<Logprobs>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Option<Text<'a>>,
    #[serde(borrow, default)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow, default)]
    reasoning: Option<Text<'a>>,
    #[serde(default)]
    tool_calls: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
struct Logprobs {
    /// Of completions.
    #[serde(default)]
    tokens: Option<Vec<IgnoredAny>>,
    /// Of chats.
    #[serde(default)]
    content: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    completion_tokens: Option<u64>,
}

impl<'a> Chunk<'a> {
    /// Reads the data of an event. `[DONE]` is one, too.
    pub(crate) fn read(name: &str, data: &'a str) -> Result<Self, ChunkError> {
        if data == "[DONE]" {
            return Ok(Self::of(Kind::Done));
        }
        let wire: Wire<'a> = serde_json::from_str(data)
            .map_err(|error| ChunkError::NotAChunk(format!("an event holds no chunk: {error}")))?;
        if let Some(error) = wire.error.filter(|error| !error.is_null()) {
            return Err(ChunkError::Error(message(&error)));
        }
        if name == "error" {
            return Err(ChunkError::Error(data.to_owned()));
        }
        let completion_tokens = wire.usage.and_then(|usage| usage.completion_tokens);
        let chunk = match wire.choices.0 {
            Some(choice) => Self::of_choice(choice),
            None if completion_tokens.is_some() => Self::of(Kind::Usage),
            None => Self::of(Kind::Other),
        };
        Ok(Self { completion_tokens, ..chunk })
    }

    fn of(kind: Kind) -> Self {
        Self { kind, text: Cow::Borrowed(""), tokens: None, completion_tokens: None }
    }

    fn of_choice(choice: Choice<'a>) -> Self {
        let tokens = choice.logprobs.and_then(|l| l.tokens.or(l.content)).map(|list| list.len());
        let tokens = tokens.filter(|&n| 0 < n).and_then(|n| u16::try_from(n).ok());
        let is_chat = choice.delta.is_some();
        let (kind, text) = match choice.delta {
            Some(delta) => part_of(delta),
            None => (Kind::Content, choice.text),
        };
        let text = text.map(|text| text.0).unwrap_or_default();
        let kind = match kind {
            Kind::Tool => Kind::Tool,
            kind if !text.is_empty() => kind,
            _ if choice.finish_reason.is_some() => Kind::Finish,
            // A token may have no text of its own: a part of a character. Its log probability tells.
            kind if tokens.is_some() => kind,
            _ if is_chat => Kind::Role,
            _ => Kind::Other,
        };
        Self { kind, text, tokens, completion_tokens: None }
    }
}

fn part_of(delta: Delta<'_>) -> (Kind, Option<Text<'_>>) {
    let full = |text: &Option<Text<'_>>| text.as_ref().is_some_and(|text| !text.0.is_empty());
    let reasoning = delta.reasoning_content.filter(|text| !text.0.is_empty()).or(delta.reasoning);
    if full(&delta.content) {
        (Kind::Content, delta.content)
    } else if full(&reasoning) {
        (Kind::Reasoning, reasoning)
    } else if delta.tool_calls.is_some_and(|calls| !calls.is_empty()) {
        (Kind::Tool, None)
    } else {
        (Kind::Content, None)
    }
}

/// The words of an error object, or all of it.
fn message(error: &serde_json::Value) -> String {
    let words = error.get("message").and_then(serde_json::Value::as_str);
    words.map_or_else(|| error.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(data: &str, kind: Kind, text: &str) {
        let chunk = Chunk::read("", data).unwrap();
        assert_eq!((kind, text), (chunk.kind, &*chunk.text), "{data}");
    }

    #[test]
    fn completions() {
        check(r#"{"choices":[{"text":"a \"b\"","finish_reason":null}]}"#, Kind::Content, "a \"b\"");
        check(r#"{"choices":[{"text":"","finish_reason":"length"}]}"#, Kind::Finish, "");
        check(r#"{"choices":[{"text":"end","finish_reason":"stop"}]}"#, Kind::Content, "end");
        check("[DONE]", Kind::Done, "");
    }

    #[test]
    fn chats() {
        let delta = |delta: &str| format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#);
        check(&delta(r#"{"role":"assistant","content":""}"#), Kind::Role, "");
        check(&delta(r#"{"content":"hi"}"#), Kind::Content, "hi");
        check(&delta(r#"{"reasoning_content":"hm"}"#), Kind::Reasoning, "hm");
        check(&delta(r#"{"content":null,"reasoning":"hm"}"#), Kind::Reasoning, "hm");
        check(&delta(r#"{"tool_calls":[{"index":0}]}"#), Kind::Tool, "");
        check(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, Kind::Finish, "");
    }

    #[test]
    fn tokens_are_counted_where_the_event_tells() {
        let data = r#"{"choices":[{"text":"abc","logprobs":{"tokens":["a","b","c"]}}]}"#;
        assert_eq!(Some(3), Chunk::read("", data).unwrap().tokens);
        let data =
            r#"{"choices":[{"delta":{"content":""},"logprobs":{"content":[{"token":"x"}]}}]}"#;
        let chunk = Chunk::read("", data).unwrap();
        assert_eq!((Kind::Content, Some(1)), (chunk.kind, chunk.tokens));
    }

    #[test]
    fn usage_comes_alone_or_with_each_event() {
        let alone = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":7}}"#;
        let chunk = Chunk::read("", alone).unwrap();
        assert_eq!((Kind::Usage, Some(7)), (chunk.kind, chunk.completion_tokens));
        let along = r#"{"choices":[{"text":"a"}],"usage":{"completion_tokens":2}}"#;
        let chunk = Chunk::read("", along).unwrap();
        assert_eq!((Kind::Content, Some(2)), (chunk.kind, chunk.completion_tokens));
        check(r#"{"choices":[{"text":"a"}],"usage":null}"#, Kind::Content, "a");
    }

    #[test]
    fn errors_are_told_in_the_servers_words() {
        let error = |name, data| Chunk::read(name, data).unwrap_err();
        let told = error("", r#"{"error":{"message":"out of memory","type":"x"}}"#);
        assert_eq!(ChunkError::Error("out of memory".to_owned()), told);
        assert_eq!(ChunkError::Error("\"down\"".to_owned()), error("", r#"{"error":"down"}"#));
        assert!(matches!(error("error", r#"{"code":5}"#), ChunkError::Error(_)));
        assert!(matches!(error("", "{\"choices\":["), ChunkError::NotAChunk(_)));
        assert!(matches!(error("", "[1]"), ChunkError::NotAChunk(_)));
    }
}
