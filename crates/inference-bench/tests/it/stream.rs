//! The load generator against servers that are known, and servers that misbehave.

mod drive;
pub(crate) mod server;
