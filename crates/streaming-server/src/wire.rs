//! Requests, replies and errors as OpenAI's API has them.
//!
//! Unknown fields are ignored, and so are known ones that a runner cannot honor (`user`, `top_k`,
//! `best_of`, …): clients send them unasked. What is honored is checked, and an error names the field.

mod check;
mod error;
mod fields;
mod glance;
mod object;
mod reply;
mod request;

pub use self::check::{Ask, CHOICES_MAX, PARTS_MAX, STOP_BYTES_MAX, STOPS_MAX};
pub use self::error::ApiError;
pub use self::fields::{Content, Messages, Prompt, Prompts, Strings};
pub(crate) use self::glance::Glance;
pub use self::reply::{Model, Models, Usage};
pub use self::request::{GenerateRequest, Logprobs, Message, Part, StreamOptions};
