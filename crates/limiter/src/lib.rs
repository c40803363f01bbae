//! How fast, and how many at once: limits that are exact, fair and safe to cancel.
//!
//! A *rate limit* here is a token bucket: tokens (bytes, requests, anything that counts) drip in at a
//! rate, at most a burst of them is kept, and whoever wants some waits in line until they are there.
//! A *concurrency limit* is a number of permits.
//!
//! # The guarantee
//!
//! Over any interval of length `t` at most `burst + rate · t` tokens are granted, and what the last
//! request exceeds the burst by; while somebody waits, no less than `rate · t` minus one request. Both
//! hold for every limit of a tree at once, through cancellations, tokens given back and changes of rate.
//! The arithmetic is in whole numbers: no rate drifts, from one token in centuries to many per nanosecond.
//!
//! # When to use it, and when not
//!
//! Use it to hold bytes per second or requests per second *inside one process*, where large and small
//! requests share a limit. Do not use it to hold a limit across machines, and do not expect it to shape
//! what the kernel has already taken from the network: a receive buffer fills at line rate (see
//! `Throttled`). Where each request takes one token, nobody waits and every nanosecond counts, a bare
//! atomic is cheaper.
//!
//! # Example
//!
//! One limit for all downloads, of which the urgent one gets four parts of five:
//!
#![cfg_attr(feature = "tokio", doc = "```")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use std::time::Duration;
//! use limiter::{Burst, Limiter, Rate, Share, Throttled};
//! use tokio::io::AsyncReadExt;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let rate: Rate = "50MB/s".parse()?;
//! let all = Limiter::new(rate, Burst::lasting(Duration::from_millis(20), rate));
//! let urgent = all.child(Share { weight: 4, ..Share::default() })?;
//! let other = all.child(Share::default())?;
//!
//! let mut model = Throttled::new(&[7_u8; 1 << 20][..], urgent);
//! let mut sample = Throttled::new(&[7_u8; 1 << 20][..], other);
//! let (mut model_bytes, mut sample_bytes) = (Vec::new(), Vec::new());
//! tokio::try_join!(model.read_to_end(&mut model_bytes), sample.read_to_end(&mut sample_bytes))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Cores and handles
//!
//! What decides reads no clock and knows no runtime; it takes the time as an argument and can be used
//! alone, with no dependency: [`TokenBucket`], [`Tree`] (limits within limits, and their lines),
//! [`Slots`], [`AdaptiveConcurrency`]. What waits is a thin handle around one of them.
//!
//! # Features
//!
//! - `tokio` (on by default): `Limiter`, `Throttled`, `ConcurrencyLimit`, `AdaptiveLimit`, `Keyed`. Time
//!   is tokio's, so `tokio::time::pause` works.
//! - `http-body`: `ThrottledBody`, for any `http_body::Body`.
//! - `loom`, `shuttle`: put a model checker's lock and clock in; for this crate's own tests.

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

#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;
