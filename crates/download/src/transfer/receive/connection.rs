//! One connection of a file: it waits for its turn, draws a part, takes it in, and draws the next.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::{Either, select};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use limiter::AdaptivePermit;
use memory::Reservation;
use pool::http::BodyError;

use super::super::reserve::CONNECTION_BYTES;
use super::{Drawn, NEAR, Receiver, Reply, Shared, Stopped, WAIT_MAX};
use crate::ask::{Answer, Failure};
use crate::error::{Error, ErrorKind, told};
use crate::hasher::Frame;
use crate::job::Event;
use crate::parts::{Flight, Next};
use crate::range::ByteRange;
use crate::retry::Backoff;
use crate::seam;
use crate::site::Crowd;

/// A reply is looked after this often, also when nothing comes: a server that has collapsed under too many
/// connections recovers no sooner than the surplus is given up, and sends next to nothing until then.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Written bytes that are not yet claimed in the journal, and for how long: what a kill may cost. A claim
/// costs a system call.
const UNCLAIMED_BYTES_MAX: u64 = 4 << 20;
const UNCLAIMED_TIME_MAX: Duration = Duration::from_secs(1);
/// Connections of one file that are given up because they are slow: if all edges are, it is the link.
const RECYCLES_MAX: u32 = 64;

/// What a connection does next.
enum Turn {
    Fetch(Drawn),
    /// Nothing can be drawn now.
    Wait,
    /// There is no memory for another connection now.
    Starve,
    Whole,
}

/// How a reply ended that did not bring its part.
enum Broken {
    Failed(Failure),
    /// We gave it up: another connection is the better bet, or there are too many.
    GivenUp,
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Written bytes that the journal does not know of yet.
struct Unclaimed {
    start: u64,
    end: u64,
    since: Duration,
}

impl Receiver<'_> {
    /// One connection: draws parts until there are none.
    pub(super) async fn connection(
        &self,
        shared: &Shared<'_>,
        mut first: Option<(Flight, Reply, AdaptivePermit)>,
    ) -> Result<(), Stopped> {
        let mut backoff = Backoff::new(self.options.patience);
        // The first connection's memory is reserved with the window.
        let (is_first, mut memory) = (first.is_some(), None);
        loop {
            // Before looking, so that no movement is missed in between.
            let (moved, ended) = (shared.news.moved.notified(), shared.ended.notified());
            let (flight, outcome) = match first.take() {
                Some((flight, body, permit)) => {
                    (flight, self.take(shared, (flight, permit), body, &mut backoff).await)
                }
                None => match self.turn(shared, is_first, &mut memory).await {
                    Turn::Whole => return Ok(()),
                    Turn::Wait => {
                        let _ = tokio::time::timeout(WAIT_MAX, moved).await;
                        continue;
                    }
                    Turn::Starve => {
                        // Others can do what this one was woken for.
                        shared.news.moved.notify_one();
                        let _ = tokio::time::timeout(WAIT_MAX, ended).await;
                        continue;
                    }
                    Turn::Fetch(drawn) => {
                        // There may be more.
                        shared.news.moved.notify_one();
                        (drawn.0, self.fetch(shared, drawn, &mut backoff).await)
                    }
                },
            };
            shared.parts.lock().abandon(flight);
            shared.news.moved.notify_one();
            match outcome {
                Ok(()) => {}
                Err(Broken::GivenUp) => self.attempt.inner.counters.recycled.add(1),
                Err(Broken::Failed(failure)) => self.pause(shared, failure, &mut backoff).await?,
            }
        }
    }

    /// Waits until this connection may fetch, and draws a part for it.
    async fn turn(
        &self,
        shared: &Shared<'_>,
        is_first: bool,
        memory: &mut Option<Reservation>,
    ) -> Turn {
        let mut ended = pin!(shared.ended.notified());
        ended.as_mut().enable();
        if matches!(self.peek(shared), Turn::Whole) {
            return Turn::Whole;
        }
        let permit = match select(pin!(self.site.connections.acquire()), ended).await {
            Either::Left((permit, _)) => permit,
            Either::Right(_) => return Turn::Whole,
        };
        if self.connections_limit() < self.site.connections.in_flight() {
            return Turn::Wait;
        }
        // After the permit: who waits for one holds no memory that those with a permit need.
        if !is_first && memory.is_none() {
            let Ok(reserved) = self.attempt.inner.memory.try_reserve(CONNECTION_BYTES) else {
                return Turn::Starve;
            };
            *memory = Some(reserved);
        }
        let mut parts = shared.parts.lock();
        parts.hashed(shared.news.hashed.load(Ordering::Acquire));
        self.fit_parts(&mut parts);
        match parts.next(self.clock.now()) {
            Next::Fetch { flight, range } => Turn::Fetch((flight, range, permit)),
            Next::Wait => Turn::Wait,
            Next::Whole => Turn::Whole,
        }
    }

    /// Whether every byte is here; tells the others.
    fn peek(&self, shared: &Shared<'_>) -> Turn {
        let parts = shared.parts.lock();
        if parts.is_whole() {
            shared.ended.notify_waiters();
            shared.news.moved.notify_waiters();
            return Turn::Whole;
        }
        Turn::Wait
    }

    async fn fetch(
        &self,
        shared: &Shared<'_>,
        (flight, range, permit): Drawn,
        backoff: &mut Backoff,
    ) -> Result<(), Broken> {
        if !shared.is_guarded {
            let message = "the answer ended early, and no mark says what would go on with it";
            let error = Error::new(ErrorKind::Network, message);
            return Err(Failure::Transient { wish: None, error }.into());
        }
        let known = shared.known.lock().clone();
        match self.asker.ask(Some(range), &known).await? {
            Answer::Part { body, validator, .. } => {
                // A mark that was missing before guards from now on.
                if known.guard().is_none() {
                    *shared.known.lock() = validator;
                }
                self.take(shared, (flight, permit), body, backoff).await
            }
            Answer::Whole { .. } | Answer::Empty { .. } => {
                let message = "the server answered a range with the whole object";
                Err(Failure::BadRange(Error::new(ErrorKind::Network, message)).into())
            }
        }
    }

    /// Takes the frames of a reply in.
    async fn take(
        &self,
        shared: &Shared<'_>,
        (flight, mut permit): (Flight, AdaptivePermit),
        mut body: Reply,
        backoff: &mut Backoff,
    ) -> Result<(), Broken> {
        let mut came = false;
        let mut unclaimed = None;
        let result = loop {
            let frame = match tokio::time::timeout(LOOK_EVERY, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => break Err(self.broken(error).into()),
                Ok(None) => break self.ended(shared, flight, came),
                Err(_) if self.is_better_given_up(shared, flight) => break Err(Broken::GivenUp),
                Err(_) => continue,
            };
            let Ok(bytes) = frame.into_data() else { continue };
            let held_back = self.pay(bytes.len() as u64).await;
            came = true;
            backoff.reset();
            if held_back {
                permit.held_back();
            } else {
                permit.progress(bytes.len() as u64);
            }
            match self.write(shared, flight, bytes, &mut unclaimed).await {
                Ok(true) => break Ok(()),
                Ok(false) if self.is_better_given_up(shared, flight) => break Err(Broken::GivenUp),
                Ok(false) => {}
                Err(error) => break Err(Failure::Fatal(error).into()),
            }
        };
        let claimed = unclaimed.map_or(Ok(()), |unclaimed| self.claim(&unclaimed));
        result.and(claimed.map_err(|error| Failure::Fatal(error).into()))
    }

    /// Charges bytes to the limit of rate; returns whether it is that which holds them back.
    async fn pay(&self, bytes: u64) -> bool {
        let Some(limiter) = &self.attempt.limiter else { return false };
        if limiter.try_acquire(bytes).is_ok() {
            return false;
        }
        limiter.acquire(bytes).await;
        true
    }

    /// How many parts of this site may be in flight now.
    fn connections_limit(&self) -> usize {
        self.attempt.inner.pressure.limit(self.site.connections.limit())
    }

    fn crowd(&self) -> Crowd {
        let connections = &self.site.connections;
        let in_flight = connections.in_flight();
        Crowd {
            in_flight,
            limit: connections.limit(),
            bearable: self.attempt.inner.pressure.limit(in_flight),
            is_far: NEAR <= self.asker.round_trip(),
            is_recovering: connections.is_recovering(),
        }
    }

    fn is_better_given_up(&self, shared: &Shared<'_>, flight: Flight) -> bool {
        // All would have to come again.
        if !shared.is_guarded {
            return false;
        }
        let parts = shared.parts.lock();
        if self.crowd().is_too_large() {
            return parts.is_large(flight);
        }
        parts.is_slow(flight, self.clock.now())
            && self.recycled.fetch_add(1, Ordering::Relaxed) < RECYCLES_MAX
    }

    /// The end of a well-framed reply: that of the object if its size is not known; otherwise the server
    /// has shortened the range, as it may, and the rest is drawn again.
    fn ended(&self, shared: &Shared<'_>, flight: Flight, came: bool) -> Result<(), Broken> {
        let mut parts = shared.parts.lock();
        let at = parts.position(flight);
        match (shared.total, at) {
            (None, Some(rest)) => parts.end_at(rest.start()),
            (Some(_), Some(_)) if !came => {
                let error = Error::new(ErrorKind::Network, "an answer without a byte");
                return Err(Failure::Transient { wish: None, error }.into());
            }
            _ => {}
        }
        Ok(())
    }

    /// Writes a frame where it belongs and hands it to the hash; returns whether the part is done.
    async fn write(
        &self,
        shared: &Shared<'_>,
        flight: Flight,
        bytes: Bytes,
        unclaimed: &mut Option<Unclaimed>,
    ) -> Result<bool, Error> {
        self.fetched_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.attempt.inner.counters.fetched_bytes.add(bytes.len() as u64);
        let Some(wanted) = shared.parts.lock().position(flight) else {
            self.surplus_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            return Ok(true);
        };
        let keep = wanted.len().min(bytes.len() as u64);
        // Another connection has taken the rest over while this one was on its way.
        self.surplus_bytes.fetch_add(bytes.len() as u64 - keep, Ordering::Relaxed);
        let (offset, bytes) = (wanted.start(), bytes.slice(..keep as usize));
        shared.writer.write_at(&bytes, offset)?;
        let now = self.clock.now();
        let claim = unclaimed.get_or_insert(Unclaimed { start: offset, end: offset, since: now });
        claim.end = offset + keep;
        if UNCLAIMED_BYTES_MAX <= claim.end - claim.start || UNCLAIMED_TIME_MAX <= now - claim.since
        {
            self.claim(claim)?;
            *unclaimed = None;
        }
        let (arrival, done_bytes) = {
            let mut parts = shared.parts.lock();
            (parts.arrived(flight, keep, now), parts.ledger().bytes())
        };
        if let Some(bytes_per_s) = arrival.alone.filter(|_| shared.began_alone) {
            self.site.connections.already_brought(1, bytes_per_s);
        }
        if arrival.opens {
            shared.news.moved.notify_one();
        }
        // Before others have their turn, so that it is told in order.
        (self.tell)(Event::Progress { done_bytes, total_bytes: shared.total });
        self.hash(shared, Frame { offset, bytes }).await;
        Ok(arrival.done)
    }

    fn claim(&self, unclaimed: &Unclaimed) -> Result<(), Error> {
        let range = ByteRange::new(unclaimed.start, unclaimed.end);
        range.map_or(Ok(()), |range| Ok(self.journal.written(range)?))
    }

    /// Hands a frame to the hash. Waits while that is behind, which holds the network back.
    async fn hash(&self, shared: &Shared<'_>, mut frame: Frame) {
        loop {
            let room = shared.news.room.notified();
            match shared.hasher.push(frame) {
                Ok(()) => return,
                Err(refused) => frame = refused,
            }
            let _ = tokio::time::timeout(WAIT_MAX, room).await;
        }
    }

    /// Waits before the next attempt, or ends the transfer.
    async fn pause(
        &self,
        shared: &Shared<'_>,
        failure: Failure,
        backoff: &mut Backoff,
    ) -> Result<(), Stopped> {
        let (wish, error, anew) = match failure {
            Failure::Transient { wish, error } => (wish, error, false),
            Failure::Unmarked(error) => (None, error, true),
            Failure::Changed(changed) => {
                let error = Error::new(ErrorKind::Network, "the object changed").because(changed);
                return Err(Stopped::Changed(error));
            }
            Failure::BadRange(error) => return Err(Stopped::BadRange(error)),
            Failure::Fatal(error) => return Err(Stopped::Failed(error)),
        };
        // What came without ranges cannot be gone on with: from the first byte again.
        if !shared.known.lock().can_resume() {
            return Err(Stopped::Changed(error));
        }
        let wait = backoff.next(seam::chance(), wish);
        let Some(wait) = wait else {
            return Err(if anew { Stopped::Changed(error) } else { Stopped::Failed(error) });
        };
        let wait = wait.max(self.site.left_alone());
        self.attempt.inner.counters.retries.add(1);
        (self.tell)(Event::Retry { attempt: backoff.attempts(), wait, reason: told(&error) });
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn broken(&self, error: BodyError) -> Failure {
        if matches!(error, BodyError::Stalled { .. }) {
            self.attempt.inner.counters.stalls.add(1);
        }
        let error = Error::new(ErrorKind::Network, "the answer broke off").because(error);
        Failure::Transient { wish: None, error }
    }
}
