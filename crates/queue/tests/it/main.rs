//! What the queue promises, through its public API.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helpers too")]

#[cfg(feature = "tokio")]
mod cancelling;
#[cfg(feature = "tokio")]
mod journal;
mod known_failures;
#[cfg(feature = "tokio")]
mod room;
#[cfg(feature = "tokio")]
mod running;
mod scheduler;
#[cfg(feature = "tokio")]
mod shutting_down;
#[cfg(feature = "tokio")]
mod waiting;
#[cfg(feature = "tokio")]
mod watching;
#[cfg(feature = "tokio")]
mod worlds;
