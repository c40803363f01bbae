//! Where what was learnt of servers is kept: a file in the user's cache folder.

use std::path::{Path, PathBuf};

use download::History;
use memory::files::FileError;

use crate::args::Transfer;
use crate::replace::replace;

/// A file that is longer was not written by us.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The file; `None` when nothing is to be kept, or there is nowhere to keep it.
fn path(transfer: &Transfer) -> Option<PathBuf> {
    let beneath_home = || Some(transfer.home.as_ref()?.join(".cache"));
    let folder = transfer.cache_home.clone().or_else(beneath_home);
    folder.filter(|_| !transfer.no_history).map(|folder| folder.join("download").join("history"))
}

/// What is known. What cannot be read is not known.
pub(crate) fn read(transfer: &Transfer) -> History {
    path(transfer).map(|path| read_at(&path)).unwrap_or_default()
}

fn read_at(path: &Path) -> History {
    let is_ours = path.metadata().is_ok_and(|metadata| metadata.len() <= FILE_BYTES_MAX);
    let text = is_ours.then(|| std::fs::read_to_string(path).ok()).flatten();
    text.map(|text| History::parse(&text)).unwrap_or_default()
}

/// Adds what this run has learnt to what others have written meanwhile.
pub(crate) fn write(transfer: &Transfer, learnt: &History) -> Result<(), FileError> {
    let Some(path) = path(transfer).filter(|_| !learnt.is_empty()) else { return Ok(()) };
    if let Some(folder) = path.parent() {
        // Where it cannot be created the write fails, and says why.
        let _ = std::fs::create_dir_all(folder);
    }
    let mut history = read_at(&path);
    history.merge(learnt);
    replace(&path, &history.to_text())
}
