//! Fields that come in several forms.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};

use super::check::{CHOICES_MAX, PARTS_MAX, STOPS_MAX};
use super::object::Object;
use super::{Message, Part};

/// What is to be continued.
#[derive(Clone, Debug, PartialEq)]
pub enum Prompt {
    /// A text.
    Text(String),
    /// Numbers of tokens.
    Tokens(Vec<u32>),
    /// A conversation.
    Chat(Vec<Message>),
}

impl Prompt {
    /// How long it is: words of a text, numbers of tokens.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        let words = |text: &str| text.split_whitespace().count();
        let tokens = match self {
            Self::Text(text) => words(text),
            Self::Tokens(tokens) => tokens.len(),
            Self::Chat(messages) => {
                messages.iter().flat_map(|message| message.content.texts()).map(words).sum()
            }
        };
        tokens as u64
    }
}

/// The field `prompt`: a string, a list of strings, a list of numbers or a list of such lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prompts(pub Vec<Prompt>);

/// One item of a list of prompts.
enum Item {
    Text(String),
    Token(u32),
    Tokens(Vec<u32>),
}

const ITEM: &str = "a string, the number of a token (up to 4294967295) or a list of such numbers";

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ITEM)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Item, E> {
        Ok(Item::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Item, E> {
        Ok(Item::Text(text))
    }

    fn visit_u64<E: Error>(self, token: u64) -> Result<Item, E> {
        let number = u32::try_from(token);
        number.map(Item::Token).map_err(|_| E::invalid_value(Unexpected::Unsigned(token), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Item, A::Error> {
        let mut tokens = Vec::new();
        while let Some(token) = items.next_element()? {
            tokens.push(token);
        }
        Ok(Item::Tokens(tokens))
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

struct PromptsVisitor;

impl<'de> Visitor<'de> for PromptsVisitor {
    type Value = Prompts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a list of strings, a list of tokens or a list of lists of tokens")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Prompts, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Prompts, E> {
        Ok(Prompts(vec![Prompt::Text(text)]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Prompts, A::Error> {
        let (mut tokens, mut prompts) = (Vec::new(), Vec::new());
        while let Some(item) = items.next_element()? {
            if prompts.len() == CHOICES_MAX {
                return Err(more_than("prompts", CHOICES_MAX));
            }
            match (item, prompts.last()) {
                (Item::Token(token), None) => tokens.push(token),
                (Item::Text(text), None | Some(Prompt::Text(_))) if tokens.is_empty() => {
                    prompts.push(Prompt::Text(text));
                }
                (Item::Tokens(list), None | Some(Prompt::Tokens(_))) if tokens.is_empty() => {
                    prompts.push(Prompt::Tokens(list));
                }
                _ => return Err(A::Error::custom("a list of prompts is of one kind")),
            }
        }
        if !tokens.is_empty() {
            prompts.push(Prompt::Tokens(tokens));
        }
        Ok(Prompts(prompts))
    }
}

impl<'de> Deserialize<'de> for Prompts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PromptsVisitor)
    }
}

/// What is told as soon as a list is too long: the rest of it is not held first.
fn more_than<E: Error>(what: &str, max: usize) -> E {
    E::custom(format_args!("more than {max} {what}"))
}

/// A string or a list of strings, of stop strings at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings(pub Vec<String>);

struct StringsVisitor;

impl<'de> Visitor<'de> for StringsVisitor {
    type Value = Strings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Strings, E> {
        Ok(Strings(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strings, A::Error> {
        let mut strings = Vec::new();
        while let Some(string) = items.next_element()? {
            if strings.len() == STOPS_MAX {
                return Err(more_than("stop strings", STOPS_MAX));
            }
            strings.push(string);
        }
        Ok(Strings(strings))
    }
}

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StringsVisitor)
    }
}

/// What a message says: a string, a list of parts, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// Nothing, as in a call of a tool.
    #[default]
    Nothing,
    /// One text.
    Text(String),
    /// Several parts.
    Parts(Vec<Part>),
}

impl Content {
    /// How many parts it has; one where it has no list of them.
    fn parts(&self) -> usize {
        match self {
            Self::Nothing | Self::Text(_) => 1,
            Self::Parts(parts) => parts.len().max(1),
        }
    }

    /// Its texts, in order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let (text, parts) = match self {
            Self::Nothing => (None, &[][..]),
            Self::Text(text) => (Some(text.as_str()), &[][..]),
            Self::Parts(parts) => (None, parts.as_slice()),
        };
        text.into_iter().chain(parts.iter().filter_map(|part| part.text.as_deref()))
    }
}

/// The field `messages`: a list of messages, each an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages(pub Vec<Message>);

struct MessagesVisitor;

impl<'de> Visitor<'de> for MessagesVisitor {
    type Value = Messages;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Messages, A::Error> {
        let (mut messages, mut parts) = (Vec::<Message>::new(), 0);
        while let Some(Object(message)) = items.next_element::<Object<Message>>()? {
            parts += message.content.parts();
            if PARTS_MAX < parts {
                return Err(more_than("messages and parts of them", PARTS_MAX));
            }
            messages.push(message);
        }
        Ok(Messages(messages))
    }
}

impl<'de> Deserialize<'de> for Messages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(MessagesVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a list of parts or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Content, E> {
        Ok(Content::Nothing)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Content, E> {
        Ok(Content::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut parts = Vec::new();
        while let Some(Object(part)) = items.next_element()? {
            if parts.len() == PARTS_MAX {
                return Err(more_than("parts", PARTS_MAX));
            }
            parts.push(part);
        }
        Ok(Content::Parts(parts))
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}
