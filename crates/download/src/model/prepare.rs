//! What is wanted of a model, and where it goes.

use std::path::PathBuf;

use super::check::Place;
use super::ensure::{Models, REFERENCE_BYTES_MAX};
use super::manifest;
use super::path::FilePath;
use super::select::{SelectError, Wanted, WantedFile};
use super::spec::{ModelSource, ModelSpec, Pinned};
use super::verify;
use crate::error::{Error, ErrorKind};
use crate::hub::{Commit, Entry, RepoId, Revision};
use crate::job::Tell;
use crate::seam::disk;

/// Listings are read whole: a hundred thousand files take some 20 MB.
const LISTING_BYTES_MAX: u64 = 1 << 30;
/// What tells backups and other caches' keepers that all of this can be had again (bford.info/cachedir).
const CACHE_TAG: &str =
    "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of models.\n";

/// What is known before anything is done.
pub(super) struct Prepared {
    pub(super) spec: ModelSpec,
    pub(super) commit: Option<Commit>,
    /// Whether `entries` are all files of the commit, and not what a lock file or a list names.
    pub(super) is_listed: bool,
    pub(super) entries: Vec<Entry>,
    pub(super) wanted: Wanted,
    /// Files that would lie among the notes of who fetches, which are no part of a model.
    pub(super) notes: Vec<FilePath>,
    pub(super) place: Place,
}

/// What is listed of a model, before anything of it is chosen.
struct Listed {
    spec: ModelSpec,
    commit: Option<Commit>,
    is_listed: bool,
    entries: Vec<Entry>,
}

impl Models {
    /// Finds out what is wanted of a model and where it goes; changes nothing.
    pub(super) async fn prepare(
        &self,
        spec: &ModelSpec,
        offline: bool,
        tell: Tell<'_>,
    ) -> Result<Prepared, Error> {
        let listed = self.listed(spec, offline, tell).await?;
        let wanted = listed.spec.selection.choose(&listed.entries);
        self.prepared(listed, wanted?)
    }

    /// The same, and notes a file that is asked for and that the commit does not have.
    pub(super) async fn prepare_noting(
        &self,
        spec: &ModelSpec,
        tell: Tell<'_>,
    ) -> Result<Prepared, Error> {
        let listed = self.listed(spec, self.inner.options.offline, tell).await?;
        let wanted = listed.spec.selection.choose(&listed.entries);
        if let (Err(SelectError::Missing { path }), Some(commit)) = (&wanted, &listed.commit) {
            self.note_absence(&listed.spec, commit, path);
        }
        self.prepared(listed, wanted?)
    }

    async fn listed(
        &self,
        spec: &ModelSpec,
        offline: bool,
        tell: Tell<'_>,
    ) -> Result<Listed, Error> {
        let mut spec = spec.clone();
        let folder = spec.target.clone();
        let (commit, entries, is_listed) = match &mut spec.source {
            ModelSource::Hub { repo, revision, pinned } => {
                let is_listed = pinned.is_none();
                let known = match pinned.take() {
                    Some(known) => known,
                    None => {
                        let commit = self.commit(repo, revision, (offline, tell)).await?;
                        let of = (&*repo, &commit);
                        let files = self.entries(of, folder, (offline, tell)).await?;
                        Pinned { commit, files }
                    }
                };
                let commit = known.commit.clone();
                *pinned = Some(Pinned { commit: commit.clone(), files: Vec::new() });
                (Some(commit), known.files, is_listed)
            }
            ModelSource::Web { files, .. } => (None, std::mem::take(files), false),
        };
        Ok(Listed { spec, commit, is_listed, entries })
    }

    fn prepared(&self, listed: Listed, mut wanted: Wanted) -> Result<Prepared, Error> {
        let Listed { spec, commit, is_listed, entries } = listed;
        let place = self.place(&spec, commit.as_ref())?;
        let is_note =
            |file: &mut WantedFile| matches!(place, Place::Folder { .. }) && file.path.is_note();
        let notes = wanted.files.extract_if(.., is_note).map(|file| file.path).collect();
        if wanted.files.is_empty() {
            return Err(SelectError::Nothing.into());
        }
        Ok(Prepared { wanted, notes, spec, commit, entries, is_listed, place })
    }

    fn place(&self, spec: &ModelSpec, commit: Option<&Commit>) -> Result<Place, Error> {
        match (&spec.target, &spec.source, commit) {
            (Some(folder), ..) => Ok(Place::Folder { folder: folder.clone() }),
            (None, ModelSource::Hub { repo, .. }, Some(commit)) => {
                Ok(Place::Cache { repo: self.cache().repo(repo), commit: commit.clone() })
            }
            _ => {
                let message = "a model of a web server needs a folder of its own: give it a target";
                Err(Error::new(ErrorKind::Other, message))
            }
        }
    }

    async fn commit(
        &self,
        repo: &RepoId,
        revision: &Revision,
        (offline, tell): (bool, Tell<'_>),
    ) -> Result<Commit, Error> {
        if let Some(commit) = revision.commit() {
            return Ok(commit);
        }
        if !offline {
            return self.inner.hub.commit_telling(repo, revision, tell).await;
        }
        let reference = self.cache().repo(repo).reference(revision);
        let text = disk::read(&reference, REFERENCE_BYTES_MAX).unwrap_or_default();
        let commit = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
        commit.ok_or_else(|| {
            let message = format!("revision {revision} is not here, and nobody may be asked");
            Error::new(ErrorKind::Offline, message)
        })
    }

    /// The files of a commit: from what is kept of it, else from the hub.
    async fn entries(
        &self,
        (repo, commit): (&RepoId, &Commit),
        folder: Option<PathBuf>,
        (offline, tell): (bool, Tell<'_>),
    ) -> Result<Vec<Entry>, Error> {
        let in_cache = self.cache().repo(repo);
        let kept = [in_cache.listing(commit), in_cache.tree(commit)];
        let (repo_of, commit_of) = (repo.clone(), commit.clone());
        let read = move || {
            let noted = folder.and_then(|folder| verify::noted(&folder, &repo_of, &commit_of));
            if noted.is_some() {
                return noted;
            }
            let read = |path: &PathBuf| disk::read(path, LISTING_BYTES_MAX).ok();
            kept.iter().filter_map(read).find_map(|json| manifest::from_json(&json))
        };
        if let Ok(Some(entries)) = tokio::task::spawn_blocking(read).await {
            return Ok(entries);
        }
        if offline {
            let message = "the list of its files is not here, and nobody may be asked";
            return Err(Error::new(ErrorKind::Offline, message));
        }
        self.inner.hub.files_telling(repo, commit, tell).await
    }

    /// Notes for the hub's own libraries that a commit does not have a file.
    fn note_absence(&self, spec: &ModelSpec, commit: &Commit, path: &str) {
        let (ModelSource::Hub { repo, .. }, None, Ok(path)) =
            (&spec.source, &spec.target, FilePath::parse(path))
        else {
            return;
        };
        let repo = self.cache().repo(repo);
        let place = Place::Cache { repo: repo.clone(), commit: commit.clone() };
        let note = repo.absent(commit, &path);
        let noted = self.create(&place).and_then(|()| {
            disk::create_beneath(&repo.folder(), note.parent().unwrap_or(&note))?;
            disk::replace(&note, &repo.ours(), b"")
        });
        // It saves their next question; without it they ask.
        let _ = noted;
    }

    /// Creates the folders of a place.
    pub(super) fn create(&self, place: &Place) -> std::io::Result<()> {
        if let Place::Cache { repo, commit } = place {
            let tag = self.cache().root().join("CACHEDIR.TAG");
            // In this order: the libraries take a folder without snapshots for a broken one.
            disk::create_folders(&repo.snapshot(commit))?;
            disk::create_folders(&repo.blobs())?;
            disk::create_folders(&repo.locks())?;
            disk::create_folders(&repo.ours())?;
            if disk::stat(&tag).is_none() {
                disk::replace(&tag, &repo.ours(), CACHE_TAG.as_bytes())?;
            }
            return Ok(());
        }
        disk::create_beneath(&place.shown(), &place.ours())
    }
}
