//! What several modules of tests need.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use memory::files::simulated::SimulatedDisk;
use memory::files::{FileSystem, OsFiles};

/// The file that tests write and read.
pub(crate) const TARGET: &str = "/models/weights";

/// Polls once with a waker that does nothing.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// The machine's files.
pub(crate) fn os_files() -> Arc<dyn FileSystem> {
    Arc::new(OsFiles::new())
}

/// A simulated disk, and the same as what writers and readers take.
pub(crate) fn disk(seed: u64) -> (SimulatedDisk, Arc<dyn FileSystem>) {
    let disk = SimulatedDisk::new(seed);
    (disk.clone(), Arc::new(disk))
}

/// Bytes of which each says where it belongs.
pub(crate) fn content(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 % 251) as u8).collect()
}

/// The names in a folder of the machine, in order.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// How many cases a property tries: `MEMORY_TEST_CASES`, or few enough for every run.
pub(crate) fn cases(usual: u32) -> u32 {
    std::env::var("MEMORY_TEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}
