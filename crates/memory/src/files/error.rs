//! What went wrong with which file, and what to do.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// What was being done.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// Making a new file.
    Create,
    /// Opening a file that should be there.
    Open,
    /// Setting room aside.
    Allocate,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Making content durable.
    Sync,
    /// Giving the finished file its name.
    Publish,
    /// Making the name durable; the file is there under its name.
    SyncFolder,
    /// Mapping into memory.
    Map,
    /// Looking through a folder, or removing what lies there.
    Clean,
}

impl Step {
    fn verb(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::Allocate => "set room aside for",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "make durable",
            Self::Publish => "publish",
            Self::SyncFolder => "make durable the name of",
            Self::Map => "map",
            Self::Clean => "clean up",
        }
    }
}

/// Why it failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The system refused.
    Io(io::Error),
    /// The file ended before bytes that it had when it was opened, or that the caller knew to be there:
    /// somebody cut it.
    Shrunk {
        /// The length that it should have.
        expected_bytes: u64,
    },
    /// Bytes from here on were never written.
    Incomplete {
        /// The first byte that is missing.
        missing_from: u64,
    },
    /// More was written than the length announced.
    TooLong {
        /// The length announced.
        expected_bytes: u64,
    },
    /// An earlier attempt to make it durable failed, so its content cannot be trusted.
    Unsynced,
}

/// A failed operation on one file.
#[derive(Debug)]
pub struct FileError {
    step: Step,
    path: PathBuf,
    offset: Option<u64>,
    reason: Reason,
}

impl FileError {
    pub(crate) fn new(step: Step, path: &Path, reason: Reason) -> Self {
        Self { step, path: path.to_owned(), offset: None, reason }
    }

    pub(crate) fn io(step: Step, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::new(step, path, Reason::Io(error))
    }

    pub(crate) fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Returns what was being done.
    pub fn step(&self) -> Step {
        self.step
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns why it failed.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// Returns the system's kind of error; `None` when it was not the system that refused.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match &self.reason {
            Reason::Io(error) => Some(error.kind()),
            _ => None,
        }
    }

    /// Returns whether the disk or the user's share of it is full: worth another run after cleaning up.
    pub fn is_no_space(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self.io_kind(), Some(StorageFull | QuotaExceeded))
    }

    /// The standard library has no kind for it.
    fn is_out_of_descriptors(&self) -> bool {
        let Reason::Io(error) = &self.reason else { return false };
        let errno = error.raw_os_error().map(Errno::from_raw);
        matches!(errno, Some(Errno::EMFILE | Errno::ENFILE))
    }

    fn advice(&self) -> &'static str {
        use io::ErrorKind::{
            AlreadyExists, CrossesDevices, FileTooLarge, InvalidInput, IsADirectory, NotFound,
            PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
        };
        if self.is_out_of_descriptors() {
            return "too many files are open, close some or raise the limit";
        }
        match self.io_kind() {
            Some(StorageFull | QuotaExceeded) => "no space left, free some and run again",
            Some(PermissionDenied | ReadOnlyFilesystem) => "not allowed, choose another folder",
            Some(NotFound) => "not there, check the path",
            Some(AlreadyExists) => "already there, remove it first",
            Some(IsADirectory) => "a folder has that name, choose another",
            Some(CrossesDevices) => "its part is on another file system, put both on one",
            Some(InvalidInput | FileTooLarge) => "no file can have that name or length, check both",
            Some(_) => "the system refused, see its error",
            None => "",
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}", self.step.verb(), self.path.display())?;
        if let Some(offset) = self.offset {
            write!(f, " at byte {offset}")?;
        }
        f.write_str(": ")?;
        match &self.reason {
            Reason::Io(_) => f.write_str(self.advice()),
            Reason::Shrunk { expected_bytes } => {
                write!(f, "it should have {expected_bytes} B and was cut, fetch it again")
            }
            Reason::Incomplete { missing_from } => {
                write!(f, "bytes from {missing_from} on are missing, write them first")
            }
            Reason::TooLong { expected_bytes } => {
                write!(f, "it was announced with {expected_bytes} B, start it anew")
            }
            Reason::Unsynced => {
                f.write_str("an earlier attempt to make it durable failed, start it anew")
            }
        }
    }
}

impl Error for FileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.reason {
            Reason::Io(error) => Some(error),
            _ => None,
        }
    }
}
