//! Can this connection be used again: pools of anything that is dear to open.
//!
//! A pool keeps connections by key (a host, a shard), lends each to one user at a time and decides who
//! gets which one when: caps per key and in total, first come first served, idle ones evicted, dead ones
//! never handed out.
//!
//! # The guarantee
//!
//! At every instant `connecting + idle + leased + closing ≤ cap`, per key and in total; and
//! `opened = closed + live`, whatever is cancelled, whatever panics.
//!
//! # When to use it, and when not
//!
//! Use it where a number of live connections must be held and where you need to know how often they
//! were used again. Where neither matters, the pool inside an HTTP client is enough.
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "tokio")]
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), pool::GetError> {
//! use pool::{Options, Pool, Poolable, State};
//!
//! struct Session { broken: bool }
//!
//! impl Poolable for Session {
//!     fn state(&mut self) -> State {
//!         if self.broken { State::Dead } else { State::Reusable }
//!     }
//! }
//!
//! let connect = |_shard: u32| async { Ok::<_, std::io::Error>(Session { broken: false }) };
//! let pool = Pool::new(connect, Options { connections_per_key_max: 4, ..Options::default() });
//!
//! let mut session = pool.get(&7).await?;
//! session.broken = true;
//! drop(session);
//! assert!(!pool.get(&7).await?.reused(), "a broken session is not lent again");
//! assert!(pool.stats().adds_up());
//! # Ok(()) }
//! # #[cfg(not(feature = "tokio"))] fn main() {}
//! ```
//!
//! # Features
//!
//! - none: [`Slots`], the pure core, for any runtime.
//! - `tokio` (default): [`Pool`], which carries out what the core decides on the caller's runtime and
//!   clock; it works under paused time.
//! - `http`: an HTTP/1.1 client whose replies give their connection back at the end of their body.
//! - `tls`: `https` for it.
//! - `shuttle`: for the tests of this crate alone.

#![forbid(unsafe_code)]

mod options;
mod slots;
mod stats;

#[cfg(feature = "http")]
pub mod http;

#[cfg(feature = "tokio")]
mod connect;
#[cfg(feature = "tokio")]
mod error;
#[cfg(feature = "tokio")]
mod handle;
#[cfg(feature = "tokio")]
mod keeper;
#[cfg(feature = "tokio")]
mod lease;
#[cfg(feature = "tokio")]
mod seam;
#[cfg(feature = "tokio")]
mod seats;
#[cfg(feature = "tokio")]
mod shared;
#[cfg(feature = "tokio")]
mod sync;

pub use self::options::{Options, Reuse};
pub use self::slots::{Command, Fate, Granted, Refused, SlotId, Slots, Ticket};
pub use self::stats::{CloseReason, Closed, Stats, WaitHistogram};

#[cfg(feature = "tokio")]
pub use self::connect::{BoxError, CloseNotice, Connect, Key, Poolable, State};
#[cfg(feature = "tokio")]
pub use self::error::GetError;
#[cfg(feature = "tokio")]
pub use self::handle::Pool;
#[cfg(feature = "tokio")]
pub use self::lease::Lease;

/// The example of the README is compiled.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
struct Readme;
