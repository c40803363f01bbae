//! What the file types stand on: a file system that can be replaced, and errors that name the file.

mod error;
#[cfg(feature = "simulated")]
pub mod simulated;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub use self::error::{FileError, Reason, Step};
pub use crate::seam::OsFiles;

/// How a file is opened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Open {
    /// To read; it must exist.
    Read,
    /// To read and write; it must exist.
    Write,
    /// To read and write; it is created if it does not exist.
    Create,
    /// To read and write; it must not exist.
    CreateNew,
}

/// A file system: the machine's ([`OsFiles`]), or one for tests (feature `simulated`).
///
/// It is shared as `Arc<dyn FileSystem>`: what a virtual call costs is nothing beside what a file costs.
pub trait FileSystem: fmt::Debug + Send + Sync {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// The system's.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn Handle>>;

    /// Creates a folder and those above it, and makes their names durable. One that exists is no error.
    ///
    /// # Errors
    ///
    /// The system's.
    fn create_folders(&self, folder: &Path) -> io::Result<()>;

    /// Gives a file another name, in one step, in place of a file that has it.
    ///
    /// # Errors
    ///
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a file's name away.
    ///
    /// # Errors
    ///
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    ///
    /// The system's.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Returns the names in a folder, in no order.
    ///
    /// # Errors
    ///
    /// The system's.
    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>>;

    /// Returns how many bytes an ordinary user can still write in a folder.
    ///
    /// # Errors
    ///
    /// The system's.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;
}

/// An open file. Positions are given with each call, so that many threads can share it.
pub trait Handle: fmt::Debug + Send + Sync {
    /// Returns the length in bytes.
    ///
    /// # Errors
    ///
    /// The system's.
    fn len_bytes(&self) -> io::Result<u64>;

    /// Returns what no other file has at the same time.
    ///
    /// # Errors
    ///
    /// The system's.
    fn id(&self) -> io::Result<(u64, u64)>;

    /// Reads into `into`, which it only writes to; returns how many bytes, 0 at the end of the file.
    ///
    /// # Errors
    ///
    /// The system's; [`io::ErrorKind::Interrupted`] means: again.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes from the beginning of `bytes`; returns how many, which may be fewer.
    ///
    /// # Errors
    ///
    /// The system's; [`io::ErrorKind::Interrupted`] means: again.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Like [`write_at`](Self::write_at), and what it writes leaves the page cache by itself.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] where that is not to be had; nothing is then written.
    fn write_uncached_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Begins to write these bytes to the disk, and does not wait.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] where that is not to be had.
    fn start_writeback(&self, _range: Range<u64>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Waits until these bytes are written, and drops them from the page cache. Promises no durability.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] where that is not to be had.
    fn finish_writeback(&self, _range: Range<u64>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Drops these bytes from the page cache if they are written already. A hint.
    fn drop_cached(&self, _range: Range<u64>) {}

    /// Begins to read these bytes into the page cache. A hint.
    fn read_ahead(&self, _range: Range<u64>) {}

    /// Sets room for `len_bytes` aside without changing the length, where the file system can.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::StorageFull`] when there is no such room.
    fn allocate(&self, _len_bytes: u64) -> io::Result<()> {
        Ok(())
    }

    /// Cuts the file, or fills it up with zeros.
    ///
    /// # Errors
    ///
    /// The system's.
    fn set_len(&self, len_bytes: u64) -> io::Result<()>;

    /// Makes content and length durable.
    ///
    /// # Errors
    ///
    /// The system's. After one, nobody knows what is on the disk: later success proves nothing.
    fn sync(&self) -> io::Result<()>;

    /// Takes the file's lock (flock(2)), which ends with the handle; returns whether nobody else has it.
    ///
    /// # Errors
    ///
    /// The system's. Some network file systems have no locks, some grant them to everybody.
    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}

/// How often in a row one call may be interrupted by signals before that counts as an error: a program
/// that is signaled more often does nothing else.
const INTERRUPTS_MAX: u32 = 1000;

/// Repeats a call that signals interrupt.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..INTERRUPTS_MAX {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
    call()
}

/// Reads until `into` is full or the file at its end; returns how many bytes.
pub(crate) fn read_full(handle: &dyn Handle, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut len = 0;
    while len < into.len() {
        let rest = &mut into[len..];
        match uninterrupted(|| handle.read_at(rest, offset + len as u64))? {
            0 => break,
            n => len += n,
        }
    }
    Ok(len)
}

/// Writes all of `bytes` by calls of `write`, each of which may write less; on an error tells the offset.
pub(crate) fn write_full(
    bytes: &[u8],
    offset: u64,
    write: impl Fn(&[u8], u64) -> io::Result<usize>,
) -> Result<(), (io::Error, u64)> {
    let mut rest = bytes;
    let mut at = offset;
    while !rest.is_empty() {
        let written = uninterrupted(|| write(rest, at)).map_err(|error| (error, at))?;
        if written == 0 {
            return Err((io::ErrorKind::WriteZero.into(), at));
        }
        rest = &rest[written..];
        at += written as u64;
    }
    Ok(())
}
