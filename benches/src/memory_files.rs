//! Whole files written in several ways, each told in plain numbers: for the suites `memory` and
//! `storage`, whose cases take seconds and are no bench bodies.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use bytes::Bytes;
use memory::files::{FileSystem, OsFiles};
use memory::{Budget, BufferPool, CachePolicy, FileWriter, WriteOptions, publish_all, steps};
use sha2::{Digest, Sha256};

/// Bytes of one write of the simple ways.
pub const PIECE_BYTES: usize = 1 << 20;

/// Bytes of one write of ours. What is hashed or written next is then in the processor's cache still: with
/// 1 MiB a hashed file reached 0.88 of the hash alone, with this 0.84 to 0.96 (2-core AMD EPYC).
const OUR_PIECE_BYTES: usize = 256 << 10;

/// What a stream of ours may hold.
const BUDGET_BYTES: u64 = 8 << 20;

/// Pieces of ours on their way to the hasher.
const QUEUED_MAX: usize = 16;

/// How a file is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// By `FileWriter`, published.
    Ours(CachePolicy),
    /// The same, hashed by another thread meanwhile.
    OursHashed(CachePolicy),
    /// By the standard library, synced.
    Std,
    /// The whole file in memory first, as those do who know no better.
    WholeBuffer,
    /// Hashed, not written.
    HashAlone,
}

/// What one file took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Written {
    /// Until it was durable.
    pub wall_s: f64,
    /// How much of it lay in the page cache then.
    pub cached_bytes: u64,
}

/// Writes `len_bytes` to `target` and makes them durable.
///
/// # Errors
///
/// Those of the file system.
pub fn write(target: &Path, len_bytes: u64, way: Way) -> Result<Written, Box<dyn Error>> {
    let start = Instant::now();
    match way {
        Way::Ours(cache) => ours(target, len_bytes, cache, |_| Ok(()))?,
        Way::OursHashed(cache) => ours_hashed(target, len_bytes, cache)?,
        Way::Std => by_std(target, len_bytes)?,
        Way::WholeBuffer => whole_buffer(target, len_bytes)?,
        Way::HashAlone => hash_alone(len_bytes),
    }
    let wall_s = start.elapsed().as_secs_f64();
    let there = way != Way::HashAlone;
    let cached_bytes = if there { memory::cached_bytes(target)? } else { 0 };
    Ok(Written { wall_s, cached_bytes })
}

/// Writes `files` files of `len_bytes` to `folder` and publishes them as one batch; returns the seconds.
///
/// # Errors
///
/// Those of the file system.
pub fn write_batch(folder: &Path, files: u32, len_bytes: u64) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let system: Arc<dyn FileSystem> = Arc::new(OsFiles::new());
    let piece = piece();
    let mut writers = Vec::new();
    for number in 0..files {
        let options = WriteOptions { len_bytes: Some(len_bytes), cache: CachePolicy::Keep };
        let target = folder.join(number.to_string());
        let writer = FileWriter::create(&system, &target, options)?;
        for_each_piece(len_bytes, PIECE_BYTES, |offset, len| {
            Ok(writer.write_at(&piece[..len], offset)?)
        })?;
        writers.push(writer);
    }
    publish_all(writers)?;
    Ok(start.elapsed().as_secs_f64())
}

fn ours(
    target: &Path,
    len_bytes: u64,
    cache: CachePolicy,
    mut also: impl FnMut(Bytes) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let files: Arc<dyn FileSystem> = Arc::new(OsFiles::new());
    let pool = BufferPool::new(&Budget::new(BUDGET_BYTES), OUR_PIECE_BYTES, 2 * QUEUED_MAX);
    let options = WriteOptions { len_bytes: Some(len_bytes), cache };
    let writer = FileWriter::create(&files, target, options)?;
    let piece = piece();
    for_each_piece(len_bytes, OUR_PIECE_BYTES, |offset, len| {
        let mut buffer = pool.get_blocking()?;
        let from = usize::try_from(offset)? % PIECE_BYTES;
        buffer.extend(&piece[from..from + len]);
        let bytes = buffer.freeze();
        also(bytes.clone())?;
        Ok(writer.write_at(&bytes, offset)?)
    })?;
    Ok(writer.publish()?)
}

fn ours_hashed(target: &Path, len_bytes: u64, cache: CachePolicy) -> Result<(), Box<dyn Error>> {
    let (send, receive) = sync_channel::<Bytes>(QUEUED_MAX);
    let hasher = std::thread::spawn(move || {
        let mut hash = Sha256::new();
        receive.iter().for_each(|bytes| steps(&bytes).for_each(|step| hash.update(step)));
        hash.finalize()
    });
    ours(target, len_bytes, cache, |bytes| Ok(send.send(bytes)?))?;
    drop(send);
    std::hint::black_box(hasher.join().map_err(|_| "the hasher panicked")?);
    Ok(())
}

fn by_std(target: &Path, len_bytes: u64) -> Result<(), Box<dyn Error>> {
    let mut file = File::create(target)?;
    let piece = piece();
    for_each_piece(len_bytes, PIECE_BYTES, |_, len| Ok(file.write_all(&piece[..len])?))?;
    Ok(file.sync_all()?)
}

fn whole_buffer(target: &Path, len_bytes: u64) -> Result<(), Box<dyn Error>> {
    let mut whole = Vec::with_capacity(usize::try_from(len_bytes)?);
    let piece = piece();
    for_each_piece(len_bytes, PIECE_BYTES, |_, len| {
        whole.extend_from_slice(&piece[..len]);
        Ok(())
    })?;
    fs::write(target, whole)?;
    Ok(File::open(target)?.sync_all()?)
}

fn hash_alone(len_bytes: u64) {
    let (piece, mut hash) = (piece(), Sha256::new());
    for _ in 0..len_bytes / PIECE_BYTES as u64 {
        steps(&piece).for_each(|step| hash.update(step));
    }
    std::hint::black_box(hash.finalize());
}

/// What every file here consists of, again and again.
#[must_use]
pub fn piece() -> Vec<u8> {
    (0..PIECE_BYTES).map(|index| (index % 251) as u8).collect()
}

/// Calls `write` with the offset and the length of each piece.
fn for_each_piece(
    len_bytes: u64,
    piece_bytes: usize,
    mut write: impl FnMut(u64, usize) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut offset = 0;
    while offset < len_bytes {
        let len = (len_bytes - offset).min(piece_bytes as u64);
        write(offset, usize::try_from(len)?)?;
        offset += len;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_writes_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let len_bytes = (3 << 20) + 5;
        let mut files = Vec::new();
        for way in [
            Way::Ours(CachePolicy::Keep),
            Way::Ours(CachePolicy::Drop),
            Way::OursHashed(CachePolicy::Auto),
            Way::Std,
            Way::WholeBuffer,
        ] {
            let target = folder.path().join("file");
            assert!(0.0 < write(&target, len_bytes, way).unwrap().wall_s);
            files.push(fs::read(target).unwrap());
        }
        assert!(files.iter().all(|file| file.len() as u64 == len_bytes && *file == files[0]));
        write_batch(folder.path(), 3, 100).unwrap();
        assert_eq!(100, fs::metadata(folder.path().join("2")).unwrap().len());
    }
}
