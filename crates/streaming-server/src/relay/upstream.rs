//! One upstream: where it is, how much it has to do, whether it is worth asking.

use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use pool::http::Origin;

use super::breaker::Breaker;
use crate::metrics::Counter;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// So many wrong answers in a row to the question how it is, and it counts as down.
const MISSES_MAX: u64 = 2;
/// It was never asked how it is.
const UNKNOWN: u64 = u64::MAX;

/// A server that requests are passed on to.
#[derive(Debug)]
pub(crate) struct Upstream {
    scheme: Scheme,
    authority: Authority,
    /// What stands before `/v1`; empty or beginning with `/`.
    prefix: String,
    breaker: Mutex<Breaker>,
    in_flight: AtomicU64,
    /// Wrong answers in a row to the question how it is, or [`UNKNOWN`].
    misses: AtomicU64,
    pub(crate) asked: Counter,
    pub(crate) refused: Counter,
    pub(crate) failed: Counter,
}

impl Upstream {
    /// The upstream at a URL; `/v1` at its end is the same as nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL, without the URL: it may hold what nobody should read.
    pub(super) fn at(url: &str) -> Result<Self, String> {
        let told = |what: &str| format!("an upstream is http://HOST[:PORT][/PATH]: {what}");
        let uri: Uri = url.parse().map_err(|_| told("it is no URL"))?;
        Origin::of(&uri).map_err(told)?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(told("scheme and host are needed"));
        };
        if scheme != Scheme::HTTP && !cfg!(feature = "tls") {
            return Err(told("https is not built in, the feature is `tls`"));
        }
        let path = parts.path_and_query;
        if path.as_ref().is_some_and(|path| path.query().is_some()) {
            return Err(told("it has a query"));
        }
        let path = path.as_ref().map_or("", PathAndQuery::path).trim_end_matches('/');
        Ok(Self {
            scheme,
            authority,
            prefix: path.strip_suffix("/v1").unwrap_or(path).to_owned(),
            breaker: Mutex::new(Breaker::new()),
            in_flight: AtomicU64::new(0),
            misses: AtomicU64::new(UNKNOWN),
            asked: Counter::default(),
            refused: Counter::default(),
            failed: Counter::default(),
        })
    }

    /// Host and port.
    pub(super) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    pub(super) fn uri(&self, path: &PathAndQuery) -> Uri {
        let path = format!("{}{path}", self.prefix);
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .expect("a path behind a path is a path")
    }

    /// Requests that it serves.
    pub(super) fn load(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn admits(&self, now: Duration) -> bool {
        self.breaker.lock().admits(now)
    }

    /// A reply of it is as it should be, so far.
    pub(super) fn succeed(&self) {
        self.breaker.lock().succeed();
    }

    /// It has too much to do. That it says so is an answer as it should be.
    pub(super) fn refuse(&self) {
        self.refused.add(1);
        self.succeed();
    }

    /// It failed.
    pub(crate) fn fail(&self, now: Duration) {
        self.failed.add(1);
        self.breaker.lock().fail(now);
    }

    /// It was asked how it is.
    pub(super) fn note_health(&self, is_well: bool) {
        let misses = self.misses.load(Ordering::Relaxed);
        let next = match (is_well, misses) {
            (true, _) => 0,
            (false, UNKNOWN) => MISSES_MAX,
            (false, misses) => misses.saturating_add(1).min(MISSES_MAX),
        };
        self.misses.store(next, Ordering::Relaxed);
        if is_well && MISSES_MAX <= misses && misses != UNKNOWN {
            // It is back: nobody has to try first.
            self.succeed();
        }
    }

    /// It was asked how it is, and is well.
    pub(super) fn is_well(&self) -> bool {
        self.misses.load(Ordering::Relaxed) < MISSES_MAX
    }

    /// It was asked how it is, and is not well.
    pub(super) fn is_down(&self) -> bool {
        self.misses.load(Ordering::Relaxed) == MISSES_MAX
    }
}

/// One request that an upstream serves; it has one less when this is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    upstream: Arc<Upstream>,
    sent: Duration,
}

impl Load {
    pub(super) fn begin(upstream: &Arc<Upstream>, now: Duration) -> Self {
        upstream.in_flight.fetch_add(1, Ordering::Relaxed);
        upstream.breaker.lock().send(now);
        Self { upstream: Arc::clone(upstream), sent: now }
    }

    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.upstream.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.upstream.breaker.lock().leave(self.sent);
    }
}
