//! Buffers that streams render into.

use std::sync::Arc;

use bytes::Buf;

use crate::sync::Mutex;

/// From this size on a frame is sent, and the others have their turn: a few dozen microseconds of
/// writing.
pub(crate) const FRAME_BYTES: usize = 32 << 10;
/// More than so many are not kept: all streams of a thread are rendered in turn.
const IDLE_MAX: usize = 16;
/// What grew larger than this is not kept: a token may be of any size.
const KEPT_BYTES_MAX: usize = 2 * FRAME_BYTES;

/// Buffers that are used again, the last one first: it is still in the processor's cache.
#[derive(Debug, Default)]
pub(crate) struct FramePool(Mutex<Vec<Vec<u8>>>);

impl FramePool {
    /// An empty frame.
    pub(crate) fn get(self: &Arc<Self>) -> Frame {
        let bytes = self.0.lock().pop();
        let bytes = bytes.unwrap_or_else(|| Vec::with_capacity(FRAME_BYTES + FRAME_BYTES / 8));
        Frame { bytes, at: 0, pool: Arc::clone(self) }
    }
}

/// Rendered events; the buffer goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Frame {
    bytes: Vec<u8>,
    at: usize,
    pool: Arc<FramePool>,
}

impl Frame {
    /// What is rendered into.
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Buf for Frame {
    fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        assert!(bytes <= self.remaining(), "{bytes} bytes of {}", self.remaining());
        self.at += bytes;
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.capacity() <= KEPT_BYTES_MAX {
            bytes.clear();
            let mut idle = self.pool.0.lock();
            if idle.len() < IDLE_MAX {
                idle.push(bytes);
            }
        }
    }
}
