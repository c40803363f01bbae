//! What is told of a model, and what became of it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, told};
use crate::hub::{Commit, Entry};
use crate::job::{Event, Fetched};

/// What happens to a model.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ModelEvent {
    /// A question about it is asked later, or again: the event is [`Event::Held`] or [`Event::Retry`].
    Delay(Event),
    /// It is known what is to be done.
    Plan {
        /// Files that are wanted.
        files: usize,
        /// Their bytes.
        bytes: u64,
        /// Files of them that are to be fetched.
        fetch_files: usize,
        /// Their bytes.
        fetch_bytes: u64,
        /// Files whose bytes are here already for something else.
        linked_files: usize,
        /// Files left out because the same weights come in a better form, or would run code.
        skipped_files: usize,
    },
    /// Something happens to one of its files.
    Transfer {
        /// The file.
        path: String,
        /// What happens.
        event: Event,
    },
    /// A file is here.
    File {
        /// The file.
        path: String,
        /// How it came.
        fetched: Fetched,
    },
    /// A file could not be had, and another one is the reason that is returned.
    Failed {
        /// What kind of failure it was.
        kind: ErrorKind,
        /// The file.
        object: String,
        /// What went wrong, with the file's name.
        message: String,
    },
    /// Something is odd, and goes on.
    Warning(String),
}

impl ModelEvent {
    pub(crate) fn failed(error: &Error) -> Self {
        let (object, message) = (error.object().to_owned(), told(error));
        Self::Failed { kind: error.kind(), object, message }
    }
}

/// Hears what happens.
pub(crate) type TellModel = Arc<dyn Fn(ModelEvent) + Send + Sync>;

/// A model that is here.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Ensured {
    /// The folder in which its files have their names.
    pub path: PathBuf,
    /// The commit, where it is of a hub.
    pub commit: Option<Commit>,
    /// Its files, as the hub tells them, in the order of their names.
    pub files: Vec<Entry>,
    /// Their bytes.
    pub bytes: u64,
    /// How many files were here before anything was done.
    pub unchanged: usize,
}
