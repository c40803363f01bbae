//! What both suites about files do: a stream of made-up bytes through buffers into a file.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use bytes::Bytes;
use memory::files::{FileSystem, OsFiles};
use memory::{Budget, BufferPool, CachePolicy, FileWriter, WriteOptions};
use sha2::{Digest, Sha256};

/// Bytes of one buffer, and of one write.
pub const PIECE_BYTES: usize = 1 << 20;
/// Buffers that may be in use at once.
const BUFFERS_MAX: u64 = 4;

/// How a stream is written.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Its length.
    pub bytes: u64,
    /// What becomes of the written pages.
    pub cache: CachePolicy,
    /// Whether its SHA-256 is computed meanwhile.
    pub hashed: bool,
}

/// Fills a piece with bytes that depend on where it stands: cheap, and not compressible to nothing.
pub fn fill(piece: &mut [u8], offset: u64) {
    for (index, word) in piece.chunks_exact_mut(8).enumerate() {
        let position = offset + 8 * index as u64;
        word.copy_from_slice(&position.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    }
}

impl Stream {
    /// Writes the stream to `target`, durably and in one step; returns its digest if it is hashed.
    ///
    /// # Panics
    ///
    /// When the disk fails: there is nothing to measure then.
    pub fn write(&self, target: &Path) -> Option<String> {
        let files: Arc<dyn FileSystem> = Arc::new(OsFiles::new());
        let budget = Budget::new(BUFFERS_MAX * PIECE_BYTES as u64);
        let pool = BufferPool::new(&budget, PIECE_BYTES, BUFFERS_MAX as usize);
        let options = WriteOptions { len_bytes: Some(self.bytes), cache: self.cache };
        let writer = FileWriter::create(&files, target, options).expect("the folder is ours");
        let digest = std::thread::scope(|scope| {
            let (frames, incoming) = sync_channel::<Bytes>(BUFFERS_MAX as usize);
            let hasher = self.hashed.then(|| scope.spawn(move || sha256_of(&incoming)));
            let mut content = vec![0; PIECE_BYTES];
            for offset in (0..self.bytes).step_by(PIECE_BYTES) {
                let n = (self.bytes - offset).min(PIECE_BYTES as u64) as usize;
                fill(&mut content[..n], offset);
                let mut buffer = pool.get_blocking().expect("a buffer fits into the budget");
                buffer.extend(&content[..n]);
                let bytes = buffer.freeze();
                writer.write_at(&bytes, offset).expect("the disk has room");
                if self.hashed {
                    frames.send(bytes).expect("the hash does not end before the stream");
                }
            }
            drop(frames);
            hasher.map(|hasher| hasher.join().expect("hashing does not fail"))
        });
        writer.publish().expect("the folder is ours");
        digest
    }
}

/// Hashes frames on a core of its own while the next ones are written.
fn sha256_of(frames: &Receiver<Bytes>) -> String {
    let mut sha256 = Sha256::new();
    for frame in frames {
        memory::steps(&frame).for_each(|step| sha256.update(step));
    }
    format!("{:x?}", sha256.finalize())
}
