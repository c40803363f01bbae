//! How fast, and how many at once.
#![forbid(unsafe_code)]
mod adaptive;
#[cfg(feature = "tokio")]
mod adaptive_limit;
#[cfg(feature = "http-body")]
mod body;
mod bucket;
mod burst;
#[cfg(feature = "tokio")]
mod concurrency;
#[cfg(feature = "tokio")]
mod handle;
#[cfg(feature = "tokio")]
mod keyed;
mod moment;
mod rate;
#[cfg(feature = "tokio")]
mod seam;
#[cfg(feature = "tokio")]
mod shared;
mod slots;
mod stats;
#[cfg(feature = "tokio")]
mod sync;
#[cfg(feature = "tokio")]
mod throttled;
mod tree;
#[cfg(feature = "tokio")]
mod waiters;

pub use adaptive::{AdaptiveConcurrency, AdaptiveError, AdaptiveOptions, Sample};
#[cfg(feature = "tokio")]
pub use adaptive_limit::{AdaptiveLimit, AdaptivePermit};
#[cfg(feature = "http-body")]
pub use body::ThrottledBody;
pub use bucket::{NotUntil, TokenBucket};
pub use burst::{Burst, BurstError};
#[cfg(feature = "tokio")]
pub use concurrency::{ConcurrencyLimit, ConcurrencyPermit};
#[cfg(feature = "tokio")]
pub use handle::{Limiter, Permit, RetryAt};
#[cfg(feature = "tokio")]
pub use keyed::{Keyed, KeyedError, KeyedOptions};
pub use moment::Moment;
pub use rate::{Rate, RateError, text::ParseError};
#[cfg(any(feature = "loom", feature = "shuttle"))]
#[doc(hidden)]
pub use seam::Clock;
pub use slots::{SlotTicket, Slots};
pub use stats::{Stats, WaitHistogram};
#[cfg(feature = "tokio")]
pub use throttled::Throttled;
pub use tree::{Grant, NodeId, Share, ShareError, Ticket, Tree};
