//! Memory for one file: taken when its size is known, or before its question while memory is short.
//!
//! What a file needs is taken in one order: its claim, its memory, a permit of its site, a connection. Who waits
//! for one of them holds none of those that come later, so nobody waits in a circle.

use memory::Reservation;

use super::attempt::{Attempt, Missed};
use crate::error::{Error, ErrorKind};

/// What a connection holds: a buffer of hyper's, and the frame that is written.
pub(super) const CONNECTION_BYTES: u64 = 512 << 10;
/// Frames on their way to the hash and ahead of it, at best, and at least.
const WINDOW_BYTES_MAX: u64 = 12 << 20;
const WINDOW_BYTES_MIN: u64 = 1 << 20;
/// Enough for whatever an answer brings: a small file, or the least window of a large one and its connection.
const FILE_BYTES_MIN: u64 = WINDOW_BYTES_MIN + CONNECTION_BYTES;

/// What a file takes, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Need {
    least: u64,
    most: u64,
}

impl Need {
    /// All of a file that is held in memory.
    pub(super) fn small(total: u64) -> Self {
        Self { least: total.max(1), most: total.max(1) }
    }

    /// Frames of the file and its first connection: much if there is much, or as little as will do.
    pub(super) fn large(total: Option<u64>) -> Self {
        let window = total.unwrap_or(u64::MAX).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        Self { least: FILE_BYTES_MIN, most: window + CONNECTION_BYTES }
    }
}

impl Attempt<'_> {
    /// Waits for memory before anything is asked, if it has to be waited for: now, or as the last question has
    /// shown (`is_short`).
    pub(super) async fn memory_first(&self, is_short: bool) -> Result<Option<Reservation>, Error> {
        let memory = &self.inner.memory;
        if !is_short && FILE_BYTES_MIN <= memory.available_bytes() {
            return Ok(None);
        }
        // With less than that in all, what comes may still be small enough.
        let bytes = FILE_BYTES_MIN.min(memory.limit_bytes()).max(1);
        memory.reserve(bytes).await.map(Some).map_err(|refused| too_low().because(refused))
    }

    /// Memory for what is about to come: `held`, or what is free. It is not waited for: the answer occupies a
    /// permit and a connection that those who have the memory may need.
    pub(super) fn memory_for(
        &self,
        held: Option<Reservation>,
        need: Need,
    ) -> Result<Reservation, Missed> {
        let taken = held.map_or_else(|| self.inner.memory.try_reserve(need.least), Ok);
        let mut memory = taken.map_err(|_| Missed::Starved)?;
        if memory.bytes() < need.least {
            return Err(too_low().into());
        }
        let sizes = std::iter::successors(Some(need.most), |bytes| Some(bytes / 2));
        let held = memory.bytes();
        let mut more = sizes.take_while(|&bytes| held < bytes).map(|bytes| bytes - held);
        let _ = more.find(|&bytes| memory.try_grow(bytes).is_ok());
        memory.shrink(memory.bytes().saturating_sub(need.most));
        Ok(memory)
    }
}

fn too_low() -> Error {
    Error::new(ErrorKind::Other, "the memory limit is too low")
}
