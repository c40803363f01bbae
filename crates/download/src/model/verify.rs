//! Is what lies here still what it was: everything is read and hashed.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use memory::files::OsFiles;
use serde::{Deserialize, Serialize};

use super::inventory::Scanned;
use super::layout::{Cache, RepoFolder};
use super::manifest;
use super::path::FilePath;
use super::records::Records;
use crate::digest::{Algorithm, Digest};
use crate::error::{Error, ErrorKind};
use crate::hub::{Commit, Entry, RepoId};
use crate::local::digest_of;
use crate::seam::disk;

/// A note of ours in a folder of the user is no longer.
const NOTE_BYTES_MAX: u64 = 1 << 30;

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FindingFault {
    /// It is not there.
    Missing,
    /// It has other bytes, or fewer.
    Digest {
        /// What it has.
        found: Digest,
    },
    /// It cannot be read.
    Unreadable,
}

/// A file that is not what it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// Where its bytes should lie.
    pub path: PathBuf,
    /// What they should be.
    pub digest: Digest,
    /// What is wrong.
    pub fault: FindingFault,
    /// Where the hub has it: the commit and the name; `None` when no snapshot refers to it.
    pub source: Option<(Commit, FilePath)>,
    /// By what name its bytes are recorded once they are right.
    pub(crate) record: String,
}

/// What was found.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Verification {
    /// The model; `None` where nobody noted it.
    pub repo: Option<RepoId>,
    /// Files that were read, or should have been.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// The files lie beneath it.
    pub(crate) root: PathBuf,
    /// What is kept of ours.
    pub(crate) ours: PathBuf,
}

impl Verification {
    fn new(repo: Option<RepoId>, root: PathBuf, ours: PathBuf) -> Self {
        Self { repo, files: 0, bytes: 0, findings: Vec::new(), root, ours }
    }
}

/// Which model a folder of the user holds.
pub(crate) struct FolderOrigin<'a> {
    pub(crate) repo: &'a RepoId,
    pub(crate) commit: &'a Commit,
    pub(crate) entries: &'a [Entry],
    /// Whether these are all files of the commit.
    pub(crate) is_listed: bool,
}

#[derive(Deserialize, Serialize)]
struct Note {
    repo: String,
    commit: String,
    is_listed: bool,
}

fn note_folder(folder: &Path) -> PathBuf {
    folder.join(".cache").join("download")
}

/// Notes in a folder of the user which model it holds.
pub(crate) fn note_origin(folder: &Path, origin: &FolderOrigin<'_>) -> std::io::Result<()> {
    let ours = note_folder(folder);
    let FolderOrigin { repo, commit, is_listed, .. } = *origin;
    let note = Note { repo: repo.to_string(), commit: commit.to_string(), is_listed };
    let json = serde_json::to_vec(&note).expect("a note holds texts");
    let path = ours.join("model.json");
    if disk::read(&path, NOTE_BYTES_MAX).is_ok_and(|known| known == json) {
        return Ok(());
    }
    disk::replace(&ours.join("files.json"), &ours, &manifest::to_json(origin.entries))?;
    disk::replace(&path, &ours, &json)
}

/// The files of a commit, where a folder of the user notes them.
pub(crate) fn noted(folder: &Path, repo: &RepoId, commit: &Commit) -> Option<Vec<Entry>> {
    let (note, entries) = read_note(folder)?;
    let is_same = note.repo == repo.as_str() && note.commit == commit.as_str();
    (is_same && note.is_listed).then_some(entries)
}

fn read_note(folder: &Path) -> Option<(Note, Vec<Entry>)> {
    let ours = note_folder(folder);
    let read = |name: &str| disk::read(&ours.join(name), NOTE_BYTES_MAX).ok();
    let note = serde_json::from_slice(&read("model.json")?).ok()?;
    Some((note, manifest::from_json(&read("files.json")?)?))
}

/// Reads all files of what stands at a path, and compares them with what they should be: a cache, a
/// model in it, one of its snapshots or files, or a folder that a model was brought to.
///
/// Blocks as long as reading takes. What is right is recorded as such, so that it need not be hashed again.
///
/// # Errors
///
/// `NotFound` when nothing is known about the path.
pub fn verify(path: &Path) -> Result<Vec<Verification>, Error> {
    let full = disk::resolved(path).map_err(|error| unknown(path).because(error))?;
    let names = full.ancestors().filter_map(|above| Some((above, above.file_name()?.to_str()?)));
    let mut repos = names.filter_map(|(above, name)| Some((above, RepoId::of_folder(name)?)));
    let repo = repos.find(|(above, _)| disk::stat(&above.join("snapshots")).is_some());
    if let Some((folder, id)) = repo {
        let cache = Cache::new(folder.parent().unwrap_or(folder));
        // A link of a snapshot leads to its blob.
        let only = full.parent().is_some_and(|parent| parent.ends_with("blobs")).then_some(&*full);
        return Ok(vec![verify_repo(cache.repo(&id), id, only)]);
    }
    if disk::stat(&note_folder(&full).join("model.json")).is_some() {
        return verify_folder(&full).map(|found| vec![found]);
    }
    let cache = Cache::new(&full);
    let names = disk::names(&full);
    let ids: Vec<_> = names.iter().filter_map(|name| RepoId::of_folder(name.to_str()?)).collect();
    if ids.is_empty() {
        return Err(unknown(path));
    }
    Ok(ids.into_iter().map(|id| verify_repo(cache.repo(&id), id, None)).collect())
}

fn unknown(path: &Path) -> Error {
    let message = "no model is known there: give a model's name, its folder, or a cache";
    Error::new(ErrorKind::NotFound, message).of(&path.display().to_string())
}

/// The digest that the name of a blob is.
fn digest_of_name(name: &str) -> Option<Digest> {
    Digest::sha256(name).or_else(|_| Digest::git_sha1(name)).ok()
}

fn verify_repo(repo: RepoFolder, id: RepoId, only: Option<&Path>) -> Verification {
    let scanned = Scanned::of(repo);
    let records = Records::load(&scanned.repo.ours());
    let referenced =
        scanned.snapshots.iter().flat_map(|snapshot| snapshot.blobs().map(str::to_owned));
    let mut names: Vec<String> = scanned.blobs.keys().cloned().chain(referenced).collect();
    names.sort();
    names.dedup();
    let mut found = Verification::new(Some(id), scanned.repo.blobs(), scanned.repo.ours());
    for name in names {
        let (Some(digest), path) = (digest_of_name(&name), scanned.repo.blobs().join(&name)) else {
            continue;
        };
        if only.is_some_and(|only| only != path) {
            continue;
        }
        let source = || source(&scanned, &name);
        look(&mut found, &path, (digest, &name), source);
        if found.findings.last().is_none_or(|finding| finding.path != path)
            && disk::stat(&scanned.repo.ours()).is_some()
        {
            // A record that cannot be kept costs a hash.
            let _ = records.add(&name, &path);
        }
    }
    found
}

/// Where the hub has the bytes of a blob.
fn source(scanned: &Scanned, blob: &str) -> Option<(Commit, FilePath)> {
    scanned.snapshots.iter().find_map(|snapshot| {
        let (path, _) = snapshot.files.iter().find(|(_, of)| of.as_deref() == Some(blob))?;
        Some((snapshot.name.parse().ok()?, FilePath::parse(path).ok()?))
    })
}

fn verify_folder(folder: &Path) -> Result<Verification, Error> {
    let Some((note, entries)) = read_note(folder) else { return Err(unknown(folder)) };
    let commit = Commit::from_str(&note.commit).ok();
    let repo = note.repo.parse().ok();
    let ours = note_folder(folder);
    let records = Records::load(&ours);
    let mut found = Verification::new(repo, folder.to_owned(), ours);
    for entry in entries {
        let (Ok(path), Some(digest)) = (FilePath::parse(&entry.path), entry.digest) else {
            continue;
        };
        // Files that were not wanted are not missed.
        let record = format!("{digest} {path}");
        if !records.knows(&record) {
            continue;
        }
        let target = path.beneath(folder);
        look(&mut found, &target, (digest, &record), || Some((commit.clone()?, path.clone())));
    }
    Ok(found)
}

/// Reads one file, which has this digest, recorded by this name, if it is right.
fn look(
    found: &mut Verification,
    path: &Path,
    (digest, record): (Digest, &str),
    source: impl FnOnce() -> Option<(Commit, FilePath)>,
) {
    found.files += 1;
    let fault = match digest_of(&OsFiles::new(), path, Algorithm::of(Some(digest))) {
        Ok((bytes, is)) => {
            found.bytes += bytes;
            (is != digest).then_some(FindingFault::Digest { found: is })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(FindingFault::Missing),
        Err(_) => Some(FindingFault::Unreadable),
    };
    if let Some(fault) = fault {
        let (path, record, source) = (path.to_owned(), record.to_owned(), source());
        found.findings.push(Finding { path, digest, fault, source, record });
    }
}
