//! What of a model is here already. Blocks for two system calls per file.

use std::path::{Path, PathBuf};

use super::layout::{RepoFolder, link_text};
use super::path::FilePath;
use super::records::Records;
use super::select::WantedFile;
use crate::digest::Digest;
use crate::hub::Commit;
use crate::seam::disk;

/// Where the files of one model go.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Bytes among the blobs, names among the snapshots.
    Cache { repo: RepoFolder, commit: Commit },
    /// Both at once, in a folder of the user.
    Folder { folder: PathBuf },
}

impl Place {
    /// What is kept of ours.
    pub(crate) fn ours(&self) -> PathBuf {
        match self {
            Self::Cache { repo, .. } => repo.ours(),
            Self::Folder { folder } => folder.join(".cache").join("download"),
        }
    }

    /// Where the model is found when it is here.
    pub(crate) fn shown(&self) -> PathBuf {
        match self {
            Self::Cache { repo, commit } => repo.snapshot(commit),
            Self::Folder { folder } => folder.clone(),
        }
    }

    /// Where the bytes of a file go.
    pub(crate) fn target(&self, path: &FilePath, digest: Option<Digest>) -> PathBuf {
        match (self, digest) {
            (Self::Cache { repo, .. }, Some(digest)) => repo.blob(&digest),
            _ => path.beneath(&self.shown()),
        }
    }

    /// By what name the bytes of a file are recorded.
    pub(crate) fn record(&self, path: &FilePath, digest: Option<Digest>) -> String {
        match (self, digest) {
            (Self::Cache { .. }, Some(digest)) => digest.to_string(),
            // Another digest under the same name is another file.
            (_, Some(digest)) => format!("{digest} {path}"),
            (_, None) => path.to_string(),
        }
    }
}

/// A file that is here, or needs no more than its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Here {
    /// Bytes and name.
    All,
    /// The bytes, verified by us.
    Bytes,
    Nothing,
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// Files of which nothing need be done.
    pub(crate) whole: Vec<WantedFile>,
    /// Files whose bytes are here, and their names are not.
    pub(crate) unnamed: Vec<WantedFile>,
    /// Files whose bytes are not here, or were not verified by us.
    pub(crate) missing: Vec<WantedFile>,
}

/// Looks which files are here and as they were when we verified them.
pub(crate) fn look(place: &Place, records: &Records, files: Vec<WantedFile>) -> Found {
    let mut found = Found::default();
    for file in files {
        match here(place, records, &file) {
            Here::All => found.whole.push(file),
            Here::Bytes => found.unnamed.push(file),
            Here::Nothing => found.missing.push(file),
        }
    }
    found
}

fn here(place: &Place, records: &Records, file: &WantedFile) -> Here {
    let target = place.target(&file.path, file.digest);
    let is_right = disk::stat(&target).is_some_and(|stat| {
        // A length of nothing is one that nobody told.
        (file.bytes == 0 || stat.bytes == file.bytes)
            && records.hold(&place.record(&file.path, file.digest), &stat)
    });
    if !is_right {
        return Here::Nothing;
    }
    match (place, file.digest) {
        (Place::Cache { .. }, Some(digest)) => {
            let link = disk::link_text(&file.path.beneath(&place.shown()));
            let is_named = link.is_some_and(|link| link == link_text(&file.path, &digest));
            if is_named { Here::All } else { Here::Bytes }
        }
        _ => Here::All,
    }
}

/// Gives the bytes of a file their name in the snapshot.
pub(crate) fn name(
    (repo, commit): (&RepoFolder, &Commit),
    path: &FilePath,
    digest: &Digest,
) -> std::io::Result<()> {
    let snapshot = repo.snapshot(commit);
    let link = path.beneath(&snapshot);
    disk::create_beneath(&snapshot, link.parent().unwrap_or(Path::new("")))?;
    disk::place_link(&link_text(path, digest), &link, &repo.ours())
}
