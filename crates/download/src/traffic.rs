//! What transfers cost the network, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a downloader did so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Traffic {
    /// Requests that were sent, redirects included.
    pub requests: u64,
    /// Failures after which it was tried again.
    pub retries: u64,
    /// Replies of which nothing came for the stall time-out.
    pub stalls: u64,
    /// Connections given up because they were slow or too many.
    pub recycled: u64,
    /// Bytes of bodies that came, repeated ones included.
    pub fetched_bytes: u64,
    /// Bytes that came twice because a slow part was asked for a second time.
    pub hedged_bytes: u64,
    /// Connections opened.
    pub opened: u64,
    /// Requests over a connection that was open already.
    pub reused: u64,
}

/// Counters: they guard nothing.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: Counter,
    pub(crate) retries: Counter,
    pub(crate) stalls: Counter,
    pub(crate) recycled: Counter,
    pub(crate) fetched_bytes: Counter,
    pub(crate) hedged_bytes: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn read(&self, pool: &pool::Stats) -> Traffic {
        Traffic {
            requests: self.requests.get(),
            retries: self.retries.get(),
            stalls: self.stalls.get(),
            recycled: self.recycled.get(),
            fetched_bytes: self.fetched_bytes.get(),
            hedged_bytes: self.hedged_bytes.get(),
            opened: pool.opened,
            reused: pool.reused,
        }
    }
}
