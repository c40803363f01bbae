//! Files that appear whole and durable, or not at all.

mod cache;
mod extents;
mod part;
mod publish;

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::cache::{Batches, Behind, Way};
use self::extents::Extents;
use crate::files::{FileError, FileSystem, Handle, Open, Reason, Step, read_full, write_full};
use crate::sync::Mutex;

pub use self::cache::CachePolicy;
pub(crate) use self::part::folder_of;
pub use self::part::remove_orphans;
pub use self::publish::{BatchError, publish_all};

/// From this length on room is set aside before the first byte: below, the file system's delayed
/// allocation does as well, and a call costs more than it saves.
pub const ALLOCATE_FROM_BYTES: u64 = 1 << 20;

/// How a file is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct WriteOptions {
    /// The length, if it is known: room is set aside, a longer file is refused, a shorter one not
    /// published.
    pub len_bytes: Option<u64>,
    /// What becomes of the written pages.
    pub cache: CachePolicy,
}

/// A file in the making, beside its target.
///
/// Bytes go to a file of another name in the target's folder, in any order and from any number of
/// threads. [`publish`](Self::publish) makes them durable, gives the file its name in one step, and makes
/// the name durable. Until then nothing is seen of it under that name, and what was there stays.
///
/// Dropped before that, a [created](Self::create) part is removed; a [resumed](Self::resume) one stays for
/// the next attempt, unless it could not be made durable. What a killed process leaves behind is taken
/// away by [`remove_orphans`].
///
/// All calls block; in a runtime they belong on a thread for that.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use memory::files::{FileSystem, OsFiles};
/// use memory::{FileWriter, WriteOptions};
///
/// let folder = tempfile::tempdir()?;
/// let target = folder.path().join("config.json");
/// let files: Arc<dyn FileSystem> = Arc::new(OsFiles::new());
///
/// let writer = FileWriter::create(&files, &target, WriteOptions::default())?;
/// writer.write_at(b"world", 6)?;
/// assert!(!target.exists());
/// writer.write_at(b"hello ", 0)?;
/// writer.publish()?;
/// assert_eq!("hello world", std::fs::read_to_string(&target)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FileWriter {
    files: Arc<dyn FileSystem>,
    handle: Arc<dyn Handle>,
    part: PathBuf,
    target: PathBuf,
    options: WriteOptions,
    state: Mutex<State>,
    /// What a drop does with the part.
    leftover: Leftover,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Leftover {
    Remove,
    Keep,
    /// It has its name already.
    Published,
}

struct State {
    written: Extents,
    written_bytes: u64,
    behind: Behind,
    way: Way,
    unsynced: bool,
}

impl FileWriter {
    /// Begins a new file beside `target`, under a name that no other process chooses.
    ///
    /// # Errors
    ///
    /// [`FileError`]: the target has no name, the folder is missing, may not be written, or has no room
    /// for the length. Nothing is left behind.
    pub fn create(
        files: &Arc<dyn FileSystem>,
        target: &Path,
        options: WriteOptions,
    ) -> Result<Self, FileError> {
        let (part, handle) = part::create(&**files, target)?;
        Self::new(files, handle, (part, target.to_owned()), options, Leftover::Remove)
    }

    /// Goes on with the part file `part`, which is created if it does not exist, and of which the ranges
    /// `there` are known to be right.
    ///
    /// The caller sees to it that nobody else has this part.
    ///
    /// # Errors
    ///
    /// [`FileError`]: the folder is missing, may not be written, or has no room for the length; or what
    /// should be there is longer than that ([`Reason::TooLong`]) or than the part ([`Reason::Shrunk`]).
    pub fn resume(
        files: &Arc<dyn FileSystem>,
        part: &Path,
        target: &Path,
        there: &[Range<u64>],
        options: WriteOptions,
    ) -> Result<Self, FileError> {
        let handle = files.open(part, Open::Create).map_err(FileError::io(Step::Open, part))?;
        let paths = (part.to_owned(), target.to_owned());
        let writer = Self::new(files, handle, paths, options, Leftover::Keep)?;
        for range in there {
            writer.state.lock().written.insert(range.clone());
        }
        let expected_bytes = writer.state.lock().written.end();
        writer.check_end(Step::Open, expected_bytes)?;
        if writer.handle.len_bytes().map_err(writer.error(Step::Open))? < expected_bytes {
            return Err(FileError::new(Step::Open, part, Reason::Shrunk { expected_bytes }));
        }
        Ok(writer)
    }

    fn new(
        files: &Arc<dyn FileSystem>,
        handle: Arc<dyn Handle>,
        (part, target): (PathBuf, PathBuf),
        options: WriteOptions,
        leftover: Leftover,
    ) -> Result<Self, FileError> {
        let state = State {
            written: Extents::default(),
            written_bytes: 0,
            behind: Behind::default(),
            way: Way::Uncached,
            unsynced: false,
        };
        let state = Mutex::new(state);
        let files = Arc::clone(files);
        // From here on a drop cleans up.
        let writer = Self { files, handle, part, target, options, state, leftover };
        if let Some(len_bytes) = options.len_bytes.filter(|&len| ALLOCATE_FROM_BYTES <= len) {
            writer.handle.allocate(len_bytes).map_err(writer.error(Step::Allocate))?;
        }
        Ok(writer)
    }

    /// Writes all of `bytes` at `offset`. Several threads may write at once; where they write the same
    /// bytes, either may win.
    ///
    /// # Errors
    ///
    /// [`FileError`] with the offset of the first byte that was not written. The writer can go on: after a
    /// full disk the same call may succeed.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), FileError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = offset.saturating_add(bytes.len() as u64);
        self.check_end(Step::Write, end).map_err(|error| error.at(offset))?;
        self.write_cached_or_not(bytes, offset)
            .map_err(|(error, at)| self.error(Step::Write)(error).at(at))?;
        self.after_write(offset..end);
        Ok(())
    }

    /// Reads back what was written; returns how many bytes, fewer only at the end of the part.
    ///
    /// # Errors
    ///
    /// [`FileError`] of the system.
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize, FileError> {
        read_full(&*self.handle, into, offset)
            .map_err(|error| self.error(Step::Read)(error).at(offset))
    }

    /// Makes durable what is written so far, for a journal that then says so.
    ///
    /// # Errors
    ///
    /// [`FileError`]; after one, nobody knows what is on the disk, so the writer refuses to publish, and
    /// its part is removed on drop.
    pub fn sync(&self) -> Result<(), FileError> {
        if self.state.lock().unsynced {
            return Err(FileError::new(Step::Sync, &self.part, Reason::Unsynced));
        }
        self.handle.sync().map_err(|error| {
            self.state.lock().unsynced = true;
            self.error(Step::Sync)(error)
        })
    }

    /// Makes the file durable, gives it its name, makes the name durable.
    ///
    /// # Errors
    ///
    /// [`FileError`]: bytes are missing, or the system refused. Only after [`Step::SyncFolder`] is the
    /// file under its name: whole and durable, while the name may not survive a loss of power.
    pub fn publish(mut self) -> Result<(), FileError> {
        self.finish()?;
        self.rename()?;
        self.sync_folder()
    }

    /// Returns the path that the file will have.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The open part, for those who go on with it under its name.
    pub(crate) fn handle(&self) -> Arc<dyn Handle> {
        Arc::clone(&self.handle)
    }

    /// Returns the path that it has in the making.
    pub fn part(&self) -> &Path {
        &self.part
    }

    /// The first step of publishing: everything is there, and durable.
    fn finish(&self) -> Result<(), FileError> {
        let (missing_from, end) = {
            let written = &self.state.lock().written;
            (written.missing_from(), written.end())
        };
        if missing_from < self.options.len_bytes.unwrap_or(end) {
            let reason = Reason::Incomplete { missing_from };
            return Err(FileError::new(Step::Publish, &self.part, reason));
        }
        // A resumed part may be longer than what it became.
        if end < self.handle.len_bytes().map_err(self.error(Step::Publish))? {
            self.handle.set_len(end).map_err(self.error(Step::Publish))?;
        }
        self.sync()?;
        if self.drops(end) {
            self.handle.drop_cached(0..end);
        }
        Ok(())
    }

    fn rename(&mut self) -> Result<(), FileError> {
        self.files
            .rename(&self.part, &self.target)
            .map_err(FileError::io(Step::Publish, &self.target))?;
        self.leftover = Leftover::Published;
        Ok(())
    }

    fn folder(&self) -> &Path {
        folder_of(&self.target)
    }

    fn sync_folder(&self) -> Result<(), FileError> {
        self.files.sync_folder(self.folder()).map_err(FileError::io(Step::SyncFolder, &self.target))
    }

    fn drops(&self, written_bytes: u64) -> bool {
        self.options.cache.drops(self.options.len_bytes, written_bytes)
    }

    fn write_cached_or_not(&self, bytes: &[u8], offset: u64) -> Result<(), (io::Error, u64)> {
        let State { way, written_bytes, .. } = *self.state.lock();
        if way == Way::Uncached && self.drops(written_bytes) {
            let write = |bytes: &[u8], offset| self.handle.write_uncached_at(bytes, offset);
            match write_full(bytes, offset, write) {
                Err((error, _)) if error.kind() == io::ErrorKind::Unsupported => {
                    self.state.lock().way = Way::Ranges;
                }
                done => return done,
            }
        }
        write_full(bytes, offset, |bytes, offset| self.handle.write_at(bytes, offset))
    }

    fn after_write(&self, range: Range<u64>) {
        let mut state = self.state.lock();
        state.written.insert(range.clone());
        state.written_bytes += range.end - range.start;
        let by_ranges = state.way == Way::Ranges && self.drops(state.written_bytes);
        let batches = if by_ranges { state.behind.wrote(range) } else { Batches::default() };
        drop(state);
        if self.clean_up_behind(batches).is_err() {
            // The cache is a matter of politeness. The data is not: an error of the disk comes back from
            // the sync that publishing needs.
            self.state.lock().way = Way::None;
        }
    }

    fn clean_up_behind(&self, batches: Batches) -> io::Result<()> {
        for range in batches.start {
            self.handle.start_writeback(range)?;
        }
        batches.finish.into_iter().try_for_each(|range| self.handle.finish_writeback(range))
    }

    /// Refuses what would end beyond the length announced.
    fn check_end(&self, step: Step, end: u64) -> Result<(), FileError> {
        match self.options.len_bytes.filter(|&len| len < end) {
            None => Ok(()),
            Some(expected_bytes) => {
                Err(FileError::new(step, &self.part, Reason::TooLong { expected_bytes }))
            }
        }
    }

    fn error(&self, step: Step) -> impl FnOnce(io::Error) -> FileError {
        FileError::io(step, &self.part)
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        let untrusted = self.leftover == Leftover::Keep && self.state.lock().unsynced;
        if self.leftover == Leftover::Remove || untrusted {
            // What cannot be removed now is an orphan later.
            let _ = self.files.remove(&self.part);
        }
    }
}

impl fmt::Debug for FileWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWriter")
            .field("part", &self.part)
            .field("target", &self.target)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
