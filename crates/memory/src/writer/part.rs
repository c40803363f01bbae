//! The names of files in the making, and what is left of them by those who were killed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::files::{FileError, FileSystem, Handle, Open, Step};

/// `.part-PID-COUNT`: no process chooses another's name, so none renames another's file.
const PREFIX: &str = ".part-";

/// How many names are tried: one is taken only by a part of a dead process that had the same number.
const NAMES_MAX: u32 = 100;

/// Makes names unique within the process; it guards nothing.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Creates a part beside `target` and locks it, as a sign that it has an owner.
pub(super) fn create(
    files: &dyn FileSystem,
    target: &Path,
) -> Result<(PathBuf, Arc<dyn Handle>), FileError> {
    if target.file_name().is_none() {
        return Err(FileError::io(Step::Create, target)(io::ErrorKind::InvalidInput.into()));
    }
    let folder = folder_of(target);
    let mut taken = PathBuf::new();
    for _ in 0..NAMES_MAX {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let part = folder.join(format!("{PREFIX}{}-{count}", std::process::id()));
        match files.open(&part, Open::CreateNew) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = part,
            opened => {
                let handle = opened.map_err(FileError::io(Step::Create, target))?;
                // Where there are no locks, the number of the process has to do.
                let _ = handle.try_lock();
                return Ok((part, handle));
            }
        }
    }
    Err(FileError::io(Step::Create, &taken)(io::ErrorKind::AlreadyExists.into()))
}

/// The folder of a file; `.` for a bare name.
pub(crate) fn folder_of(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Removes the parts in `folder` whose processes are dead; returns how many there were.
///
/// A part is an orphan when its lock is free *and* no other process has its number: so a part survives that
/// another machine or container holds, and one on a file system where locks do nothing. A part with the
/// number of this process is an orphan if this process did not make it: a container may give each start
/// the same number. To be called once by the owner of a folder, when it starts.
///
/// # Errors
///
/// [`FileError`] when the folder cannot be looked through. What cannot be removed is left.
pub fn remove_orphans(files: &dyn FileSystem, folder: &Path) -> Result<usize, FileError> {
    let names = files.names(folder).map_err(FileError::io(Step::Clean, folder))?;
    let parts = names.iter().filter_map(|name| Some((name, Maker::of(name.to_str()?)?)));
    let orphans = parts.filter(|(name, maker)| {
        let is_free = || files.open(&folder.join(name), Open::Write)?.try_lock();
        !maker.lives() && is_free().unwrap_or(true)
    });
    Ok(orphans.filter(|(name, _)| files.remove(&folder.join(name)).is_ok()).count())
}

/// Who made a part, as its name tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Maker {
    process: i32,
    /// How many parts the process had made before.
    count: u64,
}

impl Maker {
    /// `None` for a name that is not of a part.
    fn of(name: &str) -> Option<Self> {
        let (process, count) = name.strip_prefix(PREFIX)?.split_once('-')?;
        let process = process.parse().ok().filter(|&process| 0 < process)?;
        Some(Self { process, count: count.parse().ok()? })
    }

    fn lives(self) -> bool {
        if u32::try_from(self.process) == Ok(std::process::id()) {
            // Read after the folder: what we make meanwhile is not among its names.
            return self.count < COUNT.load(Ordering::Relaxed);
        }
        crate::seam::process_lives(self.process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_parts() {
        assert_eq!(Some(Maker { process: 12, count: 7 }), Maker::of(".part-12-7"));
        for name in ["part-12-0", ".part-12", ".part-0-1", ".part--1-1", ".part-x-1", ".part-1-x"] {
            assert_eq!(None, Maker::of(name), "{name}");
        }
    }

    #[test]
    fn where_all_names_are_taken_one_of_them_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let first = COUNT.load(Ordering::Relaxed);
        for count in first..first + u64::from(NAMES_MAX) {
            let name = format!("{PREFIX}{}-{count}", std::process::id());
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let files = crate::files::OsFiles::new();
        let target = folder.path().join("weights");
        let error = create(&files, &target).unwrap_err();
        assert_eq!(Some(io::ErrorKind::AlreadyExists), error.io_kind());
        assert!(error.path().exists() && !target.exists(), "{error}");
        assert!(create(&files, &target).is_ok());
    }

    #[test]
    fn a_bare_name_lies_here() {
        assert_eq!(Path::new("."), folder_of(Path::new("a")));
        assert_eq!(Path::new("/a"), folder_of(Path::new("/a/b")));
    }
}
