//! What is on the simulated disk, what is only in its cache, and what becomes of either.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::{Faults, Open};

/// Bytes that a disk writes wholly or not at all.
const SECTOR_BYTES: usize = 512;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct FileId(pub(super) u64);

pub(super) struct State {
    pub(super) faults: Faults,
    pub(super) syncs: u64,
    chance: Chance,
    files: BTreeMap<FileId, Content>,
    names: BTreeMap<PathBuf, FileId>,
    durable_names: BTreeMap<PathBuf, FileId>,
    /// Changes of names since the last sync of their folder, in order.
    renamings: Vec<Renaming>,
    next_file: u64,
}

/// A change of one folder: the names it takes away and gives.
#[derive(Clone)]
struct Renaming {
    folder: PathBuf,
    removed: Option<PathBuf>,
    added: Option<(PathBuf, FileId)>,
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// The handle that holds the lock.
    locked_by: Option<usize>,
}

enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Len(usize),
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            faults: Faults::default(),
            syncs: 0,
            chance: Chance(seed),
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            renamings: Vec::new(),
            next_file: 0,
        }
    }

    pub(super) fn writable(&self) -> io::Result<()> {
        if self.faults.read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    pub(super) fn open(&mut self, path: &Path, how: Open) -> io::Result<FileId> {
        if how != Open::Read {
            self.writable()?;
        }
        match (self.names.get(path), how) {
            (Some(_), Open::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(&file), _) => Ok(file),
            (None, Open::Read | Open::Write) => Err(io::ErrorKind::NotFound.into()),
            (None, Open::Create | Open::CreateNew) => {
                let file = self.new_file();
                self.rename_step(path, None, Some((path.to_owned(), file)));
                Ok(file)
            }
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.writable()?;
        let file = *self.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        self.rename_step(to, Some(from.to_owned()), Some((to.to_owned(), file)));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.writable()?;
        self.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        self.rename_step(path, Some(path.to_owned()), None);
        Ok(())
    }

    pub(super) fn sync_folder(&mut self, folder: &Path) {
        let (now, later): (Vec<_>, Vec<_>) =
            self.renamings.drain(..).partition(|step| step.folder == folder);
        self.renamings = later;
        now.iter().for_each(|step| step.apply(&mut self.durable_names));
    }

    pub(super) fn read_at(&mut self, file: FileId, into: &mut [u8], at: u64) -> io::Result<usize> {
        let wanted = self.trouble(into.len())?;
        let bytes = self.bytes(file);
        let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let len = wanted.min(rest.len());
        into[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    pub(super) fn write_at(&mut self, file: FileId, bytes: &[u8], at: u64) -> io::Result<usize> {
        self.writable()?;
        let wanted = self.trouble(bytes.len())?;
        let at = usize::try_from(at).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let room = usize::try_from(self.free_bytes()).unwrap_or(usize::MAX);
        let end_max = self.bytes(file).len().saturating_add(room);
        let len = wanted.min(end_max.saturating_sub(at));
        if len == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.change(file, Change::Write { offset: at, bytes: bytes[..len].to_vec() });
        Ok(len)
    }

    pub(super) fn set_len(&mut self, file: FileId, len_bytes: u64) -> io::Result<()> {
        self.writable()?;
        let len = usize::try_from(len_bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.change(file, Change::Len(len));
        Ok(())
    }

    pub(super) fn sync(&mut self, file: FileId) -> io::Result<()> {
        let number = self.syncs;
        self.syncs += 1;
        if self.faults.failing_sync == Some(number) {
            // As Linux does: the pages count as clean from now on, and are lost.
            self.content_mut(file).unsynced.clear();
            return Err(io::Error::other("the disk failed"));
        }
        let content = self.content_mut(file);
        for change in content.unsynced.drain(..) {
            change.apply(&mut content.durable, |_| true);
        }
        Ok(())
    }

    pub(super) fn try_lock(&mut self, file: FileId, handle: usize) -> bool {
        let locked_by = &mut self.content_mut(file).locked_by;
        *locked_by.get_or_insert(handle) == handle
    }

    pub(super) fn unlock(&mut self, file: FileId, handle: usize) {
        self.content_mut(file).locked_by.take_if(|owner| *owner == handle);
    }

    pub(super) fn free_bytes(&self) -> u64 {
        let used: usize = self.files.values().map(|content| content.bytes.len()).sum();
        self.faults.capacity_bytes.map_or(u64::MAX, |bytes| bytes.saturating_sub(used as u64))
    }

    pub(super) fn bytes(&self, file: FileId) -> &[u8] {
        self.files.get(&file).map_or(&[], |content| &content.bytes)
    }

    pub(super) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        self.names.get(path).map(|&file| self.bytes(file).to_vec())
    }

    pub(super) fn put(&mut self, path: &Path, bytes: &[u8]) {
        let file = self.new_file();
        let content = self.content_mut(file);
        (content.bytes, content.durable) = (bytes.to_vec(), bytes.to_vec());
        self.names.insert(path.to_owned(), file);
        self.durable_names.insert(path.to_owned(), file);
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.names.keys().cloned().collect()
    }

    pub(super) fn lose_power(&self, seed: u64) -> Self {
        let mut after = Self::new(seed);
        after.next_file = self.next_file;
        after.durable_names = self.names_after(&mut after.chance);
        after.names = after.durable_names.clone();
        for (&file, content) in &self.files {
            let bytes = content.after_loss(&mut after.chance);
            let durable = bytes.clone();
            after.files.insert(file, Content { bytes, durable, ..Content::default() });
        }
        after
    }

    /// Of the unsynced changes in each folder, a beginning is there: journals keep their order.
    fn names_after(&self, chance: &mut Chance) -> BTreeMap<PathBuf, FileId> {
        let mut names = self.durable_names.clone();
        let mut kept = BTreeMap::new();
        for step in &self.renamings {
            let keeps = kept.entry(&step.folder).or_insert_with(|| !chance.one_in(3));
            if *keeps {
                step.apply(&mut names);
                *keeps = !chance.one_in(3);
            }
        }
        names
    }

    fn new_file(&mut self) -> FileId {
        let file = FileId(self.next_file);
        self.next_file += 1;
        self.files.insert(file, Content::default());
        file
    }

    fn rename_step(
        &mut self,
        place: &Path,
        removed: Option<PathBuf>,
        added: Option<(PathBuf, FileId)>,
    ) {
        let folder = place.parent().unwrap_or(Path::new("")).to_owned();
        let step = Renaming { folder, removed, added };
        step.apply(&mut self.names);
        self.renamings.push(step);
    }

    fn change(&mut self, file: FileId, change: Change) {
        let content = self.content_mut(file);
        change.apply(&mut content.bytes, |_| true);
        content.unsynced.push(change);
    }

    fn content_mut(&mut self, file: FileId) -> &mut Content {
        self.files.entry(file).or_default()
    }

    /// Lets a transfer be interrupted or cut short; returns how many bytes may move.
    fn trouble(&mut self, len: usize) -> io::Result<usize> {
        if self.chance.one_in(self.faults.interrupt_one_in) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if 1 < len && self.chance.one_in(self.faults.shorten_one_in) {
            let cut = self.chance.below(len as u64 - 1);
            return Ok(1 + usize::try_from(cut).expect("less than a length"));
        }
        Ok(len)
    }
}

impl Renaming {
    fn apply(&self, names: &mut BTreeMap<PathBuf, FileId>) {
        if let Some(path) = &self.removed {
            names.remove(path);
        }
        if let Some((path, file)) = &self.added {
            names.insert(path.clone(), *file);
        }
    }
}

impl Content {
    fn after_loss(&self, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for change in &self.unsynced {
            change.apply(&mut bytes, |_| !chance.one_in(2));
        }
        bytes
    }
}

impl Change {
    /// Applies those sectors for which `keeps` says so. A length is one of them.
    fn apply(&self, to: &mut Vec<u8>, mut keeps: impl FnMut(usize) -> bool) {
        match self {
            Self::Len(len) => {
                if keeps(0) {
                    to.resize(*len, 0);
                }
            }
            Self::Write { offset, bytes } => {
                let mut at = *offset;
                let end = offset + bytes.len();
                while at < end {
                    let sector_end = end.min((at / SECTOR_BYTES + 1) * SECTOR_BYTES);
                    if keeps(at) {
                        to.resize(to.len().max(sector_end), 0);
                        to[at..sector_end]
                            .copy_from_slice(&bytes[at - offset..sector_end - offset]);
                    }
                    at = sector_end;
                }
            }
        }
    }
}

/// `SplitMix64` (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators",
/// OOPSLA 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        n != 0 && self.below(n) == 0
    }
}
