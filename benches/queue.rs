//! Divan's table of `queue` and its peers.

#![forbid(unsafe_code)]

#[path = "peers/queue_peers.rs"]
mod queue_peers;

use benches::queue_bodies::DISPATCH_JOBS;
use benches::{Body, queue_bodies};
use divan::Bencher;
use divan::counter::ItemsCount;

/// Iterations between two readings of the clock: enough to drown the cost of reading it.
const BATCH: u64 = 1000;
/// The same where one iteration is many jobs: 100 000 in all.
const BATCH_OF_BATCHES: u64 = 100_000 / DISPATCH_JOBS;

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
    let (batch, jobs) = match body.case {
        "queue/dispatch" => (BATCH_OF_BATCHES, DISPATCH_JOBS),
        _ => (BATCH, 1),
    };
    let mut run = (body.prepare)();
    bencher.counter(ItemsCount::new(batch * jobs)).bench_local(|| run(batch));
}
