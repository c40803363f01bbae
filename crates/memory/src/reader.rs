//! Files that are read piece by piece.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::buffers::Buffer;
use crate::files::{FileError, FileSystem, Handle, Open, Reason, Step, read_full};

/// How a file is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReadOptions {
    /// How far ahead of [`FileReader::next`] the kernel is asked to read: 4 MiB by default, which keeps a
    /// disk of 2 GB/s busy for 2 ms. 0 leaves it to the kernel.
    pub read_ahead_bytes: u64,
    /// Whether pages behind [`FileReader::next`] are dropped from the page cache: for a file that nobody
    /// reads again soon.
    pub drop_behind: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { read_ahead_bytes: 4 << 20, drop_behind: false }
    }
}

/// A file as long as it was when it was opened.
///
/// It reads by system calls: a file that somebody cuts meanwhile gives an error, never a signal as a
/// mapping does. A warm [`Mapping`](crate::Mapping) is faster: 7.4 GB/s against 5.5, summing 512 MiB
/// (example `read`, 2-core AMD EPYC virtual machine, 2026-11-22).
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use memory::files::{FileSystem, OsFiles};
/// use memory::{Budget, BufferPool, FileReader, ReadOptions};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("weights");
/// std::fs::write(&path, vec![7; 10_000])?;
///
/// let files: Arc<dyn FileSystem> = Arc::new(OsFiles::new());
/// let pool = BufferPool::new(&Budget::new(8192), 4096, 2);
/// let mut reader = FileReader::open(&files, &path, ReadOptions::default())?;
/// let mut pieces = Vec::new();
/// while let Some(bytes) = reader.next(pool.get_blocking()?)? {
///     pieces.push(bytes.len());
/// }
/// assert_eq!(vec![4096, 4096, 1808], pieces);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FileReader {
    handle: Arc<dyn Handle>,
    path: PathBuf,
    options: ReadOptions,
    len_bytes: u64,
    position: u64,
    asked_until: u64,
}

impl FileReader {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// [`FileError`] of the system.
    pub fn open(
        files: &Arc<dyn FileSystem>,
        path: &Path,
        options: ReadOptions,
    ) -> Result<Self, FileError> {
        let handle = files.open(path, Open::Read).map_err(FileError::io(Step::Open, path))?;
        let len_bytes = handle.len_bytes().map_err(FileError::io(Step::Open, path))?;
        let path = path.to_owned();
        Ok(Self { handle, path, options, len_bytes, position: 0, asked_until: 0 })
    }

    /// Returns the length that the file had when it was opened.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Fills `into` from `offset` on, but not beyond the length at opening; returns how many bytes.
    ///
    /// # Errors
    ///
    /// [`FileError`]: of the system, or [`Reason::Shrunk`] when the file ends before that length.
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize, FileError> {
        let left = self.len_bytes.saturating_sub(offset);
        let len = into.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let error = |error| FileError::io(Step::Read, &self.path)(error).at(offset);
        let read = read_full(&*self.handle, &mut into[..len], offset).map_err(error)?;
        if read < len {
            let reason = Reason::Shrunk { expected_bytes: self.len_bytes };
            return Err(FileError::new(Step::Read, &self.path, reason).at(offset + read as u64));
        }
        Ok(len)
    }

    /// Fills `buffer` with what follows and freezes it; `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// Those of [`read_at`](Self::read_at); the position stays.
    pub fn next(&mut self, mut buffer: Buffer) -> Result<Option<Bytes>, FileError> {
        buffer.clear();
        self.ask_ahead(buffer.spare_bytes() as u64);
        let start = self.position;
        let len = buffer.fill_with(|spare| self.read_at(spare, start))?;
        if len == 0 {
            return Ok(None);
        }
        self.position += len as u64;
        if self.options.drop_behind {
            self.handle.drop_cached(start..self.position);
        }
        Ok(Some(buffer.freeze()))
    }

    /// Asks in strides of half the distance, so that one call in many costs anything.
    fn ask_ahead(&mut self, next_bytes: u64) {
        let ahead = self.options.read_ahead_bytes;
        let wanted = self.position.saturating_add(next_bytes).saturating_add(ahead);
        let wanted = wanted.min(self.len_bytes);
        if 0 < ahead && self.asked_until.saturating_add(ahead / 2) <= wanted {
            self.handle.read_ahead(self.asked_until.max(self.position)..wanted);
            self.asked_until = wanted;
        }
    }
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader")
            .field("path", &self.path)
            .field("len_bytes", &self.len_bytes)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
