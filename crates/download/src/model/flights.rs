//! What is known of blobs across models: where the same bytes lie already, and who brings them now.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use super::layout::{Cache, RepoFolder};
use super::records::{Records, Seen};
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

/// Bytes in the cache.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) path: PathBuf,
    /// What they were when we verified them, if we did.
    verified: Option<Seen>,
}

/// Where bytes lie in a cache, by their SHA-256: read once, with all records, and added to by this process.
#[derive(Debug, Default)]
pub(crate) struct Index(Mutex<Option<HashMap<Digest, Known>>>);

impl Index {
    /// Whether the bytes lie somewhere else than at `target`.
    pub(crate) fn find(&self, cache: &Cache, digest: Digest, target: &Path) -> Option<Known> {
        if !matches!(digest, Digest::Sha256(_)) {
            return None;
        }
        let mut index = self.0.lock();
        let known = index.get_or_insert_with(|| read(cache)).get(&digest)?;
        (known.path != target).then(|| known.clone())
    }

    /// Adds bytes that were verified just now.
    pub(crate) fn add(&self, digest: Digest, path: PathBuf) {
        if let (Digest::Sha256(_), Some(known)) = (digest, self.0.lock().as_mut()) {
            let verified = disk::stat(&path).as_ref().map(Seen::of);
            known.insert(digest, Known { path, verified });
        }
    }
}

fn read(cache: &Cache) -> HashMap<Digest, Known> {
    let mut known = HashMap::new();
    for name in disk::names(cache.root()) {
        let Some(name) = name.to_str().filter(|name| name.starts_with("models--")) else {
            continue;
        };
        let repo = RepoFolder::named(cache.root(), name);
        let (blobs, records) = (repo.blobs(), Records::load(&repo.ours()));
        for blob in disk::names(&blobs) {
            let digest = blob.to_str().and_then(|blob| Digest::sha256(blob).ok());
            if let Some(digest) = digest {
                let verified = records.seen(&digest.to_string());
                known.insert(digest, Known { path: blobs.join(blob), verified });
            }
        }
    }
    known
}

/// Gives bytes a second name, if they are right. Blocks as long as reading takes, where
/// nobody has verified them yet.
pub(crate) fn adopt(known: &Known, to: &Path, digest: Digest, scratch: &Path) -> bool {
    let from = &known.path;
    // A link leads somewhere else that is not ours to share.
    let Some(stat) = disk::link_stat(from).filter(|stat| !stat.is_link && !stat.is_folder) else {
        return false;
    };
    let is_right = known.verified == Some(Seen::of(&stat)) || {
        let files = memory::files::OsFiles::new();
        digest_of(&files, from, Algorithm::of(Some(digest))).is_ok_and(|(_, found)| found == digest)
    };
    is_right && disk::share(from, to, scratch).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each file of a model that shares all of them it would take as long as for all of them.
    #[test]
    fn records_are_read_once_and_not_for_each_file() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let repo = cache.repo(&"org/a".parse().unwrap());
        for folder in [repo.blobs(), repo.ours()] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let digests = ["ab", "cd"].map(|text| Digest::sha256(&text.repeat(32)).unwrap());
        let [recorded, foreign] = digests;
        for digest in digests {
            std::fs::write(repo.blob(&digest), "not hashed").unwrap();
        }
        let records = Records::load(&repo.ours());
        records.add(&recorded.to_string(), &repo.blob(&recorded)).unwrap();
        let (index, to) = (Index::default(), folder.path().join("to"));
        let known = index.find(&cache, recorded, &to).unwrap();
        std::fs::remove_file(repo.ours().join("verified")).unwrap();
        assert!(adopt(&known, &to, recorded, folder.path()), "it was verified, by the records");
        let known = index.find(&cache, foreign, &to).unwrap();
        assert!(!adopt(&known, &to, foreign, folder.path()), "what was not is hashed");
    }
}
