//! The sign that a repository's folder is in use: many may hold it, and who cleans up waits for none to.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::seam::disk::{self, Held};

/// How often it is looked whether the cleaning of the same folder is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Cleaning one folder takes milliseconds; after so long somebody holds the sign who should not.
const LOOKS_MAX: usize = 3000;

const SIGN: &str = "use";

/// Holds the sign, with others, until it is dropped; `create` creates its folder, which may have been
/// removed just now. Where nothing may be written, a sign that is there is held all the same.
pub(crate) async fn hold(ours: &Path, create: impl Fn() -> io::Result<()>) -> io::Result<Held> {
    let sign = ours.join(SIGN);
    for _ in 0..LOOKS_MAX {
        create()?;
        match disk::try_lock_shared(&sign) {
            Ok(Some(held)) if held.is_at(&sign) => return Ok(held),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let message =
        format!("another process cleans up without an end: see who holds {}", sign.display());
    Err(io::Error::new(io::ErrorKind::TimedOut, message))
}

/// Holds it alone, if nobody else does.
pub(crate) fn try_alone(ours: &Path) -> io::Result<Option<Held>> {
    if disk::stat(ours).is_none() {
        disk::create_folders(ours)?;
    }
    disk::try_lock(&ours.join(SIGN))
}
