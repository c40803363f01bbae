//! Model hubs: what is there, and where.

pub(crate) mod client;
pub(crate) mod id;
pub(crate) mod refusal;
pub(crate) mod token;
pub(crate) mod tree;

pub use client::{Hub, HubOptions};
pub use id::{Commit, IdError, RepoId, Revision};
pub use refusal::Refusal;
pub use token::{Token, TokenError, TokenScope};
pub use tree::Entry;
