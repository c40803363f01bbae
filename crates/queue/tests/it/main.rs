//! What the queue promises, through its public API.

#![forbid(unsafe_code)]

mod known_failures;
mod scheduler;
