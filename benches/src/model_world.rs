//! Models through testkit's hub: a hub, a cache, a keeper of models between them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use download::{
    Cache, Downloader, FetchOptions, Hub, HubOptions, ModelLine, ModelLineOptions, ModelSpec,
    Models, ModelsOptions, Priority, Url,
};
use pool::http::{Client, ClientOptions};
use tempfile::TempDir;
use testkit::{HubFile, HubRepo};

/// The commit of all models here.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub, and a folder for a cache.
#[derive(Debug)]
pub struct ModelWorld {
    /// Where from.
    pub hub: testkit::Hub,
    folder: TempDir,
}

impl ModelWorld {
    /// A hub with these models.
    ///
    /// # Panics
    ///
    /// When there is no port or folder to be had.
    #[must_use]
    pub fn new(repos: Vec<HubRepo>) -> Self {
        let options = testkit::HubOptions { repos, ..testkit::HubOptions::default() };
        let hub = testkit::Hub::start(options).expect("two ports on loopback");
        // In memory where there is such a place: it is the network that is measured.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self { hub, folder: folder.expect("a temporary folder") }
    }

    /// The folder of the cache.
    #[must_use]
    pub fn cache(&self) -> &Path {
        self.folder.path()
    }

    /// The address of the hub.
    ///
    /// # Panics
    ///
    /// Never: the hub gives its address.
    #[must_use]
    pub fn url(&self) -> Url {
        self.hub.url().parse().expect("the hub's address is one")
    }
}

/// A model of one small file.
#[must_use]
pub fn small_model(k: usize) -> HubRepo {
    HubRepo::new(format!("org/m{k}"), COMMIT)
        .with(HubFile::text("config.json", format!("{{\"k\":{k}}}")))
}

/// A keeper of models.
#[must_use]
pub fn models(hub: Url, cache: &Path, options: FetchOptions) -> Models {
    let patience = Some(Duration::from_secs(5));
    let client = ClientOptions {
        head_timeout: patience,
        body_timeout: patience,
        ..ClientOptions::default()
    };
    let downloader = Downloader::new(Client::new(client), options);
    let hub = Hub::new(downloader, HubOptions::new(hub));
    Models::new(hub, ModelsOptions { cache: Cache::new(cache), offline: false })
}

/// Runs on a runtime of its own.
///
/// # Panics
///
/// When there is no runtime to be had.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

/// Brings models through a line, all asked for at once; returns how long it took and how many failed.
pub async fn bring(models: Models, specs: Vec<ModelSpec>, models_max: usize) -> (Duration, usize) {
    let start = Instant::now();
    let options = ModelLineOptions { models_max, ..ModelLineOptions::default() };
    let line = ModelLine::new(models, options);
    let failed = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&failed);
    let wished = specs.into_iter().map(|spec| (spec, Priority::Normal)).collect();
    let ended = move |_, result: &Result<_, _>| {
        counted.fetch_add(usize::from(result.is_err()), std::sync::atomic::Ordering::Relaxed);
    };
    line.bring_all(wished, |_, _| {}, ended).await;
    (start.elapsed(), failed.load(std::sync::atomic::Ordering::Relaxed))
}
