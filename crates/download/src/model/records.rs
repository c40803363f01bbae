//! What was verified here: so that a finished model need not be hashed again.
//!
//! One line per file, added when the file is published: length, inode and time of its last change.
//! Lines are added in one call each, so several processes may write; a torn or unknown line costs a
//! hash, no more.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::seam::disk::{self, Stat};

/// Records are read whole; more is not ours.
const RECORDS_BYTES_MAX: u64 = 256 << 20;
/// Lines that may be out of date before the file is written anew, beside as many as count.
const STALE_LINES_MAX: usize = 1000;

/// What tells that a file was not changed since.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Seen {
    bytes: u64,
    inode: u64,
    modified_ns: i64,
}

impl Seen {
    pub(super) fn of(stat: &Stat) -> Self {
        Self { bytes: stat.bytes, inode: stat.inode, modified_ns: stat.modified_ns }
    }

    fn line(self, name: &str) -> String {
        format!("{} {} {} {name}\n", self.bytes, self.inode, self.modified_ns)
    }

    fn parse(line: &str) -> Option<(&str, Self)> {
        let mut words = line.splitn(4, ' ');
        let seen = Self {
            bytes: words.next()?.parse().ok()?,
            inode: words.next()?.parse().ok()?,
            modified_ns: words.next()?.parse().ok()?,
        };
        Some((words.next()?, seen))
    }
}

/// The records of one folder.
#[derive(Debug)]
pub(crate) struct Records {
    path: PathBuf,
    seen: Mutex<HashMap<String, Seen>>,
}

impl Records {
    /// Reads the records that are kept in this folder; none, where there are none.
    pub(crate) fn load(ours: &Path) -> Self {
        let path = ours.join("verified");
        let text = disk::read(&path, RECORDS_BYTES_MAX).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let seen: HashMap<_, _> = text
            .lines()
            .filter_map(Seen::parse)
            .map(|(name, seen)| (name.to_owned(), seen))
            .collect();
        if 2 * seen.len() + STALE_LINES_MAX < text.lines().count() {
            let lines: String = seen.iter().map(|(name, seen)| seen.line(name)).collect();
            // A line that another process adds meanwhile is lost, and costs a hash.
            let _ = disk::replace(&path, ours, lines.as_bytes());
        }
        Self { path, seen: Mutex::new(seen) }
    }

    /// Whether the file is the one that was verified under this name.
    pub(crate) fn hold(&self, name: &str, stat: &Stat) -> bool {
        self.seen(name) == Some(Seen::of(stat))
    }

    /// What was verified under this name.
    pub(super) fn seen(&self, name: &str) -> Option<Seen> {
        self.seen.lock().get(name).copied()
    }

    /// Whether a file was ever verified under this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.seen.lock().contains_key(name)
    }

    /// Records that the file was verified.
    pub(crate) fn add(&self, name: &str, file: &Path) -> io::Result<()> {
        let Some(stat) = disk::stat(file) else { return Ok(()) };
        let seen = Seen::of(&stat);
        if self.seen.lock().insert(name.to_owned(), seen) == Some(seen) {
            return Ok(());
        }
        disk::append(&self.path, &seen.line(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_holds_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a file");
        std::fs::write(&file, "abc").unwrap();
        let records = Records::load(folder.path());
        let stat = || disk::stat(&file).unwrap();
        assert!(!records.hold("a file", &stat()));
        records.add("a file", &file).unwrap();
        let records = Records::load(folder.path());
        assert!(records.hold("a file", &stat()));
        std::fs::write(&file, "abcd").unwrap();
        assert!(!records.hold("a file", &stat()));
    }

    #[test]
    fn torn_lines_are_forgotten_and_long_records_are_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        std::fs::write(&file, "abc").unwrap();
        let stale = "1 2 3 f\n".repeat(3000);
        std::fs::write(folder.path().join("verified"), format!("{stale}1 2\nnonsense\n")).unwrap();
        let records = Records::load(folder.path());
        records.add("f", &file).unwrap();
        assert!(Records::load(folder.path()).hold("f", &disk::stat(&file).unwrap()));
        assert!(disk::stat(&folder.path().join("verified")).unwrap().bytes < 100);
    }
}
