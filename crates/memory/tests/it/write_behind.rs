//! How a writer keeps what it wrote out of the page cache.

use std::path::Path;
use std::sync::Arc;

use memory::files::simulated::SimulatedDisk;
use memory::files::{FileSystem, Handle, Open};
use memory::{CachePolicy, FileWriter, WriteOptions};

use crate::support::TARGET;

/// A handle that cannot write past the cache, and records what it is asked about the cache.
#[derive(Debug)]
struct Recording(Arc<dyn Handle>, Arc<parking_lot::Mutex<Vec<(char, u64)>>>);

impl Handle for Recording {
    fn len_bytes(&self) -> std::io::Result<u64> {
        self.0.len_bytes()
    }
    fn id(&self) -> std::io::Result<(u64, u64)> {
        self.0.id()
    }
    fn read_at(&self, into: &mut [u8], offset: u64) -> std::io::Result<usize> {
        self.0.read_at(into, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<usize> {
        self.0.write_at(bytes, offset)
    }
    fn write_uncached_at(&self, _: &[u8], offset: u64) -> std::io::Result<usize> {
        self.1.lock().push(('u', offset));
        Err(std::io::ErrorKind::Unsupported.into())
    }
    fn start_writeback(&self, range: std::ops::Range<u64>) -> std::io::Result<()> {
        self.1.lock().push(('s', range.end));
        Ok(())
    }
    fn finish_writeback(&self, range: std::ops::Range<u64>) -> std::io::Result<()> {
        self.1.lock().push(('f', range.end));
        Ok(())
    }
    fn drop_cached(&self, range: std::ops::Range<u64>) {
        self.1.lock().push(('d', range.end));
    }
    fn set_len(&self, len_bytes: u64) -> std::io::Result<()> {
        self.0.set_len(len_bytes)
    }
    fn sync(&self) -> std::io::Result<()> {
        self.0.sync()
    }
}

#[derive(Debug)]
struct RecordingFiles(SimulatedDisk, Arc<parking_lot::Mutex<Vec<(char, u64)>>>);

impl FileSystem for RecordingFiles {
    fn open(&self, path: &Path, how: Open) -> std::io::Result<Arc<dyn Handle>> {
        Ok(Arc::new(Recording(self.0.open(path, how)?, Arc::clone(&self.1))))
    }
    fn create_folders(&self, folder: &Path) -> std::io::Result<()> {
        self.0.create_folders(folder)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        self.0.remove(path)
    }
    fn sync_folder(&self, folder: &Path) -> std::io::Result<()> {
        self.0.sync_folder(folder)
    }
    fn names(&self, folder: &Path) -> std::io::Result<Vec<std::ffi::OsString>> {
        self.0.names(folder)
    }
    fn free_bytes(&self, folder: &Path) -> std::io::Result<u64> {
        self.0.free_bytes(folder)
    }
}

#[test]
fn a_disk_that_cannot_write_past_the_cache_is_asked_once_and_then_flushed_behind() {
    let calls = Arc::default();
    let files: Arc<dyn FileSystem> =
        Arc::new(RecordingFiles(SimulatedDisk::new(0), Arc::clone(&calls)));
    let options = WriteOptions { len_bytes: None, cache: CachePolicy::Drop };
    let writer = FileWriter::create(&files, Path::new(TARGET), options).unwrap();
    let piece = vec![1; 4 << 20];
    for index in 0..6 {
        writer.write_at(&piece, index * (4 << 20)).unwrap();
    }
    writer.publish().unwrap();
    let mib = |end: u64| end << 20;
    let expected = [
        ('u', 0),
        ('s', mib(8)),
        ('s', mib(16)),
        ('f', mib(8)),
        ('s', mib(24)),
        ('f', mib(16)),
        ('d', mib(24)),
    ];
    assert_eq!(expected, calls.lock()[..]);
}

#[test]
fn what_is_kept_is_left_alone() {
    let calls = Arc::default();
    let files: Arc<dyn FileSystem> =
        Arc::new(RecordingFiles(SimulatedDisk::new(0), Arc::clone(&calls)));
    let options = WriteOptions { len_bytes: None, cache: CachePolicy::Keep };
    let writer = FileWriter::create(&files, Path::new(TARGET), options).unwrap();
    writer.write_at(&vec![1; 20 << 20], 0).unwrap();
    writer.publish().unwrap();
    assert!(calls.lock().is_empty());
}
