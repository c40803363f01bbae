//! Several files at once.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use super::FileWriter;
use crate::files::{FileError, Step};

/// A batch of which not every file was published.
#[derive(Debug)]
pub struct BatchError {
    /// Those that have their names; whole and durable, all of them.
    pub published: Vec<PathBuf>,
    /// What stopped the others.
    pub error: FileError,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} files of the batch were published, then: {}",
            self.published.len(),
            self.error
        )
    }
}

impl Error for BatchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// Publishes all files: makes all durable, then gives all their names in this order, then makes the names
/// durable with one sync per folder.
///
/// So a file that refers to others is put last, and no name appears before all contents are safe.
///
/// # Errors
///
/// [`BatchError`]: until all files are durable, none is published. A rename that fails stops those after
/// it.
pub fn publish_all(mut writers: Vec<FileWriter>) -> Result<(), BatchError> {
    let mut published = Vec::new();
    let renamed = publish_in_order(&mut writers, &mut published);
    let folders: BTreeSet<PathBuf> =
        writers[..published.len()].iter().map(|writer| writer.folder().to_owned()).collect();
    // Also after an error: what has a name is to keep it.
    let synced: Result<(), FileError> = folders.iter().try_for_each(|folder| {
        writers[0].files.sync_folder(folder).map_err(FileError::io(Step::SyncFolder, folder))
    });
    renamed.and(synced).map_err(|error| BatchError { published, error })
}

fn publish_in_order(
    writers: &mut [FileWriter],
    published: &mut Vec<PathBuf>,
) -> Result<(), FileError> {
    writers.iter().try_for_each(FileWriter::finish)?;
    for writer in writers {
        writer.rename()?;
        published.push(writer.target.clone());
    }
    Ok(())
}
