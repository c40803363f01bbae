//! The free bytes in one word: who finds enough of them there takes no lock.
//!
//! The word holds the free bytes as long as nobody waits. While somebody waits, or while a thread works
//! on the [`Ledger`](super::ledger::Ledger), the word is shut, and everybody goes to the ledger's lock:
//! so nobody overtakes the line, and no byte that comes back is missed by it.

use crate::sync::atomic::AtomicI64;
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// No number of free bytes: limits end at `i64::MAX`, so free bytes never fall below `-i64::MAX`.
const SHUT: i64 = i64::MIN;

/// Free bytes, or shut.
#[derive(Debug)]
pub(super) struct Gate(AtomicI64);

impl Gate {
    pub(super) fn open(free_bytes: i64) -> Self {
        Self(AtomicI64::new(free_bytes))
    }

    /// Takes `bytes`, unless fewer are free or the gate is shut.
    pub(super) fn try_take(&self, bytes: i64) -> bool {
        self.change(|free| (bytes <= free).then(|| free - bytes))
    }

    /// Gives `bytes` back, unless the gate is shut.
    pub(super) fn try_give(&self, bytes: i64) -> bool {
        self.change(|free| Some(free + bytes))
    }

    /// Shuts the gate and tells what was free. Only the holder of the ledger's lock may, and only while
    /// the gate is open.
    pub(super) fn shut(&self) -> i64 {
        let free_bytes = self.0.swap(SHUT, AcqRel);
        debug_assert_ne!(SHUT, free_bytes, "only an open gate is shut");
        free_bytes
    }

    /// Opens the gate that [`Self::shut`] shut.
    pub(super) fn reopen(&self, free_bytes: i64) {
        self.0.store(free_bytes, Release);
    }

    /// The free bytes; `None` while shut.
    pub(super) fn free_bytes(&self) -> Option<i64> {
        Some(self.0.load(Acquire)).filter(|&free_bytes| free_bytes != SHUT)
    }

    fn change(&self, to: impl Fn(i64) -> Option<i64>) -> bool {
        let step = |free_bytes| if free_bytes == SHUT { None } else { to(free_bytes) };
        // What a byte stands for is no memory of ours, yet whoever sees bytes come back may rely on what
        // their last holder did before: hence not relaxed.
        self.0.fetch_update(AcqRel, Relaxed, step).is_ok()
    }
}
