//! Divan's table of the bodies of `inference-bench`.

#![forbid(unsafe_code)]

use benches::{Body, inference_bench_bodies};
use divan::Bencher;
use divan::counter::ItemsCount;

/// Iterations between two readings of the clock: enough to drown the cost of reading it.
const BATCH: u64 = 1000;

fn main() {
    divan::main();
}

/// A thousand iterations of one body.
#[divan::bench(args = inference_bench_bodies::BODIES)]
fn bodies(bencher: Bencher<'_, '_>, body: &Body) {
    let mut run = (body.prepare)();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| run(BATCH));
}
