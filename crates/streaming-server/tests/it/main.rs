//! Behavior through the public API, on raw bytes: what a client library makes of them is its own affair.
#![expect(clippy::unwrap_used, reason = "what tests share is a test as well")]

mod ambiguous;
mod bad_input;
mod cancel;
mod faults;
mod helpers;
#[cfg(feature = "cli")]
mod hostile_real_time;
mod keys;
#[cfg(feature = "cli")]
mod original_real_time;
#[cfg(feature = "cli")]
mod program;
mod properties;
mod real_time;
mod relay;
mod relay_real_time;
#[cfg(feature = "cli")]
mod syscalls_real_time;
mod upstreams;
mod wire;
