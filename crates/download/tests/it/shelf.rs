//! A hub, a cache, and a keeper of models between them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use download::{
    Cache, Downloader, Ensured, Error, FetchOptions, Hub, HubOptions, ModelEvent, ModelSpec,
    Models, ModelsOptions, Token,
};
use pool::http::Client;
use testkit::{HubFile, HubRepo};

use crate::world::{client_options, options};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Bytes of the weights.
pub(crate) const WEIGHTS: u64 = 3_000_000;
/// Where the hub has them.
pub(crate) const WEIGHTS_PATH: &str = "weights/model.safetensors";

/// A repository of three files; the weights differ by seed.
pub(crate) fn repo(id: &str, seed: u64) -> HubRepo {
    HubRepo::new(id, COMMIT)
        .with(HubFile::text("config.json", "{\"model_type\": \"bert\"}"))
        .with(HubFile::text("tokenizer.json", "{}"))
        .with(HubFile::blob(WEIGHTS_PATH, WEIGHTS, seed))
}

pub(crate) struct Shelf {
    pub(crate) hub: testkit::Hub,
    folder: tempfile::TempDir,
    pub(crate) token: Option<&'static str>,
    pub(crate) offline: bool,
    /// With one, files come in the order of their turns.
    pub(crate) files_max: usize,
}

impl Shelf {
    pub(crate) fn new(repos: Vec<HubRepo>) -> Self {
        Self::with(testkit::HubOptions { repos, page_size: 2, ..testkit::HubOptions::default() })
    }

    pub(crate) fn with(hub: testkit::HubOptions) -> Self {
        let hub = testkit::Hub::start(hub).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { hub, folder, token: None, offline: false, files_max: options().files_max }
    }

    /// A folder that nothing but the cache should be in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn cache(&self) -> Cache {
        Cache::new(self.folder().join("cache"))
    }

    pub(crate) fn models(&self) -> Models {
        let options = FetchOptions { files_max: self.files_max, ..options() };
        let downloader = Downloader::new(Client::new(client_options()), options);
        let token = self.token.map(|token| Token::new(token).unwrap());
        let options = HubOptions { token, ..HubOptions::new(self.hub.url().parse().unwrap()) };
        let options_of = ModelsOptions { cache: self.cache(), offline: self.offline };
        Models::new(Hub::new(downloader, options), options_of)
    }

    pub(crate) fn ensure(&self, model: &str) -> Result<Ensured, Error> {
        self.ensure_spec(&model.parse().unwrap())
    }

    pub(crate) fn ensure_spec(&self, spec: &ModelSpec) -> Result<Ensured, Error> {
        self.run(async move |models: Models| models.ensure(spec, |_| {}).await)
    }

    /// What is told meanwhile.
    pub(crate) fn events(&self, spec: &ModelSpec) -> Vec<ModelEvent> {
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let tell = move |event| heard.lock().unwrap().push(event);
        self.run(async move |models: Models| models.ensure(spec, tell).await).unwrap();
        Arc::into_inner(events).unwrap().into_inner().unwrap()
    }

    /// On a runtime of its own, within a time that nothing right needs.
    pub(crate) fn run<T>(&self, work: impl AsyncFnOnce(Models) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(30), work(self.models()))
                .await
                .expect("it hangs")
        })
    }

    /// Requests that the hub had.
    pub(crate) fn requests(&self) -> u64 {
        self.hub.origin().stats().requests
    }

    /// Requests for files, redirects not counted.
    pub(crate) fn resolves(&self) -> u64 {
        let paths = self.hub.origin().stats().paths;
        paths
            .iter()
            .filter(|(path, _)| path.contains("/resolve/"))
            .map(|(_, stats)| stats.requests)
            .sum()
    }

    /// Bytes of large files that left the content network.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.hub.cdn().unwrap().stats().sent_bytes
    }

    /// How often the weights left the content network: parts that two connections had count for less than
    /// half a time.
    pub(crate) fn transfers(&self) -> u64 {
        (self.sent_bytes() + WEIGHTS / 2) / WEIGHTS
    }

    pub(crate) fn reset(&self) {
        self.hub.origin().reset();
        self.hub.cdn().unwrap().reset();
    }

    /// The bytes behind the name of the weights.
    pub(crate) fn weights(&self, repo: &str) -> PathBuf {
        let folder = self.cache().repo(&repo.parse().unwrap()).snapshot(&COMMIT.parse().unwrap());
        folder.join(WEIGHTS_PATH).canonicalize().unwrap()
    }
}

/// All names beneath a folder, links not followed, with what they hold or lead to.
pub(crate) fn everything(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            all.extend(everything(&path));
            all.push(format!("{}/", path.display()));
        } else if metadata.is_symlink() {
            all.push(format!("{} -> {}", path.display(), path.read_link().unwrap().display()));
        } else {
            all.push(format!("{} {}", path.display(), metadata.len()));
        }
    }
    all.sort();
    all
}
