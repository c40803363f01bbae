//! The outside world, under control: servers and links that are slow, lossy or lying on command.
//!
//! [`Origin`] is an HTTP/1.1 server on loopback that serves [`Blob`]s, whose bytes are computed, and
//! breaks in the ways that [`Fault`] rules say; [`Hub`] is a model hub on two of them; [`Link`] makes a
//! near server far; [`TokenSource`] emits tokens on an exact schedule and [`SseReader`] reads such
//! streams strictly. The program `origin` is all of it on the command line.
//!
//! # The guarantee
//!
//! Byte `i` of a blob is a function of its seed and `i` alone, so any client's copy can be checked
//! without storing the original. Each injected fault is counted when it happens. Bytes go out on an
//! absolute schedule: over any interval `t` at most `rate · (t + 25 ms)` and one piece, and on average
//! exactly `rate`.
//!
//! # When to use it, and when not
//!
//! Use it to test any downloader, SSE client or proxy against a web that misbehaves. It listens on
//! loopback only and is no production server: its limits are there so that tests end, and it computes
//! every byte it sends. Linux only (timers of the kernel, `/proc`).
//!
//! # Example
//!
//! A client should survive a connection that breaks off, and fetch nothing twice:
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use testkit::{Blob, Options, Origin};
//!
//! let model = Blob::new("model.bin", 1_000_000, 7);
//! let origin = Origin::start(Options { blobs: vec![model.clone()], ..Options::default() })?;
//! origin.update(|settings| settings.faults = vec!["cut#1".parse().expect("a rule")]);
//!
//! let mut copy = Vec::new();
//! while (copy.len() as u64) < model.size() {
//!     let mut connection = TcpStream::connect(origin.address())?;
//!     let range = format!("Range: bytes={}-\r\nConnection: close", copy.len());
//!     let request = format!("GET /model.bin HTTP/1.1\r\nHost: localhost\r\n{range}\r\n\r\n");
//!     connection.write_all(request.as_bytes())?;
//!     let mut reply = Vec::new();
//!     connection.read_to_end(&mut reply)?;
//!     let head = reply.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
//!     copy.extend(&reply[head + 4..]);
//! }
//!
//! let stats = origin.stats();
//! assert_eq!((1, 2), (stats.faults["cut#1"], stats.requests));
//! assert_eq!(model.size(), stats.sent_bytes);
//! assert_eq!(Some(model.byte(999_999)), copy.last().copied());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! - `cli`: the program `origin`.
//!
//! # Where time comes from
//!
//! Servers run on threads of their own and by the real clock: a test under tokio's paused time can use
//! them as it would any other process. Pacing is on purpose not the workspace's limiter: an instrument
//! that shares code with what it measures shares its mistakes.

#![forbid(unsafe_code)]

mod blob;
pub mod fault;
mod hub;
mod leaks;
mod link;
mod measure;
mod origin;
mod pace;
mod poll;
mod service;
mod socket;
mod sse;
mod temp;
mod timer;
mod tokens;
pub mod units;

pub use blob::{Blob, Digests};
pub use fault::Fault;
pub use hub::{Hub, HubContent, HubFile, HubOptions, HubRateLimit, HubRepo};
pub use leaks::{OpenFiles, alive_tasks, assert_tasks_end};
pub use link::{Link, LinkSettings, LinkStats};
pub use measure::{Measured, MovedBytes, measure};
pub use origin::{ConnectionStats, Options, Origin, PathStats, Settings, Stats, parse_share};
pub use poll::Polled;
pub use service::StartError;
pub use sse::{SseError, SseFrame, SseReader};
pub use temp::{TempDir, temp_dir};
pub use tokens::{Lateness, Schedule, TokenSource};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
