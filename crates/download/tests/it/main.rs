//! The downloader against a web that misbehaves on command, on disks that fail.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod conformance;
#[cfg(feature = "cli")]
mod crash_real_time;
mod disk;
#[cfg(feature = "cli")]
mod kernel_real_time;
mod links_real_time;
mod many;
#[cfg(feature = "cli")]
mod model_program;
mod models;
#[cfg(feature = "cli")]
mod program;
mod quotas;
mod resume;
mod shelf;
mod signed;
#[cfg(feature = "cli")]
mod sync_real_time;
mod upkeep;
mod world;
