//! The outside world, under control: servers and links that are slow, lossy or lying on command.
#![forbid(unsafe_code)]

mod blob;
pub mod fault;
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
pub use leaks::{OpenFiles, alive_tasks, assert_tasks_end};
pub use link::{Link, LinkSettings, LinkStats};
pub use measure::{Measured, MovedBytes, measure};
pub use origin::{ConnectionStats, Options, Origin, PathStats, Settings, Stats, parse_share};
pub use poll::Polled;
pub use service::StartError;
pub use sse::{SseError, SseFrame, SseReader};
pub use temp::{TempDir, temp_dir};
pub use tokens::{Lateness, Schedule, TokenSource};
