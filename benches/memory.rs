//! Divan's table of `memory`, the peers beside ours.

#![forbid(unsafe_code)]

#[path = "peers/memory_peers.rs"]
mod memory_peers;

use benches::{Body, memory_bodies};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};

/// Iterations between two readings of the clock: enough to drown the cost of reading it.
const BATCH: u64 = 1000;

/// Each writes megabytes and waits for the disk.
const FILE_SAMPLES: u32 = 10;

fn main() {
    divan::main();
}

fn bodies() -> Vec<Body> {
    [memory_bodies::BODIES, memory_peers::BODIES].concat()
}

fn file_bodies() -> Vec<Body> {
    [memory_bodies::FILE_BODIES, memory_peers::FILE_BODIES].concat()
}

/// A thousand iterations of one body.
#[divan::bench(args = bodies(), sample_count = 20)]
fn memory(bencher: Bencher<'_, '_>, body: &Body) {
    let mut run = (body.prepare)();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| run(BATCH));
}

/// One file, written and made durable.
#[divan::bench(args = file_bodies(), sample_count = FILE_SAMPLES, sample_size = 1)]
fn files(bencher: Bencher<'_, '_>, body: &Body) {
    let mut run = (body.prepare)();
    bencher.counter(BytesCount::new(memory_bodies::FILE_BYTES)).bench_local(|| run(1));
}
