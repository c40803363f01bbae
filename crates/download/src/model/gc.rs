//! What need not be kept of a cache: decided by a pure part, then carried out under locks.

mod decide;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use memory::files::OsFiles;

use self::decide::{Blob, Decision, Partial, Repo, Revision, decide};
use super::blob_lock;
use super::inventory::{Scanned, Snapshot};
use super::layout::{Cache, RepoFolder};
use super::usage;
use crate::error::Error;
use crate::hub::RepoId;
use crate::seam::{self, disk};

/// What may be taken away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GcOptions {
    /// Whole revisions that nobody has read or written for so long.
    pub max_age: Option<Duration>,
    /// Whole revisions and remains of transfers, the longest unused first, until no more bytes than these are
    /// left.
    pub max_bytes: Option<u64>,
    /// Bytes that no revision refers to are kept for so long after they were written: somebody may be
    /// about to name them.
    pub grace: Duration,
    /// Remains of transfers, from which those could go on, are kept for so long, if a revision of their model
    /// stays.
    pub partial_age: Duration,
    /// Nothing is taken away, only told.
    pub dry_run: bool,
}

impl Default for GcOptions {
    /// No whole revisions; ten minutes of grace; remains are kept for a week.
    fn default() -> Self {
        Self {
            max_age: None,
            max_bytes: None,
            grace: Duration::from_secs(600),
            partial_age: Duration::from_secs(7 * 24 * 3600),
            dry_run: false,
        }
    }
}

/// Something that was taken away, or would be.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Removal {
    /// What stood there.
    pub path: PathBuf,
    /// Bytes that it names, which others may name as well; of a revision those of its blobs are told with these.
    pub bytes: u64,
}

/// What a collection did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Gc {
    /// What was taken away.
    pub removed: Vec<Removal>,
    /// Bytes that are free again: those of which no name is left.
    pub freed_bytes: u64,
    /// Models that were in use and left alone.
    pub in_use: Vec<RepoId>,
    /// Models that cannot be written to, and were left alone.
    pub denied: Vec<RepoId>,
}

/// Takes away what need not be kept: bytes that no revision of their model refers to, remains of
/// transfers, and, if that is asked for, revisions by age and size.
///
/// Never what is in use: a model that this or another process is bringing, or of which a library of the
/// hub writes a file, is left alone. What a revision that stays refers to stays. Bytes in a store of
/// others stay.
///
/// Blocks for some system calls per file.
///
/// # Errors
///
/// `Disk` when something cannot be removed; what was removed before is gone.
pub fn collect(cache: &Cache, options: &GcOptions) -> Result<Gc, Error> {
    let names = disk::names(cache.root());
    let ids: Vec<_> = names.iter().filter_map(|name| RepoId::of_folder(name.to_str()?)).collect();
    let scanned: Vec<_> = ids.iter().map(|id| Scanned::of(cache.repo(id))).collect();
    let (mut gc, mut names_left) = (Gc::default(), NamesLeft::default());
    let in_use: Vec<_> = scanned.iter().map(|scanned| is_in_use(&scanned.repo)).collect();
    let facts = |(scanned, in_use): (_, &Option<bool>)| facts(scanned, *in_use != Some(false));
    let repos: Vec<_> = scanned.iter().zip(&in_use).map(facts).collect();
    let decisions = decide(&repos, options, seam::date());
    for (k, id) in ids.into_iter().enumerate() {
        let (scanned, decision) = (&scanned[k], &decisions[k]);
        let Some(in_use) = in_use[k] else {
            gc.denied.push(id);
            continue;
        };
        let mut is_done = !in_use;
        if options.dry_run {
            plan(scanned, decision, &mut gc, &mut names_left);
        } else if !decision.is_nothing() {
            is_done = carry_out(scanned, decision, &mut gc, &mut names_left)?;
        }
        if !is_done {
            gc.in_use.push(id);
        }
    }
    Ok(gc)
}

/// Whether somebody uses a repository's folder now; `None` where the sign of that cannot be opened.
fn is_in_use(repo: &RepoFolder) -> Option<bool> {
    let ours = repo.ours();
    let is_free = disk::stat(&ours).is_none() || usage::try_alone(&ours).ok()?.is_some();
    Some(!is_free || blob_lock::any_held(repo))
}

/// What the decision needs to know.
fn facts(scanned: &Scanned, in_use: bool) -> Repo {
    let names: Vec<&String> = scanned.blobs.keys().collect();
    let number = |blob: &str| names.binary_search_by(|name| name.as_str().cmp(blob)).ok();
    let revision = |snapshot: &Snapshot| Revision {
        blobs: snapshot.blobs().filter_map(number).collect(),
        used: scanned.used(snapshot),
    };
    let blob = |(name, stat): (&String, &disk::Stat)| Blob {
        bytes: stat.bytes,
        inode: stat.inode,
        written: stat.written(),
        is_foreign: scanned.foreign.contains(name),
    };
    let partial = |stat: &disk::Stat| Partial { bytes: stat.bytes, written: stat.written() };
    Repo {
        in_use,
        revisions: scanned.snapshots.iter().map(revision).collect(),
        blobs: scanned.blobs.iter().map(blob).collect(),
        partials: scanned.partials.values().map(partial).collect(),
    }
}

/// How many names bytes have left, by their inode: models share them.
#[derive(Default)]
struct NamesLeft(HashMap<u64, u64>);

impl NamesLeft {
    /// Takes one name away; returns the bytes that are free by that.
    fn take(&mut self, stat: &disk::Stat) -> u64 {
        let left = self.0.entry(stat.inode).or_insert(stat.names);
        *left = left.saturating_sub(1);
        if *left == 0 { stat.bytes } else { 0 }
    }
}

/// Tells what would be taken away.
fn plan(scanned: &Scanned, decision: &Decision, gc: &mut Gc, names_left: &mut NamesLeft) {
    for &k in &decision.revisions {
        let path = scanned.repo.snapshots().join(&scanned.snapshots[k].name);
        gc.removed.push(Removal { path, bytes: 0 });
    }
    let blobs = chosen(&scanned.blobs, &decision.blobs);
    for (name, stat) in blobs.chain(chosen(&scanned.partials, &decision.partials)) {
        gc.freed_bytes += names_left.take(stat);
        gc.removed.push(Removal { path: scanned.repo.blobs().join(name), bytes: stat.bytes });
    }
}

/// Those of the files that have these numbers.
fn chosen<'a>(
    files: &'a BTreeMap<String, disk::Stat>,
    numbers: &'a BTreeSet<usize>,
) -> impl Iterator<Item = (&'a String, &'a disk::Stat)> {
    files.iter().enumerate().filter(|(k, _)| numbers.contains(k)).map(|(_, file)| file)
}

/// Takes away what was decided, unless the folder is in use by now or has changed; returns whether it did.
fn carry_out(
    scanned: &Scanned,
    decision: &Decision,
    gc: &mut Gc,
    names_left: &mut NamesLeft,
) -> Result<bool, Error> {
    let repo = &scanned.repo;
    let error = |error| super::bring::disk_error("cannot clean up the folder of a model")(error);
    let Some(_alone) = usage::try_alone(&repo.ours()).map_err(error)? else { return Ok(false) };
    if blob_lock::any_held(repo)
        || without_uses(Scanned::of(repo.clone())) != without_uses(scanned.clone())
    {
        return Ok(false);
    }
    plan(scanned, decision, gc, names_left);
    for &k in &decision.revisions {
        remove_revision(repo, &scanned.snapshots[k], &scanned.references).map_err(error)?;
    }
    let blobs = chosen(&scanned.blobs, &decision.blobs);
    for (name, _) in blobs.chain(chosen(&scanned.partials, &decision.partials)) {
        remove(&repo.blobs().join(name)).map_err(error)?;
    }
    // Parts whose process is dead; what cannot be removed does no harm.
    let _ = memory::remove_orphans(&OsFiles::new(), &repo.blobs());
    let counts = [scanned.snapshots.len(), scanned.blobs.len(), scanned.partials.len()];
    if [decision.revisions.len(), decision.blobs.len(), decision.partials.len()] == counts {
        remove_all(&repo.folder()).map_err(error)?;
        remove_all(&repo.locks()).map_err(error)?;
    }
    Ok(true)
}

/// When a file was last read is no change of it, nor is where the disk has it, nor another name that was taken
/// away with another model.
fn without_uses(mut scanned: Scanned) -> Scanned {
    let never = std::time::SystemTime::UNIX_EPOCH;
    scanned
        .blobs
        .values_mut()
        .chain(scanned.partials.values_mut())
        .for_each(|stat| (stat.used, stat.names, stat.held_bytes) = (never, 1, 0));
    scanned.snapshots.iter_mut().for_each(|snapshot| snapshot.written = never);
    scanned
}

/// The revision's names first, then it: no name ever leads to nothing.
fn remove_revision(
    repo: &RepoFolder,
    snapshot: &Snapshot,
    references: &[(String, String)],
) -> std::io::Result<()> {
    for (name, _) in references.iter().filter(|(_, commit)| *commit == snapshot.name) {
        remove(&repo.refs().join(name))?;
    }
    let gone = repo.ours().join(format!("gone.{}", snapshot.name));
    // One step, so that nobody sees half of it.
    remove_all(&gone)?;
    disk::rename(&repo.snapshots().join(&snapshot.name), &gone)?;
    remove_all(&gone)?;
    for listing in [repo.folder().join("trees"), repo.ours()] {
        remove(&listing.join(format!("{}.json", snapshot.name)))?;
    }
    remove_all(&repo.folder().join(".no_exist").join(&snapshot.name))
}

fn remove(path: &Path) -> std::io::Result<()> {
    ignore_absence(disk::remove(path))
}

fn remove_all(path: &Path) -> std::io::Result<()> {
    ignore_absence(disk::remove_all(path))
}

fn ignore_absence(done: std::io::Result<()>) -> std::io::Result<()> {
    match done {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
