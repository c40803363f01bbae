//! What `memory` promises, through its public API.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod append_log;
mod budget;
mod buffers;
mod faults;
mod files;
mod kill_real_time;
mod limits;
mod low_memory_real_time;
mod monitor_real_time;
mod reader;
mod support;
mod write_behind;
