//! Sends what a plan says, and records what comes.

mod connection;
mod exchange;
mod framing;
mod head;
mod reply;
mod worker;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hyper::Uri;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;
use pool::http::Origin;
#[cfg(feature = "tls")]
use pool::http::{Tls, TlsError};
use tokio::sync::Notify;

use super::plan::{ApiKey, Plan, Target};
use super::record::RequestRecord;
use super::seam::{Clock, StampCounts};

/// Time for all workers to be there before the first request is due.
const HEAD_START_NS: u64 = 20_000_000;

/// Why nothing can be sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The URL is none that requests can go to.
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// The API key holds characters that no header may have.
    ApiKey,
    /// The plan is none that can be run: see [`Plan::check`].
    Load {
        /// What is missing, or too much.
        reason: String,
    },
    /// There is no TLS for `https`.
    #[cfg(feature = "tls")]
    Tls(TlsError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url { reason } => write!(f, "requests cannot go to this URL: {reason}"),
            Self::ApiKey => f.write_str("the API key holds characters that no header may have"),
            Self::Load { reason } => write!(f, "this load cannot be sent: {reason}"),
            #[cfg(feature = "tls")]
            Self::Tls(_) => f.write_str("TLS cannot be set up"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(error) => Some(error),
            _ => None,
        }
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Requests under way.
    pub in_flight: u64,
    /// Requests that came to their proper end.
    pub ok: u64,
    /// Requests that did not.
    pub failed: u64,
    /// Arrivals that could not be sent.
    pub not_sent: u64,
    /// Tokens received.
    pub tokens: u64,
}

/// How the bytes of a run were stamped.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct StampReport {
    /// Reads that the kernel stamped.
    pub kernel_reads: u64,
    /// Reads that we had to stamp ourselves.
    pub user_reads: u64,
    /// How often the wall clock was set meanwhile.
    pub clock_steps: u64,
}

/// A run: what its workers share.
///
/// Starts no thread and no runtime. Let each worker run on a `current_thread` runtime of its own: only
/// there a stamp and the bytes that it belongs to stay together.
///
/// # Examples
///
/// ```no_run
/// use inference_bench::stream::{Drive, Plan, Target};
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let drive = Drive::new(&Target::new("http://127.0.0.1:8000"), Plan::closed(10))?;
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// let records = runtime.block_on(drive.work(0))?;
/// println!("{} of 10", records.iter().filter(|record| record.is_ok()).count());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Drive {
    shared: Arc<Shared>,
}

/// What all tasks of a run share.
struct Shared {
    plan: Plan,
    target: Target,
    uri: Uri,
    origin: Origin,
    /// The head of each request, but for its length.
    head: String,
    /// What every request is, unless a trace says otherwise.
    request: Bytes,
    timeout: std::time::Duration,
    clock: Arc<Clock>,
    counts: Arc<StampCounts>,
    counters: Counters,
    /// The next number in a closed loop.
    next_number: AtomicU64,
    is_stopped: AtomicBool,
    stop: Notify,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

#[derive(Debug, Default)]
struct Counters {
    in_flight: AtomicUsize,
    ok: AtomicU64,
    failed: AtomicU64,
    not_sent: AtomicU64,
    tokens: AtomicU64,
}

type Connections = pool::Pool<Origin, connection::Connection>;

impl Drive {
    /// Prepares a run. Its clock starts here: requests are due from 20 ms on.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub fn new(target: &Target, plan: Plan) -> Result<Self, StartError> {
        plan.check().map_err(|reason| StartError::Load { reason })?;
        let url = target.request_url();
        let uri: Uri = url.parse().map_err(|_| StartError::Url { reason: no_url(&url) })?;
        let origin = Origin::of(&uri);
        let origin = origin.map_err(|reason| StartError::Url { reason: reason.to_owned() })?;
        check_scheme(&origin)?;
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let authorization = authorization(target)?;
        let head = head::request_head(&origin, path, authorization.as_deref());
        let shared = Shared {
            plan,
            target: target.clone(),
            request: head::request(&head, &target.request_body()).into(),
            head,
            uri,
            timeout: target.timeout.min(std::time::Duration::from_secs(86_400)),
            clock: Arc::new(Clock::start()),
            counts: Arc::default(),
            counters: Counters::default(),
            next_number: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
            stop: Notify::new(),
            #[cfg(feature = "tls")]
            tls: tls(&origin)?,
            origin,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Sends this worker's share of the plan and returns its records, in no order.
    ///
    /// Ends when all its requests have: no later than the plan's duration and the target's time-out.
    ///
    /// # Errors
    ///
    /// When the system has no timer to give.
    ///
    /// # Panics
    ///
    /// Outside of a `current_thread` runtime with time and I/O, or when there is no such worker.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cuts its streams, and their records are lost.
    pub async fn work(&self, worker: usize) -> std::io::Result<Vec<RequestRecord>> {
        worker::work(self.shared.clone(), worker).await
    }

    /// Ends the run early: nothing more is sent, and streams under way are recorded as abandoned.
    pub fn stop(&self) {
        self.shared.is_stopped.store(true, Ordering::Release);
        self.shared.stop.notify_waiters();
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let Counters { in_flight, ok, failed, not_sent, tokens } = &self.shared.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Progress {
            in_flight: in_flight.load(Ordering::Relaxed) as u64,
            ok: get(ok),
            failed: get(failed),
            not_sent: get(not_sent),
            tokens: get(tokens),
        }
    }

    /// How the bytes were stamped so far.
    #[must_use]
    pub fn stamps(&self) -> StampReport {
        StampReport {
            kernel_reads: self.shared.counts.kernel.load(Ordering::Relaxed),
            user_reads: self.shared.counts.user.load(Ordering::Relaxed),
            clock_steps: self.shared.clock.steps(),
        }
    }
}

/// Requests hold the API key, which is told nobody.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, target, counters, .. } = self;
        f.debug_struct("Shared")
            .field("plan", plan)
            .field("target", target)
            .field("counters", counters)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// A server's words, which may hold the key that it was sent.
    fn without_key<'a>(&self, words: &'a str) -> Cow<'a, str> {
        match self.target.api_key.as_ref().map(ApiKey::expose) {
            Some(key) if !key.is_empty() => words.replace(key, "…").into(),
            _ => words.into(),
        }
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Until when requests are started, on our clock.
    fn end_ns(&self) -> u64 {
        let duration = self.plan.duration.map(|duration| duration.as_nanos());
        let duration_ns = duration.and_then(|ns| u64::try_from(ns).ok()).unwrap_or(u64::MAX);
        HEAD_START_NS.saturating_add(duration_ns)
    }

    fn is_warmup(&self, intended_ns: u64) -> bool {
        let warmup_ns = u64::try_from(self.plan.warmup.as_nanos()).unwrap_or(u64::MAX);
        intended_ns < HEAD_START_NS.saturating_add(warmup_ns) && warmup_ns != 0
    }
}

fn no_url(url: &str) -> String {
    let hint = if url.contains("://") { "" } else { "; it begins with http:// or https://" };
    format!("`{url}` is no URL{hint}")
}

fn authorization(target: &Target) -> Result<Option<String>, StartError> {
    let Some(key) = &target.api_key else { return Ok(None) };
    let value = format!("Bearer {}", key.expose());
    HeaderValue::from_str(&value).map_err(|_| StartError::ApiKey)?;
    Ok(Some(value))
}

#[cfg(not(feature = "tls"))]
fn check_scheme(origin: &Origin) -> Result<(), StartError> {
    if origin.is_https() {
        return Err(StartError::Url {
            reason: "it asks for TLS: build with the feature `tls`".to_owned(),
        });
    }
    Ok(())
}

#[cfg(feature = "tls")]
#[expect(clippy::unnecessary_wraps, reason = "without TLS it refuses")]
fn check_scheme(_: &Origin) -> Result<(), StartError> {
    Ok(())
}

#[cfg(feature = "tls")]
fn tls(origin: &Origin) -> Result<Option<Tls>, StartError> {
    if !origin.is_https() {
        return Ok(None);
    }
    Tls::new().map(Some).map_err(StartError::Tls)
}
