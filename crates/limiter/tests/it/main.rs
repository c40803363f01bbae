//! What the crate promises, through its public interface.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod adaptive;
#[cfg(feature = "http-body")]
mod body;
mod bucket;
mod concurrency;
mod keyed;
mod large;
mod model;
mod real_time;
mod throttled;
mod tree;
mod waiting;
