//! The machine's own files.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise};

use super::cache;
use crate::files::{FileSystem, Handle, Open};
use crate::sync::Mutex;

/// Devices that cannot write past the page cache are remembered, up to this many: more than any machine
/// mounts. Beyond, they are asked again with each file.
const DEVICES_MAX: usize = 64;

/// The machine's file system.
///
/// It remembers which devices do not take `RWF_DONTCACHE`, so that each is asked once; clones share that
/// memory.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use memory::files::{FileSystem, OsFiles};
///
/// let files: Arc<dyn FileSystem> = Arc::new(OsFiles::new());
/// assert!(0 < files.free_bytes(&std::env::temp_dir())?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct OsFiles {
    cached_only: Arc<Mutex<BTreeSet<u64>>>,
}

impl OsFiles {
    /// Returns the machine's file system, of whose devices nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl FileSystem for OsFiles {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn Handle>> {
        let mut options = OpenOptions::new();
        options.read(true).write(how != Open::Read);
        options.create(how == Open::Create).create_new(how == Open::CreateNew);
        let file = options.open(path)?;
        let device = file.metadata()?.dev();
        Ok(Arc::new(OsHandle { file, device, cached_only: Arc::clone(&self.cached_only) }))
    }

    fn create_folders(&self, folder: &Path) -> io::Result<()> {
        let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
        fs::create_dir_all(folder)?;
        // A folder is lost with its name, and its name stands in the folder above.
        let mut above = missing.iter().filter_map(|folder| folder.parent());
        above.try_for_each(|folder| self.sync_folder(folder))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(here)?.sync_all()
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let stat = nix::sys::statvfs::statvfs(folder)?;
        // Its fields are narrower than u64 on some systems.
        #[expect(clippy::useless_conversion, reason = "not useless on 32-bit systems")]
        Ok(u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size())))
    }
}

#[derive(Debug)]
struct OsHandle {
    file: File,
    device: u64,
    cached_only: Arc<Mutex<BTreeSet<u64>>>,
}

impl Handle for OsHandle {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn id(&self) -> io::Result<(u64, u64)> {
        Ok((self.device, self.file.metadata()?.ino()))
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn write_uncached_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if self.cached_only.lock().contains(&self.device) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let result = cache::write_uncached_at(&self.file, bytes, offset);
        // EINVAL and ENOSYS: a kernel that does not know the flag, or the call.
        let refused = result.as_ref().is_err_and(|error| {
            let errno = error.raw_os_error().map(Errno::from_raw);
            matches!(errno, Some(Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOSYS))
        });
        if !refused {
            return result;
        }
        let mut cached_only = self.cached_only.lock();
        if cached_only.len() < DEVICES_MAX {
            cached_only.insert(self.device);
        }
        Err(io::ErrorKind::Unsupported.into())
    }

    fn start_writeback(&self, range: Range<u64>) -> io::Result<()> {
        cache::start_writeback(&self.file, range)
    }

    fn finish_writeback(&self, range: Range<u64>) -> io::Result<()> {
        cache::finish_writeback(&self.file, range.clone())?;
        self.drop_cached(range);
        Ok(())
    }

    fn drop_cached(&self, range: Range<u64>) {
        advise(&self.file, range, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }

    fn read_ahead(&self, range: Range<u64>) {
        advise(&self.file, range, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
    }

    fn allocate(&self, len_bytes: u64) -> io::Result<()> {
        allocate(&self.file, len_bytes)
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.file.set_len(len_bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    #[expect(
        deprecated,
        reason = "nix's new form owns the file, and the standard library's needs 1.89"
    )]
    fn try_lock(&self) -> io::Result<bool> {
        use nix::fcntl::{FlockArg, flock};
        match flock(self.file.as_raw_fd(), FlockArg::LockExclusiveNonblock) {
            Ok(()) => Ok(true),
            Err(Errno::EWOULDBLOCK) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn advise(file: &File, range: Range<u64>, advice: PosixFadviseAdvice) {
    let len = range.end.saturating_sub(range.start);
    let (Ok(start), Ok(len)) = (i64::try_from(range.start), i64::try_from(len)) else { return };
    // A hint that is not taken changes nothing.
    let _ = posix_fadvise(file, start, len, advice);
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, len_bytes: u64) -> io::Result<()> {
    use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};

    let stat = fstatfs(file)?;
    // Memory is not made faster by touching it twice (0.13 s for 2 GiB); that it is enough can be asked.
    if stat.filesystem_type() == TMPFS_MAGIC {
        let free_bytes = stat.blocks_available().saturating_mul(stat.block_size().unsigned_abs());
        let has_bytes = file.metadata()?.blocks() * 512;
        let enough = len_bytes.saturating_sub(has_bytes) <= free_bytes;
        return if enough { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) };
    }
    let len = i64::try_from(len_bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
    match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, len) {
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(_: &File, _: u64) -> io::Result<()> {
    Ok(())
}
