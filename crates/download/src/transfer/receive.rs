//! Receiving: connections that draw parts until every byte is here.

mod claims;
mod connection;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::{Either, select};
use futures::stream::{FuturesUnordered, TryStreamExt};
use limiter::AdaptivePermit;
use memory::{ChunkSizer, FileWriter, Reservation};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::attempt::Attempt;
use super::reserve::CONNECTION_BYTES;
use crate::ask::Asker;
use crate::digest::{Digest, Running};
use crate::error::{Error, ErrorKind};
use crate::hasher::{Hasher, Progress};
use crate::job::{FetchOptions, Tell};
use crate::journal::Journal;
use crate::parts::{Flight, NEAR, Parts, PartsOptions};
use crate::range::ByteRange;
use crate::seam::Clock;
use crate::site::Site;
use crate::store::Start;
use crate::validator::Validator;

type Reply = pool::http::Body;

/// The reply that is here already, and the right to receive it.
pub(super) struct First {
    pub(super) range: ByteRange,
    pub(super) body: Reply,
    pub(super) validator: Validator,
    pub(super) permit: AdaptivePermit,
}

/// What the first question has brought.
pub(super) struct Opened {
    /// The size of the object, if it is known.
    pub(super) total: Option<u64>,
    /// `None` for an object without bytes.
    pub(super) first: Option<First>,
}

impl Opened {
    /// Whether the first answer holds the whole object.
    pub(super) fn is_all(&self) -> bool {
        let is_all = |first: &First| {
            first.range.start() == 0 && self.total.is_none_or(|total| first.range.end() == total)
        };
        self.first.as_ref().is_none_or(is_all)
    }
}

/// Who waits for work looks again after this long, whatever it was told: a bound, not a mechanism.
const WAIT_MAX: Duration = Duration::from_millis(250);
/// A part of this size at least: a request costs some hundred microseconds of both machines.
const PART_BYTES_MIN: u64 = 1 << 20;
/// The first parts where answers take their time: of 1 MiB the round trip would be a third (5 MB/s, 100 ms).
const PART_BYTES_FAR: u64 = 4 << 20;
/// A part of this size at most: what one failure may cost, and what a request costs is lost in it.
const PART_BYTES_MAX: u64 = 64 << 20;
/// How far parts run ahead of the hash where answers come at once: so little that frames can be hashed from
/// memory, and a part of 2 MiB costs 2 % (feasibility prototypes, 2 GiB on loopback).
const LAG_BYTES_NEAR: u64 = 16 << 20;
/// The same where answers take their time and parts must be large: frames that are ahead are read back.
const LAG_BYTES_FAR: u64 = 256 << 20;
/// When so much waits for it, the hash is what takes the time: it has enough for the round trip of a request
/// nearby.
const BACKLOG_BYTES: u64 = 1 << 20;
/// Those who wait for work hear of the hash each time that it has advanced by this: half of what the least
/// part has.
const TELL_BYTES: u64 = 512 << 10;

/// Why receiving ended early.
pub(super) enum Stopped {
    Changed(Error),
    BadRange(Error),
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What was received, in full.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: u64,
    pub(super) fetched_bytes: u64,
    pub(super) hedged_bytes: u64,
    pub(super) digest: Digest,
}

impl Received {
    /// Nothing came over the network.
    pub(super) const NOTHING: Self =
        Self { bytes: 0, fetched_bytes: 0, hedged_bytes: 0, digest: Digest::Sha256([0; 32]) };
}

/// Receives one file.
pub(super) struct Receiver<'a> {
    attempt: &'a Attempt<'a>,
    asker: &'a Asker<'a>,
    options: &'a FetchOptions,
    tell: Tell<'a>,
    journal: Arc<Journal>,
    site: Arc<Site>,
    clock: Clock,
    fetched_bytes: AtomicU64,
    /// Bytes of replies whose part was taken over.
    surplus_bytes: AtomicU64,
    recycled: AtomicU32,
}

/// What the connections of a file share.
struct Shared<'a> {
    parts: Mutex<Parts>,
    writer: &'a Arc<FileWriter>,
    hasher: Hasher,
    total: Option<u64>,
    /// Nothing else came from the site when this began.
    began_alone: bool,
    known: Mutex<Validator>,
    /// What is missing may be asked for in further answers.
    is_guarded: bool,
    news: Arc<News>,
    /// Every byte is here.
    ended: Notify,
    /// Held while data is synced for a claim.
    claiming: Arc<tokio::sync::Mutex<()>>,
}

/// What the thread that hashes tells the others.
struct News {
    /// There may be work: the hash has advanced, or a part has ended. It wakes one who waits, who wakes the
    /// next if there was.
    moved: Notify,
    /// The hash has advanced: there may be something to claim.
    claimable: Notify,
    /// The hash has taken a frame.
    room: Notify,
    hashed: AtomicU64,
    /// The hash where it last advanced to.
    state: Mutex<(u64, Running)>,
}

impl News {
    fn new(hash: (u64, Running)) -> Self {
        let (moved, claimable, room) = (Notify::new(), Notify::new(), Notify::new());
        Self { moved, claimable, room, hashed: AtomicU64::new(hash.0), state: Mutex::new(hash) }
    }

    /// Tells that the hash has taken a frame, and how far it has come, if further. Those who wait for work
    /// last heard of `told_at`: to wake somebody up costs more than a frame is worth.
    fn tell(&self, progress: Option<Progress>, told_at: &mut u64) {
        if let Some(Progress { offset, running }) = progress {
            self.hashed.store(offset, Ordering::Release);
            *self.state.lock() = (offset, running);
            if *told_at + TELL_BYTES <= offset {
                *told_at = offset;
                self.moved.notify_one();
                self.claimable.notify_one();
            }
        }
        self.room.notify_waiters();
    }
}

impl<'a> Receiver<'a> {
    pub(super) fn new(
        attempt: &'a Attempt<'a>,
        asker: &'a Asker<'a>,
        tell: Tell<'a>,
        journal: Arc<Journal>,
    ) -> Self {
        Self {
            attempt,
            asker,
            options: &attempt.inner.options,
            tell,
            journal,
            site: asker.site(),
            clock: Clock::start(),
            fetched_bytes: AtomicU64::new(0),
            surplus_bytes: AtomicU64::new(0),
            recycled: AtomicU32::new(0),
        }
    }

    /// Receives what is missing and returns the digest of the whole. `window` is for its frames and its first
    /// connection.
    pub(super) async fn run(
        &self,
        start: Start,
        opened: Opened,
        window: Reservation,
    ) -> Result<Received, Stopped> {
        let Start { writer, ledger, hash } = start;
        let Opened { total, first } = opened;
        let options = self.parts_options();
        let plan = Parts::new(total.unwrap_or(u64::MAX), ledger.clone(), hash.0, options);
        let news = Arc::new(News::new(hash.clone()));
        let told = {
            let (news, mut told_at) = (Arc::clone(&news), hash.0);
            move |progress| news.tell(progress, &mut told_at)
        };
        let work = (total.unwrap_or(u64::MAX), ledger, window.bytes() - CONNECTION_BYTES);
        let hasher = Hasher::start(work, hash, Arc::clone(&writer), told)
            .map_err(|e| Error::new(ErrorKind::Other, "no thread for the hash").because(e))?;
        let known = first.as_ref().map(|first| first.validator.clone()).unwrap_or_default();
        let shared = Shared {
            parts: Mutex::new(plan),
            writer: &writer,
            hasher,
            total,
            began_alone: self.site.connections.in_flight() == 1,
            is_guarded: self.attempt.is_guarded(&known),
            known: Mutex::new(known),
            news,
            ended: Notify::new(),
            claiming: Arc::default(),
        };
        let received = self.until_whole(&shared, first).await;
        let (bytes, hedged_bytes) = {
            let parts = shared.parts.lock();
            let surplus_bytes = self.surplus_bytes.load(Ordering::Relaxed);
            (parts.ledger().frontier(), parts.hedged_bytes() + surplus_bytes)
        };
        self.attempt.inner.counters.hedged_bytes.add(hedged_bytes);
        let Shared { hasher, .. } = shared;
        let digest = finish(hasher).await;
        received?;
        let fetched_bytes = self.fetched_bytes.load(Ordering::Relaxed);
        self.site.served((fetched_bytes as f64 / self.clock.now().as_secs_f64()) as u64);
        Ok(Received { bytes, fetched_bytes, hedged_bytes, digest: digest? })
    }

    async fn until_whole(&self, shared: &Shared<'_>, first: Option<First>) -> Result<(), Stopped> {
        let received = {
            let work = std::pin::pin!(self.connections(shared, first));
            let claims = std::pin::pin!(self.claims(shared));
            match select(work, claims).await {
                Either::Left((received, _)) => received,
                Either::Right((failed, _)) => Err(failed),
            }
        };
        // A sync that was begun goes on although nobody waits for it; then the file is free.
        drop(shared.claiming.lock().await);
        if received.is_err() {
            // Its own failure would hide the cause; what is not claimed is fetched again.
            let _ = self.claim_durably(shared).await;
        }
        received
    }

    fn parts_options(&self) -> PartsOptions {
        let part_bytes = self.options.part_bytes.unwrap_or(PART_BYTES_MIN);
        let part_bytes_min = (part_bytes / 16).clamp(1, 64 << 10);
        let lag_bytes = self.lag_bytes().max(2 * part_bytes);
        let may_hedge = self.attempt.limiter.is_none();
        let backlog_bytes = BACKLOG_BYTES;
        PartsOptions { part_bytes, part_bytes_min, lag_bytes, backlog_bytes, may_hedge }
    }

    fn lag_bytes(&self) -> u64 {
        if NEAR <= self.asker.round_trip() {
            return LAG_BYTES_FAR;
        }
        // So many connections are slow ones: each has its part, and the next.
        let connections = self.site.connections.limit() as u64;
        LAG_BYTES_NEAR.max(2 * connections * PART_BYTES_MIN).min(LAG_BYTES_FAR)
    }

    /// Fits parts and lag to what the last parts have taught.
    fn fit_parts(&self, parts: &mut Parts) {
        let lag_bytes = self.lag_bytes();
        parts.set_round_trip(self.asker.round_trip());
        if let Some(part_bytes) = self.options.part_bytes {
            parts.set_part_bytes(part_bytes);
            return parts.set_lag_bytes(lag_bytes.max(2 * part_bytes));
        }
        parts.set_lag_bytes(lag_bytes);
        let sizer = ChunkSizer::new(PART_BYTES_MIN, PART_BYTES_MAX);
        let streams = self.site.connections.limit() as u64;
        let rate = parts.usual_rate().map(|rate| rate as u64);
        let chunks = rate.and_then(|rate| sizer.size(lag_bytes, streams, Some(rate)));
        let first_bytes =
            if NEAR <= self.asker.round_trip() { PART_BYTES_FAR } else { PART_BYTES_MIN };
        parts.set_part_bytes(chunks.map_or(first_bytes, |chunks| chunks.bytes));
    }

    async fn connections(&self, shared: &Shared<'_>, first: Option<First>) -> Result<(), Stopped> {
        let Some(First { range, body, permit, .. }) = first else { return Ok(()) };
        // Let go of at once if nothing is to be had from it: a permit that nobody uses may be the last one.
        let mut first = {
            let mut parts = shared.parts.lock();
            let flight = parts.first(range, self.clock.now());
            self.fit_parts(&mut parts);
            flight.map(|flight| (flight, body, permit))
        };
        let has_whole = range.start() == 0 && range.end() == shared.total.unwrap_or(u64::MAX);
        let n_connections = if has_whole { 1 } else { self.options.connections_max.max(1) };
        let connections: FuturesUnordered<_> =
            (0..n_connections).map(|_| self.connection(shared, first.take())).collect();
        connections.try_collect().await
    }
}

/// Ends a hasher without blocking the runtime.
async fn finish(hasher: Hasher) -> Result<Digest, Error> {
    let joined = tokio::task::spawn_blocking(move || hasher.finish()).await;
    let died = || Error::new(ErrorKind::Other, "the hashing thread died");
    joined.map_err(|error| died().because(error))??.ok_or_else(died)
}

/// A part on its way, and the right to receive it.
type Drawn = (Flight, ByteRange, AdaptivePermit);
