//! Folders, links and locks of the real file system: what caches of models are made of.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Makes names unique within the process; it guards nothing.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// What is known of a file without opening it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stat {
    pub(crate) bytes: u64,
    /// What the disk has set aside for it, written or not.
    pub(crate) held_bytes: u64,
    pub(crate) inode: u64,
    /// How many names it has.
    pub(crate) names: u64,
    /// Nanoseconds since 1970.
    pub(crate) modified_ns: i64,
    pub(crate) is_folder: bool,
    pub(crate) is_link: bool,
    /// When it was last read or written, whichever was later.
    pub(crate) used: SystemTime,
}

impl Stat {
    /// When it was last written to.
    pub(crate) fn written(&self) -> SystemTime {
        let since = Duration::from_nanos(u64::try_from(self.modified_ns).unwrap_or(0));
        SystemTime::UNIX_EPOCH + since
    }

    fn of(metadata: &std::fs::Metadata) -> Self {
        let seconds = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let used = seconds(metadata.atime().max(metadata.mtime()));
        Self {
            bytes: metadata.len(),
            held_bytes: metadata.blocks().saturating_mul(512),
            inode: metadata.ino(),
            names: metadata.nlink(),
            modified_ns: metadata
                .mtime()
                .saturating_mul(1_000_000_000)
                .saturating_add(metadata.mtime_nsec()),
            is_folder: metadata.is_dir(),
            is_link: metadata.is_symlink(),
            used: SystemTime::UNIX_EPOCH + used,
        }
    }
}

/// What a name leads to, links followed.
pub(crate) fn stat(path: &Path) -> Option<Stat> {
    std::fs::metadata(path).ok().map(|metadata| Stat::of(&metadata))
}

/// What has a name itself.
pub(crate) fn link_stat(path: &Path) -> Option<Stat> {
    std::fs::symlink_metadata(path).ok().map(|metadata| Stat::of(&metadata))
}

/// The text of a link.
pub(crate) fn link_text(path: &Path) -> Option<PathBuf> {
    std::fs::read_link(path).ok()
}

/// Where a path leads, links followed.
pub(crate) fn resolved(path: &Path) -> io::Result<PathBuf> {
    std::fs::canonicalize(path)
}

/// The names in a folder, in order; none for one that is not there.
pub(crate) fn names(folder: &Path) -> Vec<OsString> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    names
}

/// Reads a file of at most so many bytes.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes_max < bytes.len() as u64 {
        let message = format!("it has more than {bytes_max} B");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// Reads the first bytes of a file, as many as there are up to so many.
pub(crate) fn read_start(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Adds a line to a file in one call, so that lines of several processes do not mix.
pub(crate) fn append(path: &Path, line: &str) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(path)?.write_all(line.as_bytes())
}

pub(crate) fn create_folders(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)
}

/// Creates the folders of a path beneath `root`, one by one, and follows no link on the way.
pub(crate) fn create_beneath(root: &Path, folder: &Path) -> io::Result<()> {
    create_folders(root)?;
    let rest = folder.strip_prefix(root).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut path = root.to_owned();
    for part in rest.components() {
        path.push(part);
        let created = std::fs::create_dir(&path);
        match (created, link_stat(&path)) {
            (Ok(()), _) => {}
            (Err(_), Some(stat)) if stat.is_folder => {}
            (Err(_), Some(stat)) if stat.is_link => {
                let message = format!("{} is a link, which is not followed", path.display());
                return Err(io::Error::other(message));
            }
            (Err(error), _) => return Err(error),
        }
    }
    Ok(())
}

/// Gives a file its content in one step. Not synced: after a power cut it may be empty.
pub(crate) fn replace(path: &Path, scratch: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = fresh(scratch);
    std::fs::write(&fresh, bytes)?;
    std::fs::rename(&fresh, path)
}

/// The same, synced: after a power cut there is the old content or the new.
pub(crate) fn replace_durably(path: &Path, scratch: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = fresh(scratch);
    std::fs::write(&fresh, bytes)?;
    File::open(&fresh)?.sync_all()?;
    std::fs::rename(&fresh, path)?;
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

/// Makes a link, or puts it in the place of what has its name, in one step.
pub(crate) fn place_link(text: &Path, path: &Path, scratch: &Path) -> io::Result<()> {
    match symlink(text, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        done => return done,
    }
    if link_text(path).is_some_and(|old| old == text) {
        return Ok(());
    }
    let fresh = fresh(scratch);
    symlink(text, &fresh)?;
    std::fs::rename(&fresh, path)
}

/// Gives the bytes of a file a second name, in one step, in the place of what has it.
pub(crate) fn share(from: &Path, to: &Path, scratch: &Path) -> io::Result<()> {
    let fresh = fresh(scratch);
    std::fs::hard_link(from, &fresh)?;
    let renamed = std::fs::rename(&fresh, to);
    // Where both names are of one file already, renaming does nothing and leaves the fresh one.
    let _ = std::fs::remove_file(&fresh);
    renamed
}

fn fresh(scratch: &Path) -> PathBuf {
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    scratch.join(format!("new.{}.{count}", std::process::id()))
}

pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

pub(crate) fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)
}

/// Removes a folder with all that is in it; links are removed, not followed.
pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    std::fs::remove_dir_all(path)
}

/// A lock (flock(2)), given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    file: File,
}

impl Held {
    /// Whether the locked file still has this name: it may have been removed before the lock was taken.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let own = self.file.metadata().map(|metadata| metadata.ino());
        own.is_ok_and(|own| stat(path).is_some_and(|stat| stat.inode == own))
    }
}

/// Takes a lock that one may have; `None` while somebody else has it.
pub(crate) fn try_lock(path: &Path) -> io::Result<Option<Held>> {
    locked(open_to_write(path)?, File::try_lock)
}

/// Takes a lock that many may share; `None` while one has it alone. Who may not write shares it, too.
pub(crate) fn try_lock_shared(path: &Path) -> io::Result<Option<Held>> {
    let file = open_to_write(path).or_else(|error| {
        let read = if is_forbidden(&error) { File::open(path).ok() } else { None };
        read.ok_or(error)
    });
    locked(file?, File::try_lock_shared)
}

/// Whether this may not be written, by its rights or because all of its file system is only read.
pub(crate) fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn open_to_write(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).open(path)
}

fn locked(
    file: File,
    lock: impl Fn(&File) -> Result<(), TryLockError>,
) -> io::Result<Option<Held>> {
    match lock(&file) {
        // A file system without locks grants them to everybody.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(Held { file })),
        Err(TryLockError::WouldBlock) => Ok(None),
    }
}
