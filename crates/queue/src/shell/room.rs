//! The line of submitters in front of a full queue.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::latch::Latch;

/// Who waits for room, first come, first served; and room that was granted and is not yet taken.
#[derive(Debug, Default)]
pub(super) struct Room {
    waiters: BTreeMap<u64, Arc<Latch<()>>>,
    /// Counts waiters.
    next: u64,
    /// Places kept free for waiters that were told to come.
    reserved: usize,
}

impl Room {
    /// Steps into the line.
    pub(super) fn join(&mut self) -> (u64, Arc<Latch<()>>) {
        let (number, latch) = (self.next, Arc::new(Latch::new()));
        self.next += 1;
        self.waiters.insert(number, Arc::clone(&latch));
        (number, latch)
    }

    /// Keeps a place for the first in line, and returns whom to tell.
    pub(super) fn reserve(&mut self) -> Option<Arc<Latch<()>>> {
        let (_, latch) = self.waiters.pop_first()?;
        self.reserved += 1;
        Some(latch)
    }

    /// Leaves the line, or gives up the place that was kept.
    pub(super) fn leave(&mut self, number: u64) {
        if self.waiters.remove(&number).is_none() {
            self.reserved -= 1;
        }
    }

    /// Sends everybody away; each still [leaves](Self::leave).
    pub(super) fn dismiss(&mut self) -> impl Iterator<Item = Arc<Latch<()>>> + use<> {
        self.reserved += self.waiters.len();
        std::mem::take(&mut self.waiters).into_values()
    }

    pub(super) fn reserved(&self) -> usize {
        self.reserved
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiters.len()
    }
}
