//! One file of a model: fetched, or found elsewhere, then given its name.

use std::path::Path;
use std::sync::Arc;

use limiter::Limiter;

use super::blob_lock;
use super::check::{self, Place};
use super::ensure::Inner;
use super::event::{ModelEvent, TellModel};
use super::flights;
use super::path::FilePath;
use super::records::Records;
use super::safetensors;
use super::select::WantedFile;
use super::spec::ModelSource;
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, ErrorKind};
use crate::job::{Event, Fetched, How, Job, Verified};
use crate::local::digest_of;
use crate::seam::disk;

/// What all files of one model share.
pub(crate) struct Visit {
    pub(crate) inner: Arc<Inner>,
    pub(crate) source: ModelSource,
    pub(crate) place: Place,
    pub(crate) records: Arc<Records>,
    /// The model's share of the rate.
    pub(crate) limiter: Option<Limiter>,
    pub(crate) tell: TellModel,
}

/// A file to bring, and the names that it has besides in the same model.
pub(crate) struct Piece {
    pub(crate) file: WantedFile,
    pub(crate) more: Vec<FilePath>,
}

/// Groups files of the same bytes, where those lie apart from the names.
pub(crate) fn pieces(place: &Place, files: Vec<WantedFile>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::with_capacity(files.len());
    let mut known = std::collections::HashMap::new();
    for file in files {
        let digest = file.digest.filter(|_| matches!(place, Place::Cache { .. }));
        if let Some(&at) = digest.and_then(|digest| known.get(&digest)) {
            let piece: &mut Piece = &mut pieces[at];
            piece.more.push(file.path);
            continue;
        }
        if let Some(digest) = digest {
            known.insert(digest, pieces.len());
        }
        pieces.push(Piece { file, more: Vec::new() });
    }
    pieces
}

impl Visit {
    /// Brings a file.
    pub(crate) async fn bring(self: Arc<Self>, piece: Piece) -> Result<(), Error> {
        let path = piece.file.path.clone();
        let object = format!("{}/{path}", self.source.name().trim_end_matches('/'));
        let done = match self.place.clone() {
            Place::Cache { repo, commit } => {
                let digest = piece.file.digest.ok_or_else(|| {
                    Error::new(ErrorKind::Integrity, "the hub tells no digest").of(&object)
                })?;
                let fetched = self.to_cache(&repo, &piece.file, digest).await;
                fetched.and_then(|fetched| {
                    for path in std::iter::once(&piece.file.path).chain(&piece.more) {
                        check::name((&repo, &commit), path, &digest)
                            .map_err(disk_error("cannot name it"))?;
                    }
                    Ok(fetched)
                })
            }
            Place::Folder { folder } => self.to_folder(&folder, &piece.file).await,
        };
        let fetched = done.map_err(|error| error.of(&object))?;
        self.look_into(&piece.file).await;
        (self.tell)(ModelEvent::File { path: path.to_string(), fetched: fetched.clone() });
        for path in &piece.more {
            let fetched = Fetched { fetched_bytes: 0, how: How::Linked, ..fetched.clone() };
            (self.tell)(ModelEvent::File { path: path.to_string(), fetched });
        }
        Ok(())
    }

    async fn to_cache(
        &self,
        repo: &super::RepoFolder,
        file: &WantedFile,
        digest: Digest,
    ) -> Result<Fetched, Error> {
        let target = repo.blob(&digest);
        let _flight = self.inner.flights.enter(digest).await;
        let waits = || self.told(file, Event::Waiting);
        let lock = blob_lock::hold(repo, &digest.to_string(), waits).await;
        let _lock = lock.map_err(disk_error("cannot lock it"))?;
        let fetched = match self.here(file, digest, &target).await {
            Some(fetched) => fetched,
            None => self.fetch(file, &target).await?,
        };
        let recorded = self.records.add(&digest.to_string(), &target);
        recorded.map_err(disk_error("cannot record it"))?;
        self.inner.index.add(digest, target);
        Ok(fetched)
    }

    /// The bytes, if another brought them meanwhile, or they lie in the cache for another model.
    async fn here(&self, file: &WantedFile, digest: Digest, target: &Path) -> Option<Fetched> {
        if let Some(stat) = disk::stat(target)
            && stat.bytes == file.bytes
            && self.records.hold(&digest.to_string(), &stat)
        {
            return Some(found(file, digest, How::Unchanged));
        }
        let from = self.inner.index.find(&self.inner.options.cache, digest, target)?;
        if disk::stat(target).is_some() || disk::stat(&from.path)?.bytes != file.bytes {
            return None;
        }
        let (to, scratch) = (target.to_owned(), self.place.ours());
        let adopted =
            tokio::task::spawn_blocking(move || flights::adopt(&from, &to, digest, &scratch)).await;
        adopted.unwrap_or(false).then(|| found(file, digest, How::Linked))
    }

    async fn to_folder(&self, folder: &Path, file: &WantedFile) -> Result<Fetched, Error> {
        let target = file.path.beneath(folder);
        disk::create_beneath(folder, target.parent().unwrap_or(folder))
            .map_err(disk_error("cannot create its folder"))?;
        let fetched = match self.unverified(file, &target).await {
            Some(fetched) => fetched,
            None => self.fetch(file, &target).await?,
        };
        let record = self.place.record(&file.path, file.digest);
        self.records.add(&record, &target).map_err(disk_error("cannot record it"))?;
        // The hub's own client asks again without it: its name may be too long, or a folder in its way.
        let _ = self.mark(folder, file);
        Ok(fetched)
    }

    /// A file that is here, where there is no digest to hold it against but its length.
    async fn unverified(&self, file: &WantedFile, target: &Path) -> Option<Fetched> {
        if file.digest.is_some() || file.bytes == 0 || disk::stat(target)?.bytes != file.bytes {
            return None;
        }
        let path = target.to_owned();
        let digest = tokio::task::spawn_blocking(move || {
            digest_of(&memory::files::OsFiles::new(), &path, Algorithm::Sha256)
        });
        let (_, digest) = digest.await.ok()?.ok()?;
        Some(Fetched { verified: Verified::Length, ..found(file, digest, How::Unchanged) })
    }

    /// Notes in the manner of the hub's own client which version of the file this is.
    fn mark(&self, folder: &Path, file: &WantedFile) -> std::io::Result<()> {
        let (Some(digest), ModelSource::Hub { pinned: Some(pinned), .. }) =
            (file.digest, &self.source)
        else {
            return Ok(());
        };
        let notes = folder.join(".cache").join("huggingface").join("download");
        let note = file.path.beneath(&notes);
        let note = note.with_file_name(format!(
            "{}.metadata",
            note.file_name().unwrap_or_default().to_string_lossy()
        ));
        disk::create_beneath(folder, note.parent().unwrap_or(&notes))?;
        let since = crate::seam::date().duration_since(std::time::SystemTime::UNIX_EPOCH);
        let seconds = since.unwrap_or_default().as_secs_f64();
        let text = format!("{}\n{digest}\n{seconds}\n", pinned.commit);
        disk::replace(&note, &self.place.ours(), text.as_bytes())
    }

    async fn fetch(&self, file: &WantedFile, target: &Path) -> Result<Fetched, Error> {
        let (url, headers) = match &self.source {
            ModelSource::Hub { repo, pinned, .. } => {
                let pinned =
                    pinned.as_ref().expect("a commit is known before its files are fetched");
                self.inner.hub.file(repo, &pinned.commit, file.path.as_str())
            }
            ModelSource::Web { url, .. } => self.inner.hub.web_file(url, file.path.as_str()),
        };
        if self.inner.options.offline {
            return Err(Error::new(ErrorKind::Offline, "it is not here, and nobody may be asked"));
        }
        let is_told = 0 < file.bytes || matches!(self.source, ModelSource::Hub { .. });
        let bytes = is_told.then_some(file.bytes);
        let (digest, class, limiter) = (file.digest, file.class, self.limiter.clone());
        let job = Job { digest, bytes, headers, class, limiter, ..Job::new(url, target) };
        self.inner.hub.downloader().fetch(&job, |event| self.told(file, event)).await
    }

    fn told(&self, file: &WantedFile, event: Event) {
        (self.tell)(ModelEvent::Transfer { path: file.path.to_string(), event });
    }

    /// Warns of tensors that no library will load.
    async fn look_into(&self, file: &WantedFile) {
        if !file.path.as_str().ends_with(".safetensors") {
            return;
        }
        let target = self.place.target(&file.path, file.digest);
        let fault = tokio::task::spawn_blocking(move || header_fault(&target)).await;
        if let Ok(Some(fault)) = fault {
            let text = format!("{} will not load: {fault}", file.path);
            (self.tell)(ModelEvent::Warning(text));
        }
    }
}

fn header_fault(target: &Path) -> Option<String> {
    let bytes = disk::stat(target)?.bytes;
    let start = disk::read_start(target, 8).ok()?;
    let checked = safetensors::header_bytes(&start, bytes).and_then(|length| {
        let header = disk::read_start(target, 8 + length).unwrap_or_default();
        safetensors::check(header.get(8..).unwrap_or_default(), bytes - 8 - length)
    });
    checked.err().map(|fault| fault.to_string())
}

fn found(file: &WantedFile, digest: Digest, how: How) -> Fetched {
    let (bytes, digest, verified) = (file.bytes, Some(digest), Verified::Digest);
    Fetched { bytes, fetched_bytes: 0, hedged_bytes: 0, digest, verified, how }
}

pub(crate) fn disk_error(what: &str) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.to_owned();
    move |error| Error::new(ErrorKind::Disk, format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of files need not tell lengths.
    #[test]
    fn tensors_are_held_against_the_length_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        let header = r#"{"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#;
        let start = (header.len() as u64).to_le_bytes();
        std::fs::write(&path, [&start[..], header.as_bytes(), b"ab"].concat()).unwrap();
        assert_eq!(None, header_fault(&path));
        std::fs::write(&path, [&start[..], header.as_bytes(), b"abc"].concat()).unwrap();
        assert!(header_fault(&path).is_some());
    }
}
