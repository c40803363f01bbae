//! Receiving: connections that draw parts until every byte is here.

mod claims;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use std::pin::pin;

use futures::future::{Either, select, try_join_all};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use memory::FileWriter;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Received, finish, told};
use crate::ask::{Answer, Asker, Failure};
use crate::digest::Running;
use crate::error::{Error, ErrorKind};
use crate::hasher::{Hasher, Progress};
use crate::job::{Event, FetchOptions};
use crate::journal::Journal;
use crate::parts::{Flight, Next, Parts, PartsOptions};
use crate::range::ByteRange;
use crate::retry::Backoff;
use crate::seam::{self, Clock};
use crate::store::Start;
use crate::validator::Validator;

type Reply = pool::http::Body;

/// The reply that is here already.
pub(super) struct First {
    pub(super) range: ByteRange,
    pub(super) body: Reply,
    pub(super) validator: Validator,
}

/// What the first question has brought.
pub(super) struct Opened {
    /// The size of the object, if it is known.
    pub(super) total: Option<u64>,
    /// `None` for an object without bytes.
    pub(super) first: Option<First>,
}

/// Who waits for work looks again after this long, whatever it was told: a bound, not a mechanism.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Why receiving ended early.
pub(super) enum Stopped {
    Changed(Error),
    BadRange(Error),
    Failed(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Receives one file.
pub(super) struct Receiver<'a, F> {
    asker: &'a Asker,
    options: &'a FetchOptions,
    tell: &'a F,
    journal: Option<Arc<Journal>>,
    clock: Clock,
    fetched_bytes: Cell<u64>,
}

/// What the connections of a file share.
struct Shared<'a> {
    parts: RefCell<Parts>,
    writer: &'a Arc<FileWriter>,
    hasher: Hasher,
    total: Option<u64>,
    known: RefCell<Validator>,
    /// The hash has advanced, or a part has ended.
    moved: Arc<Notify>,
    hashed: Arc<AtomicU64>,
    /// The hash where it last advanced to.
    state: Arc<Mutex<(u64, Running)>>,
}

impl<'a, F: Fn(Event)> Receiver<'a, F> {
    pub(super) fn new(
        asker: &'a Asker,
        options: &'a FetchOptions,
        tell: &'a F,
        journal: Option<Arc<Journal>>,
    ) -> Self {
        let (clock, fetched_bytes) = (Clock::start(), Cell::new(0));
        Self { asker, options, tell, journal, clock, fetched_bytes }
    }

    /// Receives what is missing and returns the digest of the whole.
    pub(super) async fn run(&self, start: Start, opened: Opened) -> Result<Received, Stopped> {
        let Start { writer, ledger, hash } = start;
        let Opened { total, first } = opened;
        let (moved, hashed) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(hash.0)));
        let plan = Parts::new(
            total.unwrap_or(u64::MAX),
            ledger.clone(),
            hash.0,
            self.parts_options(first.as_ref()),
        );
        let state = Arc::new(Mutex::new(hash.clone()));
        let hasher = {
            let (moved, hashed) = (Arc::clone(&moved), Arc::clone(&hashed));
            let state = Arc::clone(&state);
            let tell = move |progress: Progress| {
                *state.lock() = (progress.offset, progress.running);
                hashed.store(progress.offset, Ordering::Release);
                moved.notify_waiters();
            };
            Hasher::start(total.unwrap_or(u64::MAX), ledger, hash, Arc::clone(&writer), tell)
                .map_err(|error| {
                    Error::new(ErrorKind::Other, "no thread for the hash").because(error)
                })?
        };
        let known = first.as_ref().map(|first| first.validator.clone()).unwrap_or_default();
        let shared = Shared {
            parts: RefCell::new(plan),
            writer: &writer,
            hasher,
            total,
            known: RefCell::new(known),
            moved,
            hashed,
            state,
        };
        let received = {
            let (work, claims) =
                (pin!(self.connections(&shared, first)), pin!(self.claims(&shared)));
            match select(work, claims).await {
                Either::Left((received, _)) => received,
                Either::Right((failed, _)) => Err(failed),
            }
        };
        if received.is_err() {
            // Its own failure would hide the cause; what is not claimed is fetched again.
            let _ = self.claim_durably(&shared).await;
        }
        let bytes = shared.parts.borrow().ledger().frontier();
        let Shared { hasher, .. } = shared;
        let digest = finish(hasher).await;
        received?;
        Ok(Received { bytes, fetched_bytes: self.fetched_bytes.get(), digest: digest? })
    }

    /// A whole reply is one part, whatever its size.
    fn parts_options(&self, first: Option<&First>) -> PartsOptions {
        let first_bytes = first.map_or(0, |first| first.range.len());
        let part_bytes = self.options.parts.part_bytes.max(first_bytes);
        PartsOptions { part_bytes, ..self.options.parts }
    }

    async fn connections(&self, shared: &Shared<'_>, first: Option<First>) -> Result<(), Stopped> {
        let Some(First { range, body, .. }) = first else { return Ok(()) };
        let mut first = None;
        // The reply that is here already becomes the first part that is drawn.
        if let Next::Fetch { flight, range: drawn } =
            shared.parts.borrow_mut().next(self.clock.now())
            && drawn.start() == range.start()
        {
            first = Some((flight, body));
        }
        shared.parts.borrow_mut().set_part_bytes(self.options.parts.part_bytes);
        let missing =
            shared.total.map_or(0, |total| total - shared.parts.borrow().ledger().bytes());
        let parts = missing.div_ceil(self.options.parts.part_bytes.max(1)).max(1);
        let whole = range.len() == shared.total.unwrap_or(u64::MAX);
        let n_connections =
            if whole { 1 } else { self.options.connections_max.min(parts as usize).max(1) };
        let connections = (0..n_connections).map(|_| self.connection(shared, first.take()));
        try_join_all(connections).await.map(drop)
    }

    /// One connection: draws parts until there are none.
    async fn connection(
        &self,
        shared: &Shared<'_>,
        mut reply: Option<(Flight, Reply)>,
    ) -> Result<(), Stopped> {
        let mut backoff = Backoff::new(self.options.patience);
        loop {
            // Before looking, so that no movement is missed in between.
            let moved = shared.moved.notified();
            let next = reply.take().map_or_else(|| self.draw(shared), Drawn::Body);
            let outcome = match next {
                Drawn::Whole => return Ok(()),
                Drawn::Wait => {
                    let _ = tokio::time::timeout(WAIT_MAX, moved).await;
                    continue;
                }
                Drawn::Body((flight, body)) => self.take(shared, flight, body, &mut backoff).await,
                Drawn::Part(flight, range) => self.fetch(shared, flight, range, &mut backoff).await,
            };
            shared.moved.notify_waiters();
            if let Err((flight, failure)) = outcome {
                shared.parts.borrow_mut().abandon(flight);
                self.pause(shared, failure, &mut backoff).await?;
            }
        }
    }

    fn draw(&self, shared: &Shared<'_>) -> Drawn {
        let mut parts = shared.parts.borrow_mut();
        parts.hashed(shared.hashed.load(Ordering::Acquire));
        match parts.next(self.clock.now()) {
            Next::Fetch { flight, range } => Drawn::Part(flight, range),
            Next::Wait => Drawn::Wait,
            Next::Whole => Drawn::Whole,
        }
    }

    async fn fetch(
        &self,
        shared: &Shared<'_>,
        flight: Flight,
        range: ByteRange,
        backoff: &mut Backoff,
    ) -> Result<(), (Flight, Failure)> {
        let known = shared.known.borrow().clone();
        let answer =
            self.asker.ask(Some(range), &known).await.map_err(|failure| (flight, failure))?;
        match answer {
            Answer::Part { body, validator, .. } => {
                // A mark that was missing before guards from now on.
                if known.guard().is_none() {
                    shared.known.replace(validator);
                }
                self.take(shared, flight, body, backoff).await
            }
            Answer::Whole { .. } | Answer::Empty { .. } => {
                let message = "the server answered a range with the whole object";
                Err((flight, Failure::BadRange(Error::new(ErrorKind::Network, message))))
            }
        }
    }

    /// Takes the frames of a reply in.
    async fn take(
        &self,
        shared: &Shared<'_>,
        flight: Flight,
        mut body: Reply,
        backoff: &mut Backoff,
    ) -> Result<(), (Flight, Failure)> {
        let mut came = false;
        loop {
            let frame = match body.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Err((flight, broken(error))),
                None => return self.ended(shared, flight, came),
            };
            let Ok(bytes) = frame.into_data() else { continue };
            if let Some(limiter) = &self.options.limiter {
                limiter.acquire(bytes.len() as u64).await.used(bytes.len() as u64);
            }
            came = true;
            backoff.reset();
            let failed = |error: Error| (flight, Failure::Fatal(error));
            if self.write(shared, flight, &bytes).map_err(failed)? {
                return Ok(());
            }
        }
    }

    /// The end of a well-framed reply: that of the object if its size is not known; otherwise the server
    /// has shortened the range, as it may, and the rest is drawn again.
    fn ended(
        &self,
        shared: &Shared<'_>,
        flight: Flight,
        came: bool,
    ) -> Result<(), (Flight, Failure)> {
        let at = shared.parts.borrow().position(flight);
        match (shared.total, at) {
            (None, Some(rest)) => {
                shared.parts.borrow_mut().end_at(rest.start());
                Ok(())
            }
            (Some(_), Some(_)) if came => {
                shared.parts.borrow_mut().abandon(flight);
                Ok(())
            }
            (Some(_), Some(_)) => {
                let error = Error::new(ErrorKind::Network, "an answer without a byte");
                Err((flight, Failure::Transient { wish: None, error }))
            }
            (_, None) => Ok(()),
        }
    }

    /// Writes a frame where it belongs and hands it to the hash; returns whether the part is done.
    fn write(&self, shared: &Shared<'_>, flight: Flight, bytes: &Bytes) -> Result<bool, Error> {
        self.fetched_bytes.set(self.fetched_bytes.get() + bytes.len() as u64);
        let Some(wanted) = shared.parts.borrow().position(flight) else { return Ok(true) };
        let keep = wanted.len().min(bytes.len() as u64);
        let bytes = bytes.slice(..keep as usize);
        shared.writer.write_at(&bytes, wanted.start())?;
        if let (Some(journal), Some(range)) =
            (&self.journal, ByteRange::new(wanted.start(), wanted.start() + keep))
        {
            journal.written(range)?;
        }
        let arrival = shared.parts.borrow_mut().arrived(flight, keep, self.clock.now());
        shared.hasher.push(wanted.start(), bytes);
        let done_bytes = shared.parts.borrow().ledger().bytes();
        (self.tell)(Event::Progress { done_bytes, total_bytes: shared.total });
        Ok(arrival.done)
    }

    /// Waits before the next attempt, or ends the transfer.
    async fn pause(
        &self,
        shared: &Shared<'_>,
        failure: Failure,
        backoff: &mut Backoff,
    ) -> Result<(), Stopped> {
        let (wish, error) = match failure {
            Failure::Transient { wish, error } => (wish, error),
            Failure::Changed(changed) => {
                let error = Error::new(ErrorKind::Network, "the object changed").because(changed);
                return Err(Stopped::Changed(error));
            }
            Failure::BadRange(error) => return Err(Stopped::BadRange(error)),
            Failure::Fatal(error) => return Err(Stopped::Failed(error)),
        };
        // What came without ranges cannot be gone on with: from the first byte again.
        if !shared.known.borrow().can_resume() {
            return Err(Stopped::Changed(error));
        }
        let wait = backoff.next(seam::chance(), wish);
        let Some(wait) = wait else { return Err(Stopped::Failed(error)) };
        let (attempt, reason) = (backoff.attempts(), told(&error));
        (self.tell)(Event::Retry { attempt, wait, reason });
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

enum Drawn {
    Body((Flight, Reply)),
    Part(Flight, ByteRange),
    Wait,
    Whole,
}

fn broken(error: pool::http::BodyError) -> Failure {
    let error = Error::new(ErrorKind::Network, "the answer broke off").because(error);
    Failure::Transient { wish: None, error }
}
