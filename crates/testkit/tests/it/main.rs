//! Behavior through the public API. Replies are read as raw bytes: what a fault does on the wire must not
//! depend on what a client library makes of it.
#![expect(clippy::unwrap_used, reason = "what tests share is a test as well")]

mod control;
mod delivery;
mod helpers;
mod hub;
mod link;
mod messages;
mod polite;
#[cfg(feature = "cli")]
mod program;
mod real_time;
mod tokens;
mod wire;
