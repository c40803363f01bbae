//! Why a log could not be opened or written.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use super::record::VERSION;
use crate::files::FileError;

/// A failed operation on a log.
#[derive(Debug)]
#[non_exhaustive]
pub enum LogError {
    /// The file system refused.
    File(FileError),
    /// The file is something else.
    NotALog {
        /// Which.
        path: PathBuf,
    },
    /// The log was written by a later version of this crate.
    Version {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: u8,
    },
    /// A record that had been acknowledged is not whole: the disk, or somebody else, changed it. The
    /// records before it have been replayed; nothing was changed.
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where the record begins.
        position: u64,
    },
    /// Another handle or process has the log open.
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// A record is empty or longer than the log allows: one to be appended, or one that is there. Nothing
    /// was changed.
    RecordSize {
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        bytes_max: u32,
    },
    /// The log would become longer than it may: [rewrite](super::AppendLog::rewrite) it.
    Full {
        /// The longest allowed.
        bytes_max: u64,
    },
    /// An earlier sync or write failed in a way that leaves the end of the log unknown: open it anew.
    Unsynced,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Path::display;
        match self {
            Self::File(error) => error.fmt(f),
            Self::NotALog { path } => write!(f, "{} is no log, move it away", name(path)),
            Self::Version { path, found } => {
                write!(
                    f,
                    "{} is a log of version {found}, this program reads {VERSION}",
                    name(path)
                )
            }
            Self::Damaged { path, position } => {
                write!(
                    f,
                    "{} is damaged at byte {position}, restore it or move it away",
                    name(path)
                )
            }
            Self::InUse { path } => write!(f, "{} is in use, close it there first", name(path)),
            Self::RecordSize { bytes, bytes_max } => {
                write!(f, "a record of {bytes} B, allowed are 1 to {bytes_max} B")
            }
            Self::Full { bytes_max } => {
                write!(f, "the log would exceed {bytes_max} B, rewrite it with what still counts")
            }
            Self::Unsynced => f.write_str("an earlier sync of the log failed, open it anew"),
        }
    }
}

impl Error for LogError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::File(error) => error.source(),
            _ => None,
        }
    }
}

impl From<FileError> for LogError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}
