//! Several files at once.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::FileWriter;
use crate::files::{FileError, FileSystem, Step};

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
/// So a file that refers to others is put last, and no name appears before all contents are safe. Each
/// writer holds an open file until it has its name: more files than the process may have open
/// (`ulimit -n`) take several batches.
///
/// # Errors
///
/// [`BatchError`]: until all files are durable, none is published. A rename that fails stops those after
/// it.
pub fn publish_all(writers: Vec<FileWriter>) -> Result<(), BatchError> {
    let (mut published, mut folders) = (Vec::new(), BTreeMap::new());
    let renamed = publish_in_order(writers, &mut published, &mut folders);
    // Also after an error: what has a name is to keep it.
    let synced: Result<(), FileError> = folders.iter().try_for_each(|(folder, files)| {
        files.sync_folder(folder).map_err(FileError::io(Step::SyncFolder, folder))
    });
    renamed.and(synced).map_err(|error| BatchError { published, error })
}

fn publish_in_order(
    writers: Vec<FileWriter>,
    published: &mut Vec<PathBuf>,
    folders: &mut BTreeMap<PathBuf, Arc<dyn FileSystem>>,
) -> Result<(), FileError> {
    writers.iter().try_for_each(FileWriter::finish)?;
    // Each is closed as soon as it has its name: to sync the folders takes descriptors too.
    for mut writer in writers {
        writer.rename()?;
        published.push(writer.target.clone());
        folders.insert(writer.folder().to_owned(), Arc::clone(&writer.files));
    }
    Ok(())
}
