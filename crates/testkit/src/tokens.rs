//! A source of tokens whose schedule and lateness are known: the ground truth for clients that measure.

mod emitter;
mod events;
mod lateness;
mod order;
mod schedule;

pub(crate) use emitter::Emitter;
pub use lateness::Lateness;
pub(crate) use order::{Order, Route};
pub use schedule::Schedule;

use crate::origin::{Options, Origin, Settings};
use crate::service::StartError;

/// An OpenAI-like endpoint that emits `token_0`, `token_1`, … on an exact schedule, each event preceded
/// by a comment with its emit time.
///
/// `POST /v1/completions` and `/v1/chat/completions`, with `"stream": true` or not; `GET /v1/models`,
/// `/health`. A request's member `schedule` changes its own schedule. Without `max_tokens`, 16 tokens.
/// Events, and the comments before them, follow the frame rules that OpenAI's clients rely on: the
/// stamp is a block `: t=NANOSECONDS\n\n` (since 1970, read just before the write), the event one line
/// `data: {…}\n\n`; both leave in one write.
///
/// One thread writes all streams. A client that does not read loses no token: up to 8 MiB wait for it,
/// then its stream is cut and counted.
///
/// # Examples
///
/// ```
/// use testkit::{Schedule, TokenSource};
///
/// let source = TokenSource::start(Schedule::default())?;
/// assert!(source.url().starts_with("http://127.0.0.1:"));
/// assert_eq!(0, source.lateness().tokens);
/// # Ok::<(), testkit::StartError>(())
/// ```
#[derive(Debug)]
pub struct TokenSource {
    origin: Origin,
}

impl TokenSource {
    /// Starts a source on a free port of 127.0.0.1. Dropping it stops it and cuts its streams.
    ///
    /// # Errors
    ///
    /// When the system has no port or thread to give.
    pub fn start(schedule: Schedule) -> Result<Self, StartError> {
        let settings = Settings { tokens: schedule, ..Settings::default() };
        let origin = Origin::start(Options { tokens: true, settings, ..Options::default() })?;
        Ok(Self { origin })
    }

    /// Returns `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        self.origin.url("")
    }

    /// Returns how well it kept its deadlines so far.
    #[must_use]
    pub fn lateness(&self) -> Lateness {
        self.origin.lateness()
    }

    /// Changes the schedule of requests to come.
    pub fn set_schedule(&self, schedule: Schedule) {
        self.origin.update(|settings| settings.tokens = schedule);
    }

    /// Returns the origin it runs on, whose latency, error rate and faults that come before a reply apply to it.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}
