//! Downloads through testkit's links: an origin, a folder, a downloader, and what came of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use download::{Downloader, Error, Event, FetchOptions, Fetched, Job, Patience, Traffic};
use pool::http::{Client, ClientOptions};
use tempfile::TempDir;
use testkit::{Blob, Options, Origin, Settings};

/// An origin with blobs, and a folder for what is fetched from it.
#[derive(Debug)]
pub struct World {
    /// Where from.
    pub origin: Origin,
    blobs: Vec<Blob>,
    folder: TempDir,
}

/// What a run brought.
#[derive(Debug)]
pub struct Brought {
    /// What became of each file.
    pub results: Vec<Result<Fetched, Error>>,
    /// Numbers of the files, in the order in which they ended.
    pub order: Vec<usize>,
    /// From the first question to the last name.
    pub wall: Duration,
    /// Bytes of all files that were here, and when.
    pub progress: Vec<(Duration, u64)>,
    /// What it cost the network.
    pub traffic: Traffic,
}

impl World {
    /// An origin that serves `count` blobs of these sizes in turn.
    ///
    /// # Panics
    ///
    /// When there is no port or folder to be had.
    #[must_use]
    pub fn new(sizes: &[u64], count: usize) -> Self {
        let sized = sizes.iter().cycle().take(count).enumerate();
        let blobs: Vec<_> =
            sized.map(|(k, &size)| Blob::new(format!("file-{k}"), size, k as u64)).collect();
        let options = Options { blobs: blobs.clone(), ..Options::default() };
        let origin = Origin::start(options).expect("a port on loopback");
        // In memory where there is such a place: it is the network that is measured.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self { origin, blobs, folder: folder.expect("a temporary folder") }
    }

    /// Changes what the origin does.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        self.origin.update(change);
    }

    /// The jobs for all blobs, through the origin itself or through a link at `address`.
    ///
    /// # Panics
    ///
    /// Never: the address is one.
    #[must_use]
    pub fn jobs(&self, address: std::net::SocketAddr) -> Vec<Job> {
        let job = |blob: &Blob| {
            let url = format!("http://{address}/{}", blob.name());
            Job::new(
                url.parse().expect("an address and a name"),
                self.folder.path().join(blob.name()),
            )
        };
        self.blobs.iter().map(job).collect()
    }

    /// Fetches all blobs from the origin.
    #[must_use]
    pub fn fetch(&self, options: FetchOptions) -> Brought {
        run(options, self.jobs(self.origin.address()))
    }

    /// How many files are missing or wrong, by the digest of what was received and the length of what is
    /// here.
    #[must_use]
    pub fn wrong(&self, brought: &Brought) -> usize {
        let is_right = |(blob, result): (&Blob, &Result<Fetched, Error>)| {
            let path = self.folder.path().join(blob.name());
            let len_bytes = std::fs::metadata(path).map(|metadata| metadata.len()).ok();
            result.as_ref().is_ok_and(|fetched| {
                fetched.digest.is_some_and(|digest| digest.to_string() == blob.digests().sha256)
                    && len_bytes == Some(blob.size())
            })
        };
        self.blobs.iter().zip(&brought.results).filter(|&pair| !is_right(pair)).count()
    }

    /// The folder's path.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

/// Options of the suite: pauses so short that it is not they that are measured.
#[must_use]
pub fn options(connections_max: usize) -> FetchOptions {
    let pause = Duration::from_millis(5);
    let patience = Patience { retries_max: 20, pause, pause_max: Duration::from_millis(50) };
    FetchOptions { connections_max, patience, ..FetchOptions::default() }
}

/// Runs jobs on a runtime of their own.
///
/// # Panics
///
/// When there is no runtime to be had.
#[must_use]
pub fn run(options: FetchOptions, jobs: Vec<Job>) -> Brought {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let mut client = ClientOptions::default();
        // As the program does: shorter under a limit, so that bytes come evenly.
        client.http1.max_buf_size(if options.limiter.is_some() { 32 << 10 } else { 256 << 10 });
        client.pool.connections_max = options.connections_max;
        client.pool.connections_per_key_max = options.connections_max;
        client.head_timeout = Some(Duration::from_secs(5));
        client.body_timeout = Some(Duration::from_secs(5));
        let downloader = Downloader::new(Client::new(client), options);
        let start = Instant::now();
        let (order, course) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::default()));
        let (ended, moved) = (Arc::clone(&order), Arc::clone(&course));
        let tell = move |k, event| {
            if let Event::Progress { done_bytes, .. } = event {
                let mut course: MutexGuard<'_, Course> = moved.lock().expect("no panic");
                course.moved(start.elapsed(), k, done_bytes);
            }
        };
        let done = move |k, _: &_| ended.lock().expect("no panic").push(k);
        let results = downloader.fetch_all(jobs, tell, done).await;
        let wall = start.elapsed();
        let taken = std::mem::take(&mut *order.lock().expect("no panic"));
        let progress = std::mem::take(&mut course.lock().expect("no panic").points);
        Brought { results, order: taken, wall, progress, traffic: downloader.traffic() }
    })
}

/// How far all files together have come, over time.
#[derive(Debug, Default)]
struct Course {
    done: BTreeMap<usize, u64>,
    sum: u64,
    points: Vec<(Duration, u64)>,
}

impl Course {
    /// What is told late, after what came later, tells nothing new.
    fn moved(&mut self, at: Duration, k: usize, done_bytes: u64) {
        let done = self.done.entry(k).or_default();
        self.sum += done_bytes.saturating_sub(*done);
        *done = done_bytes.max(*done);
        self.points.push((at, self.sum));
    }
}

impl Brought {
    /// Bytes per second from the first fifth of the bytes, when the burst is spent, to the last, before the
    /// first file ends: the slope of the line of least squares.
    ///
    /// Not from one point to another: a frame that is larger than the burst is let through before it is paid
    /// for, so that each point alone is off by up to a frame.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let &(_, total) = self.progress.last()?;
        let within =
            |&&(_, bytes): &&(Duration, u64)| (total / 5..total - total / 5).contains(&bytes);
        let points = self.progress.iter().filter(within);
        let points: Vec<_> = points.map(|&(at, bytes)| (at.as_secs_f64(), bytes as f64)).collect();
        let n = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
        let (at_mean, bytes_mean) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = points.iter().map(|point| (point.0 - at_mean).powi(2)).sum();
        let common = |point: &(f64, f64)| (point.0 - at_mean) * (point.1 - bytes_mean);
        (0.0 < spread).then(|| points.iter().map(common).sum::<f64>() / spread)
    }

    /// How long the last tenth took, in tenths of the whole time: 1 is its fair share.
    #[must_use]
    pub fn last_tenth(&self) -> Option<f64> {
        let total = self.progress.iter().map(|&(_, bytes)| bytes).max()?;
        let nine_tenths = total - total / 10;
        let (at, _) = self.progress.iter().find(|&&(_, bytes)| nine_tenths <= bytes)?;
        let wall = self.wall.as_secs_f64();
        Some((wall - at.as_secs_f64()) / (wall / 10.0))
    }
}
