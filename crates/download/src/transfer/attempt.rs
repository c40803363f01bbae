//! One file: what is here, the first question, and what becomes of its answer.

use std::sync::Arc;
use std::time::Duration;

use limiter::{AdaptivePermit, Limiter};
use memory::{FileWriter, Reservation};

use super::Inner;
use super::receive::{First, Opened, Received, Receiver, Stopped};
use super::reserve::Need;
use crate::ask::{Answer, Asker, Failure};
use crate::digest::Algorithm;
use crate::error::{Error, ErrorKind, told};
use crate::job::{Event, Fetched, How, Job, Tell, Verified};
use crate::journal::Object;
use crate::ledger::Ledger;
use crate::local::digest_of;
use crate::names::Names;
use crate::range::ByteRange;
use crate::retry::Backoff;
use crate::seam;
use crate::store::{Found, Place, Start, Store};
use crate::validator::Validator;

/// What the first question asks for: no more than is held in memory for a small file, and enough to see
/// how fast the site is.
pub(super) const FIRST_BYTES: u64 = 1 << 20;
/// How often it is looked whether another process has ended its transfer to the same target.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often another may be quicker in beginning the same file before that counts as an error: each time
/// it is waited for, so more than one is rare.
const YIELDS_MAX: u32 = 100;

/// Why an attempt did not end in a file.
pub(super) enum Missed {
    /// Worth another question, perhaps after the time that the server asks for.
    Again { wish: Option<Duration>, error: Error },
    /// Worth beginning anew.
    Restart { ranges: bool, error: Error },
    /// Worth another question, and worth beginning anew when questions are used up.
    Unmarked(Error),
    /// Nothing guards its ranges: worth a question for all of it.
    Unguarded,
    /// Another transfer has begun the same file.
    Yield,
    /// There is no memory for what came: worth another question when there is.
    Starved,
    /// Not worth it.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Missed {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// One file on its way.
pub(super) struct Attempt<'a> {
    pub(super) inner: &'a Inner,
    pub(super) job: &'a Job,
    asker: &'a Asker<'a>,
    pub(super) tell: Tell<'a>,
    /// The file's share of the rate.
    pub(super) limiter: Option<Limiter>,
    pub(super) algorithm: Algorithm,
}

/// How the next try begins.
#[derive(Clone, Copy)]
struct Manner {
    /// From nothing, whatever is here.
    fresh: bool,
    /// With ranges.
    ranges: bool,
    /// With memory for whatever comes.
    reserved: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        inner: &'a Inner,
        job: &'a Job,
        asker: &'a Asker<'a>,
        tell: Tell<'a>,
    ) -> Self {
        let limiter = inner.options.share(job.limiter.as_ref());
        let algorithm = Algorithm::of(job.digest);
        Self { inner, job, asker, tell, limiter, algorithm }
    }

    pub(super) async fn until_done(&self) -> Result<Fetched, Error> {
        if let Some(unchanged) = self.unchanged().await {
            return Ok(unchanged);
        }
        let options = &self.inner.options;
        let mut manner = Manner { fresh: false, ranges: true, reserved: false };
        let mut backoff = Backoff::new(options.patience);
        let (mut restarts, mut yields) = (0, 0);
        loop {
            match self.once(manner).await {
                Ok(fetched) => return Ok(fetched),
                Err(Missed::Again { wish, error }) => self.pause(&mut backoff, wish, error).await?,
                Err(Missed::Restart { ranges, error }) => {
                    self.begin_anew(&mut restarts, error)?;
                    let ranges = manner.ranges && ranges;
                    manner = Manner { fresh: true, ranges, ..manner };
                }
                Err(Missed::Unmarked(error)) => {
                    if let Err(error) = self.pause(&mut backoff, None, error).await {
                        self.begin_anew(&mut restarts, error)?;
                        manner.fresh = true;
                    }
                }
                // Once: without ranges none is unguarded.
                Err(Missed::Unguarded) => manner.ranges = false,
                // Once: with memory for whatever comes nobody starves.
                Err(Missed::Starved) => manner.reserved = true,
                Err(Missed::Yield) if yields < YIELDS_MAX => yields += 1,
                Err(Missed::Yield) => {
                    let message = "other processes begin the same file again and again";
                    return Err(Error::new(ErrorKind::Other, message));
                }
                Err(Missed::Failed(error)) => return Err(error),
            }
        }
    }

    /// Counts a beginning anew and tells of it, or says that there was one too many.
    fn begin_anew(&self, restarts: &mut u32, error: Error) -> Result<(), Error> {
        if self.inner.options.restarts_max <= *restarts {
            return Err(error);
        }
        *restarts += 1;
        self.inner.counters.retries.add(1);
        (self.tell)(Event::Restart { attempt: *restarts, reason: told(&error) });
        Ok(())
    }

    /// Waits before the next question, or says that there is none.
    async fn pause(
        &self,
        backoff: &mut Backoff,
        wish: Option<Duration>,
        error: Error,
    ) -> Result<(), Error> {
        let Some(wait) = backoff.next(seam::chance(), wish) else { return Err(error) };
        let wait = wait.max(self.asker.site().left_alone());
        self.inner.counters.retries.add(1);
        (self.tell)(Event::Retry { attempt: backoff.attempts(), wait, reason: told(&error) });
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// The file, if it is here and has the digest.
    async fn unchanged(&self) -> Option<Fetched> {
        self.job.digest?;
        self.here().await
    }

    /// The file that is here, if nothing is known against it.
    async fn here(&self) -> Option<Fetched> {
        let (files, target) = (Arc::clone(&self.inner.files), self.job.target.clone());
        let algorithm = self.algorithm;
        let digest = tokio::task::spawn_blocking(move || digest_of(&*files, &target, algorithm));
        let (bytes, digest) = digest.await.ok()?.ok()?;
        let is_right = self.job.digest.is_none_or(|expected| expected == digest);
        is_right
            .then(|| self.fetched(&Received { bytes, digest, ..Received::NOTHING }, How::Unchanged))
    }

    pub(super) fn fetched(&self, received: &Received, how: How) -> Fetched {
        let &Received { bytes, digest, fetched_bytes, hedged_bytes } = received;
        let verified = if self.job.digest.is_some() { Verified::Digest } else { Verified::Length };
        Fetched { bytes, fetched_bytes, hedged_bytes, digest: Some(digest), verified, how }
    }

    async fn once(&self, manner: Manner) -> Result<Fetched, Missed> {
        let address = self.asker.address();
        let digest = self.job.digest.map(|digest| format!("{digest:?}"));
        let names = Names::of(&self.job.target, &address, digest.as_deref());
        let store = match self.claim(&names).await? {
            Claimed::Arrived(fetched) => return Ok(fetched),
            Claimed::Ours(store) => Some(store),
            Claimed::Nothing => None,
        };
        let here = store.as_ref().filter(|_| !manner.fresh && manner.ranges);
        let here = here.and_then(|store| store.resumable());
        let (known, range) = match here {
            Some((validator, ledger)) => (validator.clone(), first_missing(ledger, validator)),
            None => (Validator::default(), ByteRange::new(0, self.first_bytes())),
        };
        let resumed = here.is_some();
        let memory = self.memory_first(manner.reserved).await?;
        let permit = self.asker.site().connections.acquire().await;
        let range = range.filter(|_| manner.ranges);
        let answer = self.asker.ask(range, &known).await.map_err(missed)?;
        let (opened, validator) = opened(answer, permit, self.job.bytes);
        self.check_length(&opened)?;
        if let (None, Some(total @ ..=FIRST_BYTES)) = (&store, opened.total)
            && opened.is_all()
        {
            let memory = self.memory_for(memory, Need::small(total))?;
            return self.small(opened, total, memory).await;
        }
        if !opened.is_all() && !self.is_guarded(&validator) {
            return Err(Missed::Unguarded);
        }
        let memory = self.memory_for(memory, Need::large(opened.total))?;
        let store = match store {
            Some(store) => Some(store),
            None => Store::create(&self.place(&names))?,
        };
        let Some(mut store) = store else { return Err(Missed::Yield) };
        let start = match opened.total {
            Some(total) if resumed && !opened.is_all() => store.go_on(total)?,
            _ => store.begin(&Object { address, validator, digest })?,
        };
        self.receive(store, start, opened, memory).await
    }

    fn place<'p>(&'p self, names: &'p Names) -> Place<'p> {
        let Inner { files, boot, .. } = self.inner;
        Place { files, boot, names, target: &self.job.target, algorithm: self.algorithm }
    }

    /// Whether what comes in several answers is of one object, or is found out if not: a strong mark guards, and
    /// so does a digest.
    pub(super) fn is_guarded(&self, validator: &Validator) -> bool {
        validator.guard().is_some() || self.job.digest.is_some()
    }

    fn first_bytes(&self) -> u64 {
        self.inner.options.part_bytes.map_or(FIRST_BYTES, |bytes| bytes.clamp(1, FIRST_BYTES))
    }

    /// Takes over what is here, when nobody else has it.
    async fn claim(&self, names: &Names) -> Result<Claimed, Error> {
        let target = &self.job.target;
        let before = seam::identity(target);
        let mut awaited = None;
        // As long as the other lives: it has limits of its own, and when it dies its part is ours.
        loop {
            let found = Store::find(&self.place(names))?;
            let Found::Busy { same } = found else {
                let now = seam::identity(target);
                if awaited == Some(true)
                    && now.is_some()
                    && now != before
                    && let Some(fetched) = self.here().await
                {
                    return Ok(Claimed::Arrived(fetched));
                }
                return Ok(match found {
                    Found::Ours(store) => Claimed::Ours(store),
                    Found::Nothing | Found::Busy { .. } => Claimed::Nothing,
                });
            };
            if awaited.replace(same).is_none() {
                (self.tell)(Event::Waiting);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn receive(
        &self,
        store: Box<Store>,
        start: Start,
        opened: Opened,
        memory: Reservation,
    ) -> Result<Fetched, Missed> {
        let there = start.ledger.bytes();
        if let Some(bytes) = opened.total {
            (self.tell)(Event::Plan { bytes, fetch_bytes: bytes - there });
        }
        let writer = Arc::clone(&start.writer);
        let receiver = Receiver::new(self, self.asker, self.tell, store.journal());
        let received = match receiver.run(start, opened, memory).await {
            Ok(received) => received,
            Err(Stopped::Changed(error)) => return Err(Missed::Restart { ranges: true, error }),
            Err(Stopped::BadRange(error)) => return Err(Missed::Restart { ranges: false, error }),
            Err(Stopped::Failed(error)) => return Err(Missed::Failed(error)),
        };
        if let Err(error) = self.check(&received) {
            store.clear();
            return Err(Missed::Restart { ranges: true, error });
        }
        let writer = Arc::try_unwrap(writer)
            .map_err(|_| Error::new(ErrorKind::Other, "the hash did not let go of the file"))?;
        publish(writer).await?;
        store.clear();
        let how = if 0 < there { How::Resumed } else { How::Fetched };
        Ok(self.fetched(&received, how))
    }

    /// Holds what is announced against what was asked for, before anything of it is fetched.
    fn check_length(&self, opened: &Opened) -> Result<(), Missed> {
        match (self.job.bytes, opened.total) {
            (Some(expected), Some(total)) if expected != total => {
                let message = format!("expected {expected} B, and {total} B are announced");
                let error = Error::new(ErrorKind::Integrity, message);
                Err(Missed::Restart { ranges: true, error })
            }
            _ => Ok(()),
        }
    }

    /// Holds what was received against what was asked for.
    pub(super) fn check(&self, received: &Received) -> Result<(), Error> {
        match self.job.digest {
            Some(expected) if expected != received.digest => {
                let message = format!("expected {expected:?}, got {:?}", received.digest);
                Err(Error::new(ErrorKind::Integrity, message))
            }
            _ => Ok(()),
        }
    }
}

enum Claimed {
    Nothing,
    Ours(Box<Store>),
    Arrived(Fetched),
}

/// The first part that is missing; where none is, the last byte, whose answer says whether the object is
/// still the same.
fn first_missing(ledger: &Ledger, validator: &Validator) -> Option<ByteRange> {
    let total = validator.total().unwrap_or(0);
    let part = |gap: ByteRange| {
        ByteRange::new(gap.start(), gap.end().min(gap.start().saturating_add(FIRST_BYTES)))
    };
    let gap = ledger.next_gap(0, total);
    gap.and_then(part).or_else(|| ByteRange::new(total.saturating_sub(1), total))
}

/// What an answer brings, and the marks it bears.
fn opened(answer: Answer, permit: AdaptivePermit, expected: Option<u64>) -> (Opened, Validator) {
    let (total, first, validator) = match answer {
        Answer::Part { body, range, validator } => {
            (validator.total(), Some((range, body)), validator)
        }
        Answer::Whole { body, validator } => {
            let total = validator.total().or(expected);
            let all = ByteRange::new(0, total.unwrap_or(u64::MAX));
            (total, all.map(|range| (range, body)), validator)
        }
        Answer::Empty { validator } => (Some(0), None, validator),
    };
    let marks = validator.clone();
    let first = first.map(|(range, body)| First { range, body, validator, permit });
    (Opened { total, first }, marks)
}

/// Syncs can take long: on a thread for that, so that other transfers go on.
async fn publish(writer: FileWriter) -> Result<(), Error> {
    let published = tokio::task::spawn_blocking(move || writer.publish()).await;
    let lost = |error| Error::new(ErrorKind::Other, "the publishing thread died").because(error);
    Ok(published.map_err(|error: tokio::task::JoinError| lost(error))??)
}

pub(super) fn missed(failure: Failure) -> Missed {
    match failure {
        Failure::Transient { wish, error } => Missed::Again { wish, error },
        Failure::Unmarked(error) => Missed::Unmarked(error),
        Failure::Fatal(error) => Missed::Failed(error),
        Failure::Changed(changed) => {
            let error = Error::new(ErrorKind::Network, "the object changed").because(changed);
            Missed::Restart { ranges: true, error }
        }
        Failure::BadRange(error) => Missed::Restart { ranges: false, error },
    }
}
