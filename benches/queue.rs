//! Divan's table of `queue` and its peers.

#![forbid(unsafe_code)]

#[path = "peers/queue_peers.rs"]
mod queue_peers;

use benches::{Body, queue_bodies};
use divan::Bencher;
use divan::counter::ItemsCount;

/// Iterations between two readings of the clock: enough to drown the cost of reading it.
const BATCH: u64 = 1000;

fn main() {
    divan::main();
}

/// A thousand iterations of one body of ours.
#[divan::bench(args = queue_bodies::BODIES)]
fn ours(bencher: Bencher<'_, '_>, body: &Body) {
    run(bencher, body);
}

/// A thousand iterations of one peer's body.
#[divan::bench(args = queue_peers::BODIES)]
fn peers(bencher: Bencher<'_, '_>, body: &Body) {
    run(bencher, body);
}

fn run(bencher: Bencher<'_, '_>, body: &Body) {
    let mut run = (body.prepare)();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| run(BATCH));
}
