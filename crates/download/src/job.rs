//! What to fetch, how, and what became of it.

use std::path::PathBuf;
use std::time::Duration;

use hyper::header::HeaderMap;
use limiter::Limiter;
use url::Url;

use crate::digest::Digest;
use crate::parts::PartsOptions;
use crate::retry::Patience;

/// One file to fetch.
#[derive(Clone, Debug)]
pub struct Job {
    /// Where from: `http` or `https`.
    pub url: Url,
    /// Where to. The folder must exist; beside the target stand the part file and its journal meanwhile.
    pub target: PathBuf,
    /// What it must be, if that is known.
    pub digest: Option<Digest>,
    /// Sent to the origin of `url` and to nobody else.
    pub headers: HeaderMap,
}

/// How to fetch.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Connections for one file, at most.
    pub connections_max: usize,
    /// How a file is cut into parts.
    pub parts: PartsOptions,
    /// How patient to be with one connection's failures. Bytes that arrive renew the patience.
    pub patience: Patience,
    /// How often a file may be begun anew because the object changed, ranges went wrong or the digest
    /// differed.
    pub restarts_max: u32,
    /// Refuses to publish a file of which no digest is known.
    pub require_digest: bool,
    /// Holds the rate.
    pub limiter: Option<Limiter>,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            connections_max: 8,
            parts: PartsOptions::default(),
            patience: Patience::default(),
            restarts_max: 2,
            require_digest: false,
            limiter: None,
        }
    }
}

/// What a published file was held against.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verified {
    /// Its digest.
    Digest,
    /// Its exact length, or the end of its framing: nothing better was known.
    Length,
}

/// How a file came to be here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum How {
    /// All of it came over the network.
    Fetched,
    /// Part of it was here from an earlier attempt.
    Resumed,
}

/// A file that was published.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fetched {
    /// Its length.
    pub bytes: u64,
    /// What came over the network for it, repeated bytes included.
    pub fetched_bytes: u64,
    /// Its digest, computed while it came.
    pub digest: Digest,
    /// What it was held against.
    pub verified: Verified,
    /// How it came to be here.
    pub how: How,
}

/// What happens meanwhile.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The size is known.
    Plan {
        /// Bytes of the file.
        bytes: u64,
        /// Bytes of it that are not here yet.
        fetch_bytes: u64,
    },
    /// Bytes were written.
    Progress {
        /// Bytes that are here.
        done_bytes: u64,
        /// Bytes of the file, if known.
        total_bytes: Option<u64>,
    },
    /// A connection failed and is tried again.
    Retry {
        /// The number of the attempt, from 1.
        attempt: u32,
        /// The pause before it.
        wait: Duration,
        /// What went wrong.
        reason: String,
    },
    /// The file is begun anew.
    Restart {
        /// Why.
        reason: String,
    },
}
