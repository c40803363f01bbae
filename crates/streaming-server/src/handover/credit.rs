//! How much a stream may hold, counted from both ends.

use crate::sync::{AtomicU64, Ordering};

/// No one waits for room.
const NOBODY: u64 = u64::MAX;

/// Counts what left a stream; the runner's side knows what came in.
///
/// # Why no wake is lost
///
/// The runner's side stores from where on it wants to be told, then looks at the count again; the
/// stream's side counts, then looks whether somebody waits. All four are sequentially consistent, so
/// at least one side sees the other's store, and the exchange lets exactly one of them act on it.
#[derive(Debug)]
pub(crate) struct Credit {
    bytes_max: u64,
    /// Bytes that left the stream since its start.
    consumed: AtomicU64,
    /// The count from which on the runner wants to be told; [`NOBODY`] when it does not wait.
    resume_at: AtomicU64,
}

impl Credit {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, consumed: AtomicU64::new(0), resume_at: AtomicU64::new(NOBODY) }
    }

    /// The runner's side: whether one more token may go in after `produced` bytes.
    ///
    /// On `false` the other side will say when there is room again: [`consume`](Self::consume)
    /// returns true once.
    pub(crate) fn has_room(&self, produced: u64) -> bool {
        if produced - self.consumed.load(Ordering::Acquire) < self.bytes_max {
            return true;
        }
        // Half of it must be free, or each token would cost a wake.
        let resume_at = produced - self.bytes_max / 2;
        self.resume_at.store(resume_at, Ordering::SeqCst);
        if self.consumed.load(Ordering::SeqCst) < resume_at {
            return false;
        }
        // There is room by now. Whoever takes the mark away acts: if the other side did, it will
        // say so as well, which is harmless.
        self.resume_at.store(NOBODY, Ordering::SeqCst);
        true
    }

    /// The stream's side: so many bytes left it. Returns whether the runner waits for that.
    pub(crate) fn consume(&self, bytes: u64) -> bool {
        let consumed = self.consumed.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.resume_at.load(Ordering::SeqCst) <= consumed
            && self.resume_at.swap(NOBODY, Ordering::SeqCst) != NOBODY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_stream_tells_once_when_it_is_half_empty() {
        let credit = Credit::new(100);
        assert!(credit.has_room(99));
        assert!(!credit.has_room(100));
        assert!(!credit.consume(49));
        assert!(credit.consume(1));
        assert!(!credit.consume(1));
        assert!(credit.has_room(100));
    }

    #[test]
    fn one_token_may_exceed_the_limit_and_the_next_may_not() {
        let credit = Credit::new(10);
        assert!(credit.has_room(0));
        assert!(!credit.has_room(1000));
        assert!(!credit.consume(994));
        assert!(credit.consume(1));
    }
}
