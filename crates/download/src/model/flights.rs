//! What is known of blobs across models: where the same bytes lie already, and who brings them now.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use super::layout::{Cache, RepoFolder};
use super::records::Records;
use crate::digest::{Algorithm, Digest};
use crate::local::digest_of;
use crate::seam::disk;

/// Entries of flights after which those that nobody holds are forgotten.
const FLIGHTS_KEPT_MAX: usize = 4096;

/// Who brings which bytes now, in this process.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>);

impl Flights {
    /// Waits until nobody else of this process brings these bytes, and brings them alone until the guard is
    /// dropped.
    pub(crate) async fn enter(&self, digest: Digest) -> OwnedMutexGuard<()> {
        let flight = {
            let mut flights = self.0.lock();
            if FLIGHTS_KEPT_MAX <= flights.len() {
                flights.retain(|_, flight| 0 < flight.strong_count());
            }
            let known = flights.get(&digest).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let flight = Arc::default();
                flights.insert(digest, Arc::downgrade(&flight));
                flight
            })
        };
        flight.lock_owned().await
    }
}

/// Where bytes lie in a cache, by their SHA-256: read once, and added to by this process.
#[derive(Debug, Default)]
pub(crate) struct Index(Mutex<Option<HashMap<Digest, PathBuf>>>);

impl Index {
    /// Whether the bytes lie somewhere else than at `target`.
    pub(crate) fn find(&self, cache: &Cache, digest: Digest, target: &Path) -> Option<PathBuf> {
        if !matches!(digest, Digest::Sha256(_)) {
            return None;
        }
        let mut index = self.0.lock();
        let known = index.get_or_insert_with(|| read(cache)).get(&digest)?;
        (known != target).then(|| known.clone())
    }

    pub(crate) fn add(&self, digest: Digest, path: PathBuf) {
        if let (Digest::Sha256(_), Some(known)) = (digest, self.0.lock().as_mut()) {
            known.insert(digest, path);
        }
    }
}

fn read(cache: &Cache) -> HashMap<Digest, PathBuf> {
    let mut known = HashMap::new();
    for name in disk::names(cache.root()) {
        let Some(name) = name.to_str().filter(|name| name.starts_with("models--")) else {
            continue;
        };
        let blobs = RepoFolder::named(cache.root(), name).blobs();
        for blob in disk::names(&blobs) {
            let digest = blob.to_str().and_then(|blob| Digest::sha256(blob).ok());
            if let Some(digest) = digest {
                known.insert(digest, blobs.join(blob));
            }
        }
    }
    known
}

/// Gives the bytes at `from` a second name, if they are right. Blocks as long as reading takes, where
/// nobody has verified them yet.
pub(crate) fn adopt(from: &Path, to: &Path, digest: Digest, scratch: &Path) -> bool {
    // A link leads somewhere else that is not ours to share.
    let Some(stat) = disk::link_stat(from).filter(|stat| !stat.is_link && !stat.is_folder) else {
        return false;
    };
    let repo = from.parent().and_then(Path::parent);
    let is_known = repo.is_some_and(|repo| {
        Records::load(&repo.join(super::layout::OURS)).hold(&digest.to_string(), &stat)
    });
    let is_right = is_known || {
        let files = memory::files::OsFiles::new();
        digest_of(&files, from, Algorithm::of(Some(digest))).is_ok_and(|(_, found)| found == digest)
    };
    is_right && disk::share(from, to, scratch).is_ok()
}
