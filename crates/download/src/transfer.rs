//! One file, from the first question to its name.

mod attempt;
mod receive;
mod reserve;
mod small;

use std::sync::Arc;

use memory::files::FileSystem;
use memory::{Budget, Level};
use pool::http::Client;

use self::attempt::Attempt;
use crate::ask::Asker;
use crate::error::{Error, ErrorKind};
use crate::history::History;
use crate::job::{Event, FetchOptions, Fetched, Job};
use crate::pressure::Pressure;
use crate::publisher::Publisher;
use crate::seam;
use crate::site::Sites;
use crate::traffic::{Counters, Traffic};

/// Fetches files over one client, onto one file system. Clones are handles to the same.
///
/// Needs a tokio runtime; one `current_thread` runtime serves all transfers best, since the bytes of a
/// frame then stay on one core. Each large file has one thread of its own that hashes it.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use download::{Digest, Downloader, FetchOptions, Job};
///
/// let downloader = Downloader::new(pool::http::Client::new(Default::default()), FetchOptions::default());
/// let url = "http://127.0.0.1:8000/model.safetensors".parse()?;
/// let digest = Digest::sha256(&"ab".repeat(32))?;
/// let job = Job { digest: Some(digest), ..Job::new(url, "model.safetensors") };
/// let fetched = downloader.fetch(&job, |event| println!("{event:?}")).await?;
/// println!("{} bytes, {:?}", fetched.bytes, fetched.verified);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Downloader {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) client: Client,
    pub(crate) files: Arc<dyn FileSystem>,
    pub(crate) options: FetchOptions,
    memory: Budget,
    pub(crate) pressure: Pressure,
    pub(crate) sites: Arc<Sites>,
    pub(crate) counters: Arc<Counters>,
    publisher: Arc<Publisher>,
    /// The boot of the machine.
    boot: Option<String>,
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
        Self::in_boot(seam::boot(), files, client, options)
    }

    /// Returns a downloader that believes in this boot of the machine: for tests that cut its power.
    #[doc(hidden)]
    #[must_use]
    pub fn in_boot(
        boot: Option<String>,
        files: Arc<dyn FileSystem>,
        client: Client,
        options: FetchOptions,
    ) -> Self {
        let inner = Inner {
            boot,
            client,
            memory: options.memory.named("files under way"),
            pressure: Pressure::default(),
            sites: Arc::new(Sites::new(options.connections_max, &options.history)),
            counters: Arc::default(),
            publisher: Arc::new(Publisher::new(Arc::clone(&files))),
            files,
            options,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Fetches a file, checks it and gives it its name; `tell` is called with what happens meanwhile.
    ///
    /// Goes on where an earlier attempt ended, when the object is the same by a strong mark. A file that is
    /// here already and has the digest is left as it is; without a digest it is fetched anew. Where another process fetches to the same target,
    /// it is waited for as long as it lives.
    ///
    /// # Errors
    ///
    /// [`Error`]: nothing stands at the target that was not there before. What was fetched is kept for the
    /// next attempt where that makes sense ([`Error::is_resumable`]).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future keeps what was written for the next attempt, but for the last four mebibytes of each
    /// connection.
    pub async fn fetch(
        &self,
        job: &Job,
        tell: impl Fn(Event) + Send + Sync,
    ) -> Result<Fetched, Error> {
        let Inner { client, sites, counters, options, .. } = &*self.inner;
        let given = (job.url.clone(), job.headers.clone());
        let known = (Arc::clone(sites), Arc::clone(counters));
        let asker = Asker::new(client.clone(), given, known, &tell);
        let address = asker.address();
        if job.digest.is_none() && options.require_digest {
            let message = "no digest was given, and one is required";
            return Err(Error::new(ErrorKind::Integrity, message).of(&address));
        }
        let attempt = Attempt::new(&self.inner, job, &asker, &tell);
        let done = attempt.until_done();
        let result = match options.timeout {
            Some(limit) => tokio::time::timeout(limit, done).await.unwrap_or_else(|_| {
                let message = format!("it is not here after {} ms", limit.as_millis());
                Err(Error::new(ErrorKind::Network, message))
            }),
            None => done.await,
        };
        result.map_err(|error| error.of(&address))
    }

    /// Takes note of how pressing the want of memory is: from [`Level::High`] on half as many parts are in
    /// flight as there would be, at [`Level::Critical`] one of each origin. A large part that is one too
    /// many is given up, and what it lacks is fetched later.
    pub fn press(&self, level: Level) {
        self.inner.pressure.set(level);
    }

    /// Returns what was learnt of origins: of those alone where the number of connections that serves best
    /// is known by now.
    #[must_use]
    pub fn learnt(&self) -> History {
        self.inner.sites.learnt()
    }

    /// Returns what all transfers together cost so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.inner.counters.read(&self.inner.client.pool().stats())
    }
}
