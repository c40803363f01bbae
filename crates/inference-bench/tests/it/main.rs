//! The program as a script sees it, and its reports as their readers do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod commands;
mod schema;
mod stream;
mod vision;
