//! The downloader against a web that misbehaves on command.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod conformance;
mod resume;
mod world;
