//! An origin, a folder, and a downloader between them.

use std::path::PathBuf;
use std::time::Duration;

use download::{Digest, Downloader, Error, Event, FetchOptions, Fetched, Job, Patience};
use pool::http::{Client, ClientOptions};
use testkit::{Blob, Options, Origin};

/// Large enough for a dozen parts, small enough for a hundred tests.
pub(crate) const SIZE: u64 = 3_000_001;
/// What the blob is called.
pub(crate) const NAME: &str = "model.bin";

pub(crate) struct World {
    pub(crate) origin: Origin,
    pub(crate) blob: Blob,
    folder: tempfile::TempDir,
}

impl World {
    /// An origin with one blob and these faults.
    pub(crate) fn new(faults: &[&str]) -> Self {
        Self::of_size(SIZE, faults)
    }

    pub(crate) fn of_size(size: u64, faults: &[&str]) -> Self {
        let blob = Blob::new(NAME, size, 7);
        let options = Options { blobs: vec![blob.clone()], ..Options::default() };
        let origin = Origin::start(options).unwrap();
        origin.update(|settings| {
            settings.faults = faults.iter().map(|rule| rule.parse().expect("a rule")).collect();
        });
        Self { origin, blob, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.folder.path().join("file")
    }

    pub(crate) fn job(&self, with_digest: bool) -> Job {
        let digest = Digest::sha256(&self.blob.digests().sha256).unwrap();
        let url = format!("http://{}/{NAME}", self.origin.address()).parse().unwrap();
        Job { digest: with_digest.then_some(digest), ..Job::new(url, self.target()) }
    }

    /// What lies in the folder.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = self.folder.path().read_dir().unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Whether the file is there and right; `None` when there is none.
    pub(crate) fn is_right(&self) -> Option<bool> {
        let bytes = std::fs::read(self.target()).ok()?;
        Some(self.judge(&bytes) == Part::Right)
    }

    pub(crate) fn judge(&self, bytes: &[u8]) -> Part {
        let mut expected = vec![0; self.blob.size() as usize];
        self.blob.fill(0, &mut expected);
        if bytes == expected { Part::Right } else { Part::Wrong }
    }
}

/// What stands at a target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    Absent,
    Right,
    Wrong,
}

/// A client of little patience.
pub(crate) fn client_options() -> ClientOptions {
    ClientOptions {
        head_timeout: Some(Duration::from_millis(500)),
        body_timeout: Some(Duration::from_millis(500)),
        ..ClientOptions::default()
    }
}

/// Small parts, small patience.
pub(crate) fn options() -> FetchOptions {
    let pause = Duration::from_millis(5);
    let patience = Patience { retries_max: 4, pause, pause_max: pause };
    FetchOptions {
        connections_max: 4,
        part_bytes: Some(256 << 10),
        patience,
        ..FetchOptions::default()
    }
}

/// Fetches on a runtime of its own, within a time that no right transfer needs.
pub(crate) fn fetch(
    job: &Job,
    options: &FetchOptions,
    tell: impl Fn(Event) + Send + Sync,
) -> Result<Fetched, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let downloader = Downloader::new(Client::new(client_options()), options.clone());
        let fetching = downloader.fetch(job, tell);
        tokio::time::timeout(Duration::from_secs(30), fetching)
            .await
            .expect("a transfer that hangs")
    })
}
