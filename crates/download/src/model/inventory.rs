//! What lies in a cache. Blocks for some system calls per file.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::layout::{Cache, RepoFolder};
use crate::hub::{Commit, RepoId};
use crate::seam::disk::{self, Stat};

/// Less than this is what file systems round up to.
const ROOM_BYTES_MIN: u64 = 1 << 20;
/// Folders in folders are looked into up to this depth; names of files allow no more.
const DEPTH_MAX: usize = 1024;
/// A revision's file holds a commit.
const REFERENCE_BYTES_MAX: u64 = 256;

/// A model in a cache.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CachedModel {
    /// Which.
    pub repo: RepoId,
    /// Its folder.
    pub folder: PathBuf,
    /// Its snapshots, in the order of their commits.
    pub revisions: Vec<CachedRevision>,
    /// Bytes of its blobs, each counted once.
    pub bytes: u64,
    /// Bytes of these that a model before it in the list has, too.
    pub shared_bytes: u64,
}

/// A snapshot of a model.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CachedRevision {
    /// Which.
    pub commit: Commit,
    /// The branches and tags that stood for it when they were last looked up.
    pub references: Vec<String>,
    /// The folder in which its files have their names.
    pub path: PathBuf,
    /// Its files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files whose bytes are missing.
    pub missing: usize,
    /// When one of them was last read or written.
    pub used: SystemTime,
}

/// Lists the models of a cache, in the order of their names. Folders that are of no model are passed over.
#[must_use]
pub fn list(cache: &Cache) -> Vec<CachedModel> {
    let names = disk::names(cache.root());
    let ids = names.iter().filter_map(|name| RepoId::of_folder(name.to_str()?));
    let mut seen = HashSet::new();
    ids.map(|repo| model(cache, repo, &mut seen)).collect()
}

/// `seen` are the inodes of the models before it.
fn model(cache: &Cache, repo: RepoId, seen: &mut HashSet<u64>) -> CachedModel {
    let scanned = Scanned::of(cache.repo(&repo));
    let shared = scanned.blobs.values().filter(|stat| !seen.insert(stat.inode));
    let shared_bytes = shared.map(|stat| stat.bytes).sum();
    let bytes = scanned.blobs.values().map(|stat| stat.bytes).sum();
    let revision = |snapshot: &Snapshot| {
        let commit: Commit = snapshot.name.parse().ok()?;
        let stats: BTreeMap<_, _> =
            snapshot.blobs().filter_map(|blob| Some((blob, scanned.blobs.get(blob)?))).collect();
        let of = |(reference, stood_for): &(String, String)| {
            (*stood_for == snapshot.name).then(|| reference.clone())
        };
        Some(CachedRevision {
            references: scanned.references.iter().filter_map(of).collect(),
            path: scanned.repo.snapshot(&commit),
            files: snapshot.files.len(),
            bytes: stats.values().map(|stat| stat.bytes).sum(),
            missing: snapshot.blobs().filter(|blob| !scanned.blobs.contains_key(*blob)).count(),
            used: scanned.used(snapshot),
            commit,
        })
    };
    let revisions = scanned.snapshots.iter().filter_map(revision).collect();
    CachedModel { folder: scanned.repo.folder(), repo, revisions, bytes, shared_bytes }
}

/// All that a repository has in a cache.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Scanned {
    pub(crate) repo: RepoFolder,
    pub(crate) snapshots: Vec<Snapshot>,
    /// By name; what they lead to, where they are links.
    pub(crate) blobs: BTreeMap<String, Stat>,
    /// Blobs that are links into a store that others keep.
    pub(crate) foreign: BTreeSet<String>,
    /// Remains of transfers among the blobs.
    pub(crate) partials: BTreeMap<String, Stat>,
    /// Revisions and the commits that they stood for.
    pub(crate) references: Vec<(String, String)>,
}

/// The names that a commit's files have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Snapshot {
    /// The commit, if the name of the folder is one.
    pub(crate) name: String,
    /// Names, with the blobs that they lead to; `None` for files that are no links.
    pub(crate) files: Vec<(String, Option<String>)>,
    /// When its folder was last written to.
    pub(crate) written: SystemTime,
}

impl Snapshot {
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter_map(|(_, blob)| blob.as_deref())
    }
}

impl Scanned {
    pub(crate) fn of(repo: RepoFolder) -> Self {
        let (mut blobs, mut partials) = (BTreeMap::new(), BTreeMap::new());
        let mut foreign = BTreeSet::new();
        let folder = repo.blobs();
        for name in disk::names(&folder).into_iter().filter_map(|name| name.into_string().ok()) {
            let path = folder.join(&name);
            let Some(own) = disk::link_stat(&path).filter(|stat| !stat.is_folder) else { continue };
            if own.is_link {
                foreign.insert(name.clone());
            }
            match disk::stat(&path) {
                Some(stat) if is_partial(&name) => partials.insert(name, with_room(stat)),
                Some(stat) => blobs.insert(name, stat),
                None => continue,
            };
        }
        let snapshots = disk::names(&repo.snapshots()).into_iter();
        let snapshots =
            snapshots.filter_map(|name| snapshot(&repo, name.into_string().ok()?)).collect();
        let references = references(&repo);
        Self { repo, snapshots, blobs, foreign, partials, references }
    }

    /// When a snapshot was last used.
    pub(crate) fn used(&self, snapshot: &Snapshot) -> SystemTime {
        let blobs = snapshot.blobs().filter_map(|blob| self.blobs.get(blob));
        blobs.map(|stat| stat.used).fold(snapshot.written, SystemTime::max)
    }
}

/// The room of all that is to come is set aside, and counts.
fn with_room(stat: Stat) -> Stat {
    let has_room = stat.bytes + ROOM_BYTES_MIN <= stat.held_bytes;
    Stat { bytes: if has_room { stat.held_bytes } else { stat.bytes }, ..stat }
}

/// Remains of a transfer of ours, or of the hub's own client.
fn is_partial(name: &str) -> bool {
    name.starts_with('.') || name.ends_with(".incomplete")
}

fn snapshot(repo: &RepoFolder, name: String) -> Option<Snapshot> {
    let folder = repo.snapshots().join(&name);
    let stat = disk::stat(&folder).filter(|stat| stat.is_folder)?;
    let files = files_beneath(&folder).into_iter().map(|path| {
        let link = disk::link_text(&folder.join(&path));
        let blob = link.as_deref().and_then(blob_of).map(str::to_owned);
        (path, blob)
    });
    Some(Snapshot { files: files.collect(), written: stat.written(), name })
}

/// The blob that the link of a snapshot names.
fn blob_of(link: &Path) -> Option<&str> {
    let is_blob = link.parent()?.file_name()? == "blobs";
    link.file_name()?.to_str().filter(|_| is_blob)
}

fn references(repo: &RepoFolder) -> Vec<(String, String)> {
    let folder = repo.refs();
    let read = |name: String| {
        let text = disk::read(&folder.join(&name), REFERENCE_BYTES_MAX).ok()?;
        Some((name, String::from_utf8(text).ok()?))
    };
    files_beneath(&folder).into_iter().filter_map(read).collect()
}

/// The names of all files beneath a folder, with `/` between folders. Links are files.
pub(crate) fn files_beneath(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![(String::new(), 0)];
    while let Some((prefix, depth)) = folders.pop() {
        for name in disk::names(&folder.join(&prefix)) {
            let Ok(name) = name.into_string() else { continue };
            let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            let is_folder = disk::link_stat(&folder.join(&path)).is_some_and(|stat| stat.is_folder);
            if is_folder && depth < DEPTH_MAX {
                folders.push((path, depth + 1));
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
