//! Calls about the page cache that nix does not have.

use std::fs::File;
use std::io;
use std::ops::Range;

/// How the kernel lets written pages leave its cache.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "nix has neither `pwritev2` with flags nor `sync_file_range`")]
mod imp {
    use std::os::fd::AsRawFd;

    use super::{File, Range, io};

    /// `pwritev2` with `RWF_DONTCACHE` (Linux 6.14): pages are written back at once and then dropped.
    pub(crate) fn write_uncached_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let offset = signed(offset)?;
        // SAFETY: one vector of one live slice, which the kernel only reads; `file` is open.
        let written = unsafe {
            libc::pwritev2(file.as_raw_fd(), &raw const part, 1, offset, libc::RWF_DONTCACHE)
        };
        usize::try_from(written).map_err(|_| io::Error::last_os_error())
    }

    pub(crate) fn start_writeback(file: &File, range: Range<u64>) -> io::Result<()> {
        sync_range(file, range, libc::SYNC_FILE_RANGE_WRITE)
    }

    pub(crate) fn finish_writeback(file: &File, range: Range<u64>) -> io::Result<()> {
        use libc::{
            SYNC_FILE_RANGE_WAIT_AFTER, SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE,
        };
        let all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
        sync_range(file, range, all)
    }

    fn sync_range(file: &File, range: Range<u64>, flags: libc::c_uint) -> io::Result<()> {
        let (start, len) = (signed(range.start)?, signed(range.end - range.start)?);
        // SAFETY: plain numbers and an open file.
        let result = unsafe { libc::sync_file_range(file.as_raw_fd(), start, len, flags) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn signed(offset: u64) -> io::Result<i64> {
        i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use super::{File, Range, io};

    pub(crate) fn write_uncached_at(_: &File, _: &[u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn start_writeback(_: &File, _: Range<u64>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn finish_writeback(_: &File, _: Range<u64>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub(super) use imp::{finish_writeback, start_writeback, write_uncached_at};
