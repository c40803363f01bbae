//! Divan's table of `queue` and its peers.

#![forbid(unsafe_code)]

#[path = "peers/queue_peers.rs"]
mod queue_peers;

use benches::{Body, queue_bodies};
use divan::Bencher;
use divan::counter::ItemsCount;

/// Iterations between two readings of the clock: enough to drown the cost of reading it.
const BATCH: u64 = 1000;
/// Jobs that are dispatched between two readings: enough to fill the queue.
const JOBS: u64 = 100_000;

fn main() {
    divan::main();
}

/// A batch of iterations of one body of ours.
#[divan::bench(args = queue_bodies::BODIES)]
fn ours(bencher: Bencher<'_, '_>, body: &Body) {
    run(bencher, body);
}

/// A batch of iterations of one peer's body.
#[divan::bench(args = queue_peers::BODIES)]
fn peers(bencher: Bencher<'_, '_>, body: &Body) {
    run(bencher, body);
}

fn run(bencher: Bencher<'_, '_>, body: &Body) {
    let batch = if body.case == "queue/dispatch" { JOBS } else { BATCH };
    let mut run = (body.prepare)();
    bencher.counter(ItemsCount::new(batch)).bench_local(|| run(batch));
}
