//! What to fetch, how, and what became of it.

use std::path::PathBuf;
use std::time::Duration;

use hyper::header::HeaderMap;
use limiter::{Limiter, Share};
use memory::Budget;
use url::Url;

use crate::digest::Digest;
use crate::history::History;
use crate::retry::Patience;

/// Memory that a downloader may use for what is under way, unless said otherwise: a file at full speed
/// takes 16 MiB.
const MEMORY_BYTES: u64 = 64 << 20;

/// One file to fetch.
#[derive(Clone, Debug)]
pub struct Job {
    /// Where from: `http` or `https`.
    pub url: Url,
    /// Where to. The folder must exist; beside the target stand the part file and its journal meanwhile.
    pub target: PathBuf,
    /// What it must be, if that is known.
    pub digest: Option<Digest>,
    /// How long it must be, if that is known: a server that sends more is cut off there.
    pub bytes: Option<u64>,
    /// Sent to the origin of `url` and to nobody else. Those of ranges and encodings are ours: what is given of
    /// them is replaced.
    pub headers: HeaderMap,
    /// Its class among the files that wait for their turn; 0 comes first.
    pub class: u8,
    /// Holds its rate, in place of [`FetchOptions::limiter`]; a [child](Limiter::child) of that stays below
    /// both.
    pub limiter: Option<Limiter>,
}

impl Job {
    /// A job of class 0 without a digest, headers and a limiter of its own.
    #[must_use]
    pub fn new(url: Url, target: impl Into<PathBuf>) -> Self {
        let headers = HeaderMap::new();
        let (digest, bytes, limiter) = (None, None, None);
        Self { url, target: target.into(), digest, bytes, headers, class: 0, limiter }
    }
}

/// How to fetch.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Connections at once, at most, for all files of one origin. How many of them serve best is found
    /// out.
    pub connections_max: usize,
    /// Files at once, at most.
    pub files_max: usize,
    /// How long a file may wait for its turn.
    pub queue_timeout: Duration,
    /// A file that is not here after this long, its wait for a turn not counted, is given up. No limit by
    /// default: bytes that keep coming are progress.
    pub timeout: Option<Duration>,
    /// Bytes of a part; `None` to go by what is free, how many share it and how fast they are.
    pub part_bytes: Option<u64>,
    /// How patient to be with one connection's failures. Bytes that arrive renew the patience.
    pub patience: Patience,
    /// How often a file may be begun anew because the object changed, ranges went wrong or the digest
    /// differed.
    pub restarts_max: u32,
    /// Written bytes after which a file in the making is synced, so that a power cut costs no more; a sync
    /// takes the time that the disk needs for them.
    pub durable_bytes: u64,
    /// Refuses to publish a file of which no digest is known.
    pub require_digest: bool,
    /// Holds the rate of all; each model has a share below it, and each file below that. Shares are equal, and
    /// what one leaves is lent.
    pub limiter: Option<Limiter>,
    /// Holds the memory of all: frames on their way to the hash, and small files before they are written. Below
    /// 1.5 MiB it suffices for small files alone, of which each must fit in it. A file for which there is none
    /// waits, and holds no connection meanwhile; its question may then be asked a second time.
    pub memory: Budget,
    /// What was learnt of origins before: how many connections to begin with.
    pub history: History,
}

impl Default for FetchOptions {
    /// 20 connections and 8 files at once: what hubs and their networks bear; five minutes in the queue;
    /// two beginnings anew; a sync each 256 MiB; 64 MiB of memory.
    fn default() -> Self {
        Self {
            connections_max: 20,
            files_max: 8,
            queue_timeout: Duration::from_secs(300),
            timeout: None,
            part_bytes: None,
            patience: Patience::default(),
            restarts_max: 2,
            durable_bytes: 256 << 20,
            require_digest: false,
            limiter: None,
            memory: Budget::new(MEMORY_BYTES),
            history: History::default(),
        }
    }
}

impl FetchOptions {
    /// A share of this limiter, or of the one for all.
    pub(crate) fn share(&self, own: Option<&Limiter>) -> Option<Limiter> {
        let whole = own.or(self.limiter.as_ref())?;
        // A plain share is refused only below sixteen others: then all is charged to the whole.
        Some(whole.child(Share::default()).unwrap_or_else(|_| whole.clone()))
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
    /// It was here already, or another process brought it meanwhile.
    Unchanged,
    /// The same bytes were here for something else.
    Linked,
}

/// A file that is here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fetched {
    /// Its length.
    pub bytes: u64,
    /// What came over the network for it, repeated bytes included.
    pub fetched_bytes: u64,
    /// How many of those came twice because a slow part was asked for a second time.
    pub hedged_bytes: u64,
    /// Its digest, computed while it came; `None` for a file that was here already and for which none is
    /// known.
    pub digest: Option<Digest>,
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
        /// How often it was by now, from 1.
        attempt: u32,
        /// Why.
        reason: String,
    },
    /// Another process fetches to the same target; it is waited for.
    Waiting,
    /// A server wants to be left alone: nothing is asked of it meanwhile. Of all who wait for the same
    /// server one hears of it.
    Held {
        /// How long.
        wait: Duration,
    },
}

/// Hears what happens.
pub(crate) type Tell<'a> = &'a (dyn Fn(Event) + Send + Sync);
