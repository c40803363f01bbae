//! The journal, kept up to date while a file is received.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Receiver, Shared, Stopped, WAIT_MAX};
use crate::error::{Error, ErrorKind};

/// Hashed bytes between two claims of the hash's state, which cost a system call.
const CLAIM_BYTES: u64 = 16 << 20;

impl Receiver<'_> {
    /// Keeps the journal up to date; returns only when that fails.
    pub(super) async fn claims(&self, shared: &Shared<'_>) -> Stopped {
        let (mut hashed, mut written) = (0, 0);
        loop {
            let _ = tokio::time::timeout(WAIT_MAX, shared.news.claimable.notified()).await;
            if hashed + CLAIM_BYTES <= shared.news.hashed.load(Ordering::Acquire) {
                let (offset, state) = shared.hash_state();
                hashed = offset;
                if let Err(error) = self.journal.hashed(offset, &state) {
                    return Stopped::Failed(error.into());
                }
            }
            let bytes = shared.parts.lock().ledger().bytes();
            if written + self.options.durable_bytes <= bytes {
                written = bytes;
                if let Err(error) = self.claim_durably(shared).await {
                    return Stopped::Failed(error);
                }
            }
        }
    }

    /// Data first, then the journal that speaks of it.
    pub(super) async fn claim_durably(&self, shared: &Shared<'_>) -> Result<(), Error> {
        let journal = Arc::clone(&self.journal);
        // Taken before the sync: only what is written by then becomes durable.
        let (offset, state) = shared.hash_state();
        let ranges: Vec<_> = shared.parts.lock().ledger().ranges().collect();
        let writer = Arc::clone(shared.writer);
        let turn = Arc::clone(&shared.claiming).lock_owned().await;
        let claimed = tokio::task::spawn_blocking(move || {
            // Held until the writer is let go of, whether somebody waits for that or not: what is bound
            // last is dropped first.
            let _turn = turn;
            let writer = writer;
            writer.sync()?;
            journal.durable(&ranges, (offset, &state))?;
            Ok(())
        });
        let died = |error| Error::new(ErrorKind::Other, "the syncing thread died").because(error);
        claimed.await.map_err(|error: tokio::task::JoinError| died(error))?
    }
}

impl Shared<'_> {
    fn hash_state(&self) -> (u64, Vec<u8>) {
        let state = self.news.state.lock();
        (state.0, state.1.save())
    }
}
