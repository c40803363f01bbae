//! One file, from the first question to its name.

mod receive;

use std::sync::Arc;

use memory::FileWriter;
use memory::files::FileSystem;
use pool::http::Client;

use self::receive::{First, Opened, Receiver, Stopped};
use crate::ask::{Answer, Asker, Failure};
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, ErrorKind};
use crate::hasher::Hasher;
use crate::job::{Event, FetchOptions, Fetched, How, Job, Verified};
use crate::journal::Object;
use crate::ledger::Ledger;
use crate::range::ByteRange;
use crate::retry::Backoff;
use crate::seam;
use crate::store::{Start, Store};
use crate::validator::Validator;

/// Fetches files over one client, onto one file system.
///
/// Needs a tokio runtime; one `current_thread` runtime serves all transfers best, since the bytes of a
/// frame then stay on one core. Each file has one thread of its own that hashes it.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use download::{Digest, Downloader, FetchOptions, Job};
///
/// let downloader = Downloader::new(pool::http::Client::new(Default::default()), FetchOptions::default());
/// let job = Job {
///     url: "http://127.0.0.1:8000/model.safetensors".parse()?,
///     target: "model.safetensors".into(),
///     digest: Some(Digest::sha256(&"ab".repeat(32))?),
///     headers: Default::default(),
/// };
/// let fetched = downloader.fetch(&job, |event| println!("{event:?}")).await?;
/// println!("{} bytes, {:?}", fetched.bytes, fetched.verified);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Downloader {
    client: Client,
    files: Arc<dyn FileSystem>,
    options: FetchOptions,
}

/// Why an attempt did not end in a file.
enum Missed {
    /// Worth beginning anew.
    Restart { ranges: bool, error: Error },
    /// Not worth it.
    Failed(Error),
}

impl From<Error> for Missed {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<memory::files::FileError> for Missed {
    fn from(error: memory::files::FileError) -> Self {
        Self::Failed(error.into())
    }
}

impl Downloader {
    /// Returns a downloader onto the real file system.
    #[must_use]
    pub fn new(client: Client, options: FetchOptions) -> Self {
        Self::onto(Arc::new(memory::files::OsFiles::new()), client, options)
    }

    /// Returns a downloader onto this file system.
    #[must_use]
    pub fn onto(files: Arc<dyn FileSystem>, client: Client, options: FetchOptions) -> Self {
        Self { client, files, options }
    }

    /// Fetches a file, checks it and gives it its name; `tell` is called with what happens meanwhile.
    ///
    /// Goes on where an earlier attempt ended, when the object is the same by a strong mark.
    ///
    /// # Errors
    ///
    /// [`Error`]: nothing stands at the target that was not there before. What was fetched is kept for the
    /// next attempt where that makes sense ([`Error::is_resumable`]).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future keeps what was written for the next attempt.
    pub async fn fetch(&self, job: &Job, tell: impl Fn(Event)) -> Result<Fetched, Error> {
        let asker = Asker {
            client: self.client.clone(),
            url: job.url.clone(),
            headers: job.headers.clone(),
        };
        let address = asker.address();
        if job.digest.is_none() && self.options.require_digest {
            let message = "no digest is known, and one is required";
            return Err(Error::new(ErrorKind::Integrity, message).of(&address));
        }
        let attempt = Attempt { downloader: self, job, asker: &asker, tell: &tell };
        attempt.until_done().await.map_err(|error| error.of(&address))
    }
}

/// One file on its way.
struct Attempt<'a, F> {
    downloader: &'a Downloader,
    job: &'a Job,
    asker: &'a Asker,
    tell: &'a F,
}

impl<F: Fn(Event)> Attempt<'_, F> {
    async fn until_done(&self) -> Result<Fetched, Error> {
        let (mut restarts, mut fresh, mut ranges) = (0, false, true);
        loop {
            match self.once(fresh, ranges).await {
                Ok(fetched) => return Ok(fetched),
                Err(Missed::Restart { ranges: still, error })
                    if restarts < self.downloader.options.restarts_max =>
                {
                    (self.tell)(Event::Restart { reason: told(&error) });
                    restarts += 1;
                    (fresh, ranges) = (true, ranges && still);
                }
                Err(Missed::Restart { error, .. } | Missed::Failed(error)) => return Err(error),
            }
        }
    }

    async fn once(&self, fresh: bool, ranges: bool) -> Result<Fetched, Missed> {
        let algorithm = Algorithm::of(self.job.digest);
        let mut store = Store::open(&self.downloader.files, &self.job.target, algorithm)?;
        let digest = self.job.digest.map(|digest| format!("{digest:?}"));
        let address = self.asker.address();
        let here =
            (!fresh && ranges).then(|| store.resumable(&address, digest.as_deref())).flatten();
        let (known, range) = match here {
            Some((validator, ledger)) => {
                let total = validator.total().unwrap_or(0);
                (validator.clone(), self.first_missing(ledger, total))
            }
            None => {
                (Validator::default(), ByteRange::new(0, self.downloader.options.parts.part_bytes))
            }
        };
        let resumed = here.is_some();
        let answer = self.ask(range.filter(|_| ranges), &known).await?;
        let object = |validator| Object { address, validator, digest };
        let (start, opened) = match answer {
            Answer::Part { body, range, validator } => {
                let total = validator.total().expect("a part is accepted with a total only");
                let start = if resumed {
                    store.go_on(total)?
                } else {
                    store.begin(&object(validator.clone()))?
                };
                (
                    start,
                    Opened { total: Some(total), first: Some(First { range, body, validator }) },
                )
            }
            Answer::Whole { body, validator } => {
                let total = validator.total();
                let start = store.begin(&object(validator.clone()))?;
                let all = ByteRange::new(0, total.unwrap_or(u64::MAX));
                let first = all.map(|range| First { range, body, validator });
                (start, Opened { total, first })
            }
            Answer::Empty { validator } => {
                (store.begin(&object(validator))?, Opened { total: Some(0), first: None })
            }
        };
        self.receive(store, start, opened, resumed).await
    }

    /// The first part that is missing; where none is, the last byte, whose answer says whether the object is
    /// still the same.
    fn first_missing(&self, ledger: &Ledger, total: u64) -> Option<ByteRange> {
        let part_bytes = self.downloader.options.parts.part_bytes;
        let part = |gap: ByteRange| {
            ByteRange::new(gap.start(), gap.end().min(gap.start().saturating_add(part_bytes)))
        };
        let gap = ledger.next_gap(0, total);
        gap.and_then(part).or_else(|| ByteRange::new(total.saturating_sub(1), total))
    }

    /// Asks until there is an answer or no patience left.
    async fn ask(&self, range: Option<ByteRange>, known: &Validator) -> Result<Answer, Missed> {
        let mut backoff = Backoff::new(self.downloader.options.patience);
        loop {
            let (wish, error) = match self.asker.ask(range, known).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Transient { wish, error }) => (wish, error),
                Err(failure) => return Err(missed(failure)),
            };
            let Some(wait) = backoff.next(seam::chance(), wish) else { return Err(error.into()) };
            let (attempt, reason) = (backoff.attempts(), told(&error));
            (self.tell)(Event::Retry { attempt, wait, reason });
            tokio::time::sleep(wait).await;
        }
    }

    async fn receive(
        &self,
        store: Store,
        start: Start,
        opened: Opened,
        resumed: bool,
    ) -> Result<Fetched, Missed> {
        let there = start.ledger.bytes();
        if let Some(bytes) = opened.total {
            (self.tell)(Event::Plan { bytes, fetch_bytes: bytes - there });
        }
        let writer = Arc::clone(&start.writer);
        let receiver =
            Receiver::new(self.asker, &self.downloader.options, self.tell, store.journal());
        let received = receiver.run(start, opened).await;
        let received = match received {
            Ok(received) => received,
            Err(Stopped::Changed(error)) => return Err(Missed::Restart { ranges: true, error }),
            Err(Stopped::BadRange(error)) => return Err(Missed::Restart { ranges: false, error }),
            Err(Stopped::Failed(error)) => return Err(Missed::Failed(error)),
        };
        let verified = match self.job.digest {
            Some(expected) if expected != received.digest => {
                store.clear();
                let message = format!("expected {expected:?}, got {:?}", received.digest);
                let error = Error::new(ErrorKind::Integrity, message);
                return Err(Missed::Restart { ranges: true, error });
            }
            Some(_) => Verified::Digest,
            None => Verified::Length,
        };
        let writer = Arc::try_unwrap(writer).map_err(|_| {
            Missed::Failed(Error::new(ErrorKind::Other, "the hash did not let go of the file"))
        })?;
        publish(writer, received.bytes).await?;
        store.clear();
        Ok(Fetched {
            bytes: received.bytes,
            fetched_bytes: received.fetched_bytes,
            digest: received.digest,
            verified,
            how: if resumed && 0 < there { How::Resumed } else { How::Fetched },
        })
    }
}

/// Syncs can take long: on a thread for that, so that other transfers go on.
async fn publish(writer: FileWriter, _bytes: u64) -> Result<(), Missed> {
    let published = tokio::task::spawn_blocking(move || writer.publish()).await;
    let lost = |error| Error::new(ErrorKind::Other, "the publishing thread died").because(error);
    Ok(published.map_err(|error: tokio::task::JoinError| lost(error))??)
}

fn missed(failure: Failure) -> Missed {
    match failure {
        Failure::Transient { error, .. } | Failure::Fatal(error) => Missed::Failed(error),
        Failure::Changed(changed) => {
            let error = Error::new(ErrorKind::Network, "the object changed").because(changed);
            Missed::Restart { ranges: true, error }
        }
        Failure::BadRange(error) => Missed::Restart { ranges: false, error },
    }
}

/// An error with its causes, for one line.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What was received, in full.
struct Received {
    bytes: u64,
    fetched_bytes: u64,
    digest: Digest,
}

/// Ends a hasher without blocking the runtime.
async fn finish(hasher: Hasher) -> Result<Digest, Error> {
    let joined = tokio::task::spawn_blocking(move || hasher.finish()).await;
    let died = || Error::new(ErrorKind::Other, "the hashing thread died");
    joined.map_err(|error| died().because(error))??.ok_or_else(died)
}
