//! Files as memory, for callers who can promise that nobody cuts them.

#![expect(unsafe_code, reason = "a mapping is only as sound as the file beneath it stays still")]

use std::fmt;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use memmap2::{Advice, Mmap, MmapOptions};

use crate::files::{FileError, Reason, Step};

/// A file mapped into memory, to read.
///
/// Reading costs no system call and no copy, and the page cache is the only memory used: it counts in
/// nobody's [`Budget`](crate::Budget). The price is the contract of [`open`](Self::open).
///
/// # Examples
///
/// ```
/// use memory::Mapping;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("weights");
/// std::fs::write(&path, b"safetensors")?;
///
/// // SAFETY: the folder is ours alone, and nothing writes to the file while it is mapped.
/// let mapping = unsafe { Mapping::open(&path, 11)? };
/// let bytes = mapping.into_bytes();
/// assert_eq!(&bytes[4..], b"tensors");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mapping {
    map: Mmap,
    path: PathBuf,
}

impl Mapping {
    /// Maps `path`, of which the first `expected_bytes` must be there.
    ///
    /// # Errors
    ///
    /// [`FileError`]: of the system, or [`Reason::Shrunk`] when the file is shorter than expected.
    ///
    /// # Safety
    ///
    /// Until the mapping and all [`Bytes`] made of it are gone, nobody may cut the file or write to it, in
    /// this process or another. A cut file kills the process by `SIGBUS` at the next access beyond its
    /// end; a written one breaks Rust's promise that shared bytes do not change.
    ///
    /// Files that were published by [`FileWriter`](crate::FileWriter) into a folder of one's own satisfy
    /// this: a later publication replaces the name and leaves the mapped file as it was.
    pub unsafe fn open(path: &Path, expected_bytes: usize) -> Result<Self, FileError> {
        let error = |error| FileError::io(Step::Map, path)(error);
        let file = crate::seam::open_to_map(path).map_err(error)?;
        let len_bytes = file.metadata().map_err(error)?.len();
        if len_bytes < expected_bytes as u64 {
            let reason = Reason::Shrunk { expected_bytes: expected_bytes as u64 };
            return Err(FileError::new(Step::Map, path, reason).at(len_bytes));
        }
        // SAFETY: the caller keeps the file still, as `# Safety` demands.
        let map = unsafe { MmapOptions::new().len(expected_bytes).map(&file) }.map_err(error)?;
        Ok(Self { map, path: path.to_owned() })
    }

    /// Tells the kernel that it will be read from front to back.
    ///
    /// # Errors
    ///
    /// [`FileError`] of the system; the mapping works as before.
    pub fn advise_sequential(&self) -> Result<(), FileError> {
        self.map.advise(Advice::Sequential).map_err(FileError::io(Step::Map, &self.path))
    }

    /// Turns the mapping into [`Bytes`] without a copy; it is unmapped when the last clone drops.
    ///
    /// The contract of [`open`](Self::open) goes on.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        if self.is_empty() { Bytes::new() } else { Bytes::from_owner(self.map) }
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("path", &self.path).field("len", &self.len()).finish()
    }
}

/// Returns how many bytes of a file lie in the page cache, in whole pages (mincore(2)).
///
/// Costs a mapping and one byte of memory per page, and reads nothing of the file.
///
/// # Errors
///
/// [`FileError`] of the system.
///
/// # Examples
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("weights");
/// std::fs::write(&path, vec![7; 10_000])?;
/// assert!(memory::cached_bytes(&path)? <= 12_288);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn cached_bytes(path: &Path) -> Result<u64, FileError> {
    count_cached(path).map_err(FileError::io(Step::Map, path))
}

fn count_cached(path: &Path) -> io::Result<u64> {
    const PAGE_BYTES: usize = 4096;
    let file = crate::seam::open_to_map(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(0);
    }
    // SAFETY: no byte of this mapping is read or lent, so it does not matter who changes the file.
    let map = unsafe { Mmap::map(&file) }?;
    let mut pages = vec![0_u8; map.len().div_ceil(PAGE_BYTES)];
    // SAFETY: the mapping is live and starts on a page, and `pages` has a byte for each of its pages (fewer
    // are written where pages are larger).
    let result = unsafe {
        libc::mincore(map.as_ptr().cast_mut().cast(), map.len(), pages.as_mut_ptr().cast())
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let cached = pages.iter().filter(|&&page| page & 1 == 1).count();
    Ok((cached * PAGE_BYTES) as u64)
}
