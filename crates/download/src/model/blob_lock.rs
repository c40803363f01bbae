//! One writer per blob: the lock of the hub's own libraries.

use std::io;
use std::time::Duration;

use super::layout::RepoFolder;
use crate::seam::disk::{self, Held};

/// How often it is looked whether another process is done with the blob.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until nobody else writes the blob. The lock saves traffic; that nothing wrong is published
/// does not depend on it.
///
/// A holder that dies gives it back, so the wait is as long as another's transfer.
pub(crate) async fn hold(repo: &RepoFolder, blob: &str, waits: impl Fn()) -> io::Result<Held> {
    let path = repo.lock(blob);
    let mut is_told = false;
    loop {
        match disk::try_lock(&path) {
            Ok(Some(held)) => return Ok(held),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk::create_folders(&repo.locks())?;
                continue;
            }
            Err(error) => return Err(error),
        }
        if !std::mem::replace(&mut is_told, true) {
            waits();
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether somebody writes a blob of this repository now.
pub(crate) fn any_held(repo: &RepoFolder) -> bool {
    let locks = repo.locks();
    let is_held = |name: std::ffi::OsString| matches!(disk::try_lock(&locks.join(name)), Ok(None));
    disk::names(&locks).into_iter().any(is_held)
}
