//! What an origin has seen and sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::request::Request;

/// Paths with counters of their own; requests for more are counted under `(others)`.
const PATHS_MAX: usize = 250_000;

/// What an origin has seen and sent since it started or was reset. Control routes do not count, nor do
/// connections that asked for nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections.
    pub connections: ConnectionStats,
    /// Requests whose head was read.
    pub requests: u64,
    /// Replies by status. Requests that were never answered are in none.
    pub by_status: BTreeMap<u16, u64>,
    /// Bytes of bodies that the kernel took, heads and framing not counted.
    pub sent_bytes: u64,
    /// By path, as requested and without the query.
    pub paths: BTreeMap<String, PathStats>,
    /// How often each rule acted, by its text.
    pub faults: BTreeMap<String, u64>,
}

/// Connections of an origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Accepted.
    pub opened: u64,
    /// Open now.
    pub open: u64,
    /// Open at once, at most.
    pub max_open: u64,
}

/// Requests for one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathStats {
    /// All of them.
    pub requests: u64,
    /// Those with a Range header.
    pub ranges: u64,
    /// Bytes of bodies that the kernel took.
    pub sent_bytes: u64,
    /// Those with an Authorization header.
    pub authorization: u64,
}

impl Stats {
    /// Renders them as `GET /_stats` does.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let by_status: BTreeMap<_, _> =
            self.by_status.iter().map(|(status, n)| (status.to_string(), n)).collect();
        let path = |(path, stats): (&String, &PathStats)| {
            let PathStats { requests, ranges, sent_bytes, authorization } = stats;
            let value = json!({
                "requests": requests, "ranges": ranges, "sent_bytes": sent_bytes,
                "authorization": authorization,
            });
            (path.clone(), value)
        };
        let ConnectionStats { opened, open, max_open } = self.connections;
        json!({
            "connections": {"opened": opened, "open": open, "max_open": max_open},
            "requests": {"total": self.requests, "by_status": by_status},
            "sent_bytes": self.sent_bytes,
            "paths": self.paths.iter().map(path).collect::<serde_json::Map<_, _>>(),
            "faults": self.faults,
        })
    }
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    sent_bytes: AtomicU64,
    rest: Mutex<Rest>,
}

#[derive(Debug, Default)]
struct Rest {
    connections: ConnectionStats,
    requests: u64,
    by_status: BTreeMap<u16, u64>,
    paths: BTreeMap<String, PathEntry>,
    faults: BTreeMap<String, Arc<AtomicU64>>,
}

#[derive(Debug, Default)]
struct PathEntry {
    requests: u64,
    ranges: u64,
    authorization: u64,
    sent_bytes: Arc<AtomicU64>,
}

impl Counters {
    /// Counts a connection. Whether it only wants the control routes is not known yet, so that
    /// `max_open` waits for [`Counters::settle`].
    pub(crate) fn opened(&self) {
        let connections = &mut self.rest.lock().connections;
        connections.opened += 1;
        connections.open += 1;
    }

    /// Takes back a connection that turned out to want a control route.
    pub(crate) fn take_back(&self) {
        let connections = &mut self.rest.lock().connections;
        connections.opened = connections.opened.saturating_sub(1);
        connections.open = connections.open.saturating_sub(1);
    }

    /// Notes how many are open, now that one has shown what it wants.
    pub(crate) fn settle(&self) {
        self.rest.lock().settle();
    }

    pub(crate) fn closed(&self) {
        let mut rest = self.rest.lock();
        rest.settle();
        rest.connections.open = rest.connections.open.saturating_sub(1);
    }

    /// Counts a request and returns the counter of what is sent for its path.
    pub(crate) fn requested(&self, request: &Request) -> Arc<AtomicU64> {
        let mut rest = self.rest.lock();
        rest.requests += 1;
        let room = rest.paths.len() < PATHS_MAX || rest.paths.contains_key(&request.path);
        let path = if room { request.path.as_str() } else { "(others)" };
        if !rest.paths.contains_key(path) {
            rest.paths.insert(path.to_owned(), PathEntry::default());
        }
        let entry = rest.paths.get_mut(path).expect("was inserted above");
        entry.requests += 1;
        entry.ranges += u64::from(request.header("range").is_some());
        entry.authorization += u64::from(request.header("authorization").is_some());
        Arc::clone(&entry.sent_bytes)
    }

    /// Counts a request that was refused because it made no sense.
    pub(crate) fn malformed(&self, status: u16) {
        let mut rest = self.rest.lock();
        rest.requests += 1;
        *rest.by_status.entry(status).or_default() += 1;
    }

    pub(crate) fn replied(&self, status: u16) {
        *self.rest.lock().by_status.entry(status).or_default() += 1;
    }

    pub(crate) fn sent(&self, bytes: u64, path: &AtomicU64) {
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
        path.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the counter of a rule, by its text.
    pub(crate) fn of_rule(&self, text: &str) -> Arc<AtomicU64> {
        Arc::clone(self.rest.lock().faults.entry(text.to_owned()).or_default())
    }

    /// Starts again from nothing; connections that are open stay so. `rules` keep their counters.
    pub(crate) fn reset(&self, rules: &[String]) {
        let mut rest = self.rest.lock();
        let open = rest.connections.open;
        let connections = ConnectionStats { opened: 0, open, max_open: open };
        let mut faults = std::mem::take(&mut rest.faults);
        faults.retain(|text, _| rules.contains(text));
        faults.values().for_each(|done| done.store(0, Ordering::Relaxed));
        *rest = Rest { connections, faults, ..Rest::default() };
        self.sent_bytes.store(0, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let mut rest = self.rest.lock();
        rest.settle();
        let path = |(path, entry): (&String, &PathEntry)| {
            let stats = PathStats {
                requests: entry.requests,
                ranges: entry.ranges,
                sent_bytes: entry.sent_bytes.load(Ordering::Relaxed),
                authorization: entry.authorization,
            };
            (path.clone(), stats)
        };
        let done =
            |(text, done): (&String, &Arc<AtomicU64>)| (text.clone(), done.load(Ordering::Relaxed));
        Stats {
            connections: rest.connections,
            requests: rest.requests,
            by_status: rest.by_status.clone(),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            paths: rest.paths.iter().map(path).collect(),
            faults: rest.faults.iter().map(done).collect(),
        }
    }
}

impl Rest {
    fn settle(&mut self) {
        self.connections.max_open = self.connections.max_open.max(self.connections.open);
    }
}
