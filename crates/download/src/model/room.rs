//! Room on the disk: a plan sets it aside before its first byte.

use std::sync::Arc;

use parking_lot::Mutex;

use super::check::Place;
use super::ensure::{Inner, Models};
use crate::error::{Error, ErrorKind};

impl Models {
    /// Sets room on the disk aside, before the first byte.
    pub(super) fn promise(&self, bytes: u64, place: &Place) -> Result<Promise, Error> {
        let files = &self.inner.hub.downloader().inner.files;
        let mut promised = self.inner.promised_bytes.lock();
        let free_bytes = files.free_bytes(&place.shown()).unwrap_or(u64::MAX);
        if free_bytes < promised.saturating_add(bytes) {
            let others = *promised;
            let message = format!(
                "no room: {bytes} B are to come, {free_bytes} B are free, \
                 and {others} B of them promised to other models"
            );
            return Err(Error::new(ErrorKind::Disk, message));
        }
        *promised = promised.saturating_add(bytes);
        Ok(Promise { inner: Arc::clone(&self.inner), left: Mutex::new(bytes) })
    }
}

/// Room that a plan has set aside; what is not used is given back when it is dropped.
pub(super) struct Promise {
    inner: Arc<Inner>,
    left: Mutex<u64>,
}

impl Promise {
    /// A file begins: from now on the disk itself knows of its bytes.
    pub(super) fn keep(&self, bytes: u64) {
        let mut left = self.left.lock();
        let kept = bytes.min(*left);
        *left -= kept;
        let mut promised = self.inner.promised_bytes.lock();
        *promised = promised.saturating_sub(kept);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.keep(u64::MAX);
    }
}
