//! What the crate promises, through its public interface.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod adaptive;
#[cfg(feature = "http-body")]
mod body;
mod bucket;
mod concurrency;
mod keyed;
mod model;
mod real_time;
mod throttled;
mod tree;
mod waiting;
