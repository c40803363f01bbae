//! A reply that is there as a whole, sent as its client takes it.

use std::collections::VecDeque;

use bytes::Bytes;
use memory::Reservation;

use super::frame::FRAME_BYTES;
use crate::serve::{Generation, Relayed};

/// A request that runs until the last of its reply is on its way, and what holds the reply's bytes.
#[derive(Debug)]
#[expect(dead_code, reason = "nothing is asked of it: its end is what counts")]
pub(crate) enum Running {
    Generated(Generation, Reservation),
    /// The bytes themselves hold their reservation.
    Relayed(Relayed),
}

/// The parts of a reply, and the place of its request.
#[derive(Debug)]
pub(crate) struct ReplyBody {
    parts: VecDeque<Bytes>,
    left_bytes: u64,
    _running: Running,
}

impl ReplyBody {
    /// A body of parts that are not empty.
    pub(crate) fn new(parts: VecDeque<Bytes>, running: Running) -> Self {
        let left_bytes = parts.iter().map(|part| part.len() as u64).sum();
        Self { parts, left_bytes, _running: running }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.parts.is_empty()
    }

    pub(crate) fn left_bytes(&self) -> u64 {
        self.left_bytes
    }

    /// Takes up to a frame of it.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        let piece = take_piece(self.parts.front_mut()?);
        if self.parts.front().is_some_and(Bytes::is_empty) {
            self.parts.pop_front();
        }
        self.left_bytes -= piece.len() as u64;
        Some(piece)
    }
}

/// Takes up to a frame from the front: hyper copies each piece at once, and must not hold a second copy
/// of everything.
pub(super) fn take_piece(bytes: &mut Bytes) -> Bytes {
    bytes.split_to(bytes.len().min(FRAME_BYTES))
}
