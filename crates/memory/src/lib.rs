//! How much, and is there pressure: byte budgets, buffers, and files that stream.
//!
//! # The guarantee
//!
//! At every instant `Σ reserved ≤ limit`, and each byte is given back exactly once; a file appears under
//! its name whole and durable, or not at all; what a log acknowledged is there after any crash.
//!
//! # When to use it, and when not
//!
//! Use it where a program must live within a share of a machine, above all in a container, where page
//! cache is counted as use. It does not replace the allocator and does not see what is never reserved.
//!
//! # What is in it
//!
//! | question | answer |
//! |---|---|
//! | may I have so many bytes, and when | [`Budget`], [`Reservation`] |
//! | where do I put them | [`BufferPool`], [`Buffer`] |
//! | in which pieces | [`ChunkSizer`], [`plan()`] |
//! | how much is there, and does anybody wait for more | [`MemoryInfo`] |
//! | tell me when that changes | [`Monitor`], [`Watch`], [`LevelTracker`] |
//! | who can give some back | [`Reclaim`] |
//! | write it without flooding the page cache | [`FileWriter`], [`CachePolicy`], [`cached_bytes`] |
//! | read it without trusting that nobody cuts it | [`FileReader`]; with a promise, [`Mapping`] |
//! | remember it through any crash | [`AppendLog`] |
//! | what does the heap hold | [`heap`] |
//!
//! Nothing needs a runtime. Futures work on any executor, have blocking twins, and are cancel safe.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use memory::files::{FileSystem, OsFiles};
//! use memory::{Budget, BufferPool, FileWriter, WriteOptions};
//!
//! let folder = tempfile::tempdir()?;
//! let files: Arc<dyn FileSystem> = Arc::new(OsFiles::new());
//! let budget = Budget::new(4 << 20);
//! let pool = BufferPool::new(&budget, 1 << 20, 4);
//!
//! let source = vec![7; 3_000_000];
//! let options = WriteOptions { len_bytes: Some(3_000_000), ..WriteOptions::default() };
//! let writer = FileWriter::create(&files, &folder.path().join("weights"), options)?;
//! let mut offset = 0;
//! while offset < source.len() {
//!     let mut buffer = pool.get_blocking()?;
//!     buffer.extend(&source[offset..]);
//!     let bytes = buffer.freeze();
//!     writer.write_at(&bytes, offset as u64)?;
//!     offset += bytes.len();
//! }
//! writer.publish()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! - `files` (default): writer, reader, mapping, log, and the [file-system trait](files) under them.
//! - `monitor` (default): [`MemoryInfo`] and [`Monitor`]. Linux tells everything; elsewhere the figures
//!   are [`Unknown`].
//! - `simulated`: a disk in memory that loses what was not synced, for tests.
//! - `loom`, `shuttle`: for this crate's own tests.

#[cfg(feature = "files")]
mod append_log;
mod block;
mod budget;
mod buffers;
#[cfg(feature = "files")]
pub mod files;
pub mod heap;
#[cfg(feature = "monitor")]
mod info;
mod level;
#[cfg(feature = "files")]
mod mapping;
#[cfg(feature = "monitor")]
mod monitor;
mod plan;
mod prefetch;
#[cfg(feature = "files")]
mod reader;
mod reclaim;
#[cfg(any(feature = "files", feature = "monitor"))]
mod seam;
mod sizer;
mod sync;
#[cfg(feature = "files")]
mod writer;

#[cfg(feature = "files")]
pub use self::append_log::{AppendLog, LogError, LogOptions, Position};
pub use self::budget::{Budget, BudgetStats, Consumer, Refused, Reservation, Reserve};
pub use self::buffers::{Buffer, BufferPool};
#[cfg(feature = "monitor")]
pub use self::info::{Limit, LimitSource, MemoryInfo, Pressure, Stall, Unknown, Usage};
pub use self::level::{Change, Level, LevelTracker, Thresholds};
#[cfg(feature = "files")]
pub use self::mapping::{Mapping, cached_bytes};
#[cfg(feature = "monitor")]
pub use self::monitor::{Closed, Monitor, MonitorOptions, MonitorStats, Sample, Watch};
pub use self::plan::{Plan, STREAMING_THRESHOLD_BYTES, plan};
pub use self::prefetch::{AHEAD_BYTES, STEP_BYTES, prefetch, steps};
#[cfg(feature = "files")]
pub use self::reader::{FileReader, ReadOptions};
pub use self::reclaim::Reclaim;
pub use self::sizer::{CHUNK_ALIGN_BYTES, ChunkSizer, Chunks};
#[cfg(feature = "files")]
pub use self::writer::{
    ALLOCATE_FROM_BYTES, BatchError, CachePolicy, FileWriter, WriteOptions, publish_all,
    remove_orphans,
};

/// The example of the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
