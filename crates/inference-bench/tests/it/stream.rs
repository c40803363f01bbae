//! The load generator against servers that are known, and servers that misbehave.

mod drive;
mod faults;
mod program;
mod real_time;
pub(crate) mod server;
mod tls;
