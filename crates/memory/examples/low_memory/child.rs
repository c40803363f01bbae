//! Writes and hashes a stream through a few buffers, and tells what that took.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use bytes::Bytes;
use memory::files::{FileSystem, OsFiles};
use memory::{Budget, BufferPool, CachePolicy, FileWriter, WriteOptions, cached_bytes, steps};
use sha2::{Digest, Sha256};

/// Bytes of a buffer, and of a write.
pub(crate) const BUFFER_BYTES: usize = 1 << 20;
/// All that the stream may hold: eight buffers.
const BUDGET_BYTES: u64 = 8 << 20;
/// Buffers on their way to the hasher.
const QUEUED_MAX: usize = 4;
/// How often the page cache is looked at.
const LOOK_EVERY_BYTES: u64 = 512 << 20;

/// What a stream took.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) wall_s: f64,
    pub(crate) cached_bytes_max: u64,
    pub(crate) cached_bytes_after: u64,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) digest: String,
}

/// The block of the stream with this number: a pattern, and the number in its first bytes.
pub(crate) fn stamp(block: &mut [u8], number: u64) {
    let stamp = number.to_le_bytes();
    let len = stamp.len().min(block.len());
    block[..len].copy_from_slice(&stamp[..len]);
}

/// What every block holds behind its number.
pub(crate) fn pattern() -> Vec<u8> {
    (0..BUFFER_BYTES).map(|index| (index * 31 % 251) as u8).collect()
}

/// Writes `len_bytes` to `target` and hashes them on a second thread.
pub(crate) fn write_and_hash(
    target: &Path,
    len_bytes: u64,
    cache: CachePolicy,
) -> Result<Outcome, Box<dyn Error>> {
    let start = Instant::now();
    let files: Arc<dyn FileSystem> = Arc::new(OsFiles::new());
    let pool = BufferPool::new(&Budget::new(BUDGET_BYTES), BUFFER_BYTES, 8);
    let options = WriteOptions { len_bytes: Some(len_bytes), cache };
    let writer = FileWriter::create(&files, target, options)?;
    let (send, receive) = sync_channel(QUEUED_MAX);
    let hasher = std::thread::spawn(move || hash(&receive));

    let mut pattern = pattern();
    let (mut offset, mut cached_bytes_max) = (0, 0);
    while offset < len_bytes {
        stamp(&mut pattern, offset / BUFFER_BYTES as u64);
        let len =
            usize::try_from(len_bytes - offset).map_or(BUFFER_BYTES, |it| it.min(BUFFER_BYTES));
        let mut buffer = pool.get_blocking()?;
        buffer.extend(&pattern[..len]);
        let bytes = buffer.freeze();
        send.send(bytes.clone())?;
        writer.write_at(&bytes, offset)?;
        offset += len as u64;
        if offset % LOOK_EVERY_BYTES == 0 {
            cached_bytes_max = cached_bytes_max.max(cached_bytes(writer.part())?);
        }
    }
    drop(send);
    writer.publish()?;
    let digest = hasher.join().map_err(|_| "the hasher panicked")?;
    let wall_s = start.elapsed().as_secs_f64();
    let cached_bytes_after = cached_bytes(target)?;
    let peak_rss_bytes = peak_rss_bytes()?;
    Ok(Outcome { wall_s, cached_bytes_max, cached_bytes_after, peak_rss_bytes, digest })
}

fn hash(blocks: &Receiver<Bytes>) -> String {
    let mut hash = Sha256::new();
    for block in blocks {
        steps(&block).for_each(|step| hash.update(step));
    }
    hex(&hash.finalize())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The most resident memory that this process ever had.
fn peak_rss_bytes() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
