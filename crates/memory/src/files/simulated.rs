//! A disk in memory that behaves as badly as disks may.
//!
//! It loses what was not synced, writes less than asked, is interrupted, runs full, and fails to sync; all
//! from one seed, so that each failure can be seen again.

mod state;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::state::{FileId, State};
use super::{FileSystem, Handle, Open};
use crate::sync::Mutex;

/// What goes wrong on a [`SimulatedDisk`], and how often. Nothing by default.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Faults {
    /// How many bytes all files together may have.
    pub capacity_bytes: Option<u64>,
    /// Of this many reads and writes, about one is interrupted; 0 for none.
    pub interrupt_one_in: u64,
    /// Of this many reads and writes, about one moves fewer bytes than asked; 0 for none.
    pub shorten_one_in: u64,
    /// The sync of a file with this number fails, counted from 0; its bytes stay unsynced.
    pub failing_sync: Option<u64>,
    /// Whether everything that writes is refused.
    pub read_only: bool,
}

/// A file system in memory; clones share it.
///
/// # Examples
///
/// A file whose name was not synced is gone after a loss of power, or it is whole:
///
/// ```
/// use std::path::Path;
/// use std::sync::Arc;
///
/// use memory::files::simulated::SimulatedDisk;
/// use memory::files::{FileSystem, Open};
/// use memory::{FileWriter, WriteOptions};
///
/// let disk = SimulatedDisk::new(7);
/// let files: Arc<dyn FileSystem> = Arc::new(disk.clone());
/// let writer = FileWriter::create(&files, Path::new("/model"), WriteOptions::default())?;
/// writer.write_at(b"weights", 0)?;
/// writer.publish()?;
///
/// let after = disk.lose_power(1);
/// assert_eq!(Some(b"weights".to_vec()), after.read(Path::new("/model")));
/// # Ok::<(), memory::files::FileError>(())
/// ```
#[derive(Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

impl SimulatedDisk {
    /// Returns an empty disk; every choice it makes follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::of(State::new(seed))
    }

    fn of(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// Returns the disk as it could be found after a loss of power now: what was synced, and of the rest
    /// what `seed` chooses. Each sector of 512 B of each unsynced write is there or is not, and of the
    /// changes of names in each folder a beginning.
    #[must_use]
    pub fn lose_power(&self, seed: u64) -> Self {
        Self::of(self.state.lock().lose_power(seed))
    }

    /// Returns the content of a file; `None` if there is none of that name.
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        self.state.lock().content(path)
    }

    /// Puts a file there, durably.
    pub fn write(&self, path: &Path, bytes: &[u8]) {
        self.state.lock().put(path, bytes);
    }

    /// Returns the names of all files, in order.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state.lock().paths()
    }

    /// Returns how many syncs of files were asked for.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }
}

impl FileSystem for SimulatedDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn Handle>> {
        let file = self.state.lock().open(path, how)?;
        Ok(Arc::new(SimulatedHandle { state: Arc::clone(&self.state), file }))
    }

    fn create_folders(&self, _folder: &Path) -> io::Result<()> {
        self.state.lock().writable()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state.lock().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state.lock().remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.state.lock().sync_folder(folder);
        Ok(())
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let paths = self.paths();
        let inside = paths.iter().filter(|path| path.parent() == Some(folder));
        Ok(inside.filter_map(|path| path.file_name()).map(ToOwned::to_owned).collect())
    }

    fn free_bytes(&self, _folder: &Path) -> io::Result<u64> {
        Ok(self.state.lock().free_bytes())
    }
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedDisk").field("paths", &self.paths()).finish_non_exhaustive()
    }
}

struct SimulatedHandle {
    state: Arc<Mutex<State>>,
    file: FileId,
}

impl Handle for SimulatedHandle {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.state.lock().bytes(self.file).len() as u64)
    }

    fn id(&self) -> io::Result<(u64, u64)> {
        Ok((0, self.file.0))
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.state.lock().read_at(self.file, into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.state.lock().write_at(self.file, bytes, offset)
    }

    fn allocate(&self, len_bytes: u64) -> io::Result<()> {
        let state = self.state.lock();
        let more = len_bytes.saturating_sub(state.bytes(self.file).len() as u64);
        if more <= state.free_bytes() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.state.lock().set_len(self.file, len_bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.state.lock().sync(self.file)
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(self.state.lock().try_lock(self.file, std::ptr::from_ref(self).addr()))
    }
}

impl Drop for SimulatedHandle {
    fn drop(&mut self) {
        self.state.lock().unlock(self.file, std::ptr::from_ref(self).addr());
    }
}

impl fmt::Debug for SimulatedHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimulatedHandle").field(&self.file.0).finish()
    }
}
