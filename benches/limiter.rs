//! Divan's table of `limiter`, the peers beside ours.

#![forbid(unsafe_code)]

#[path = "peers/limiter_peers.rs"]
mod limiter_peers;

use benches::limiter_bodies::CONTENDED_REQUESTS;
use benches::{Body, limiter_bodies};
use divan::Bencher;
use divan::counter::ItemsCount;

/// Iterations between two readings of the clock: enough to drown the cost of reading it, and of starting
/// two threads where a body does.
const BATCH: u64 = 10_000;

fn main() {
    divan::main();
}

fn bodies() -> Vec<Body> {
    [limiter_bodies::BODIES, limiter_peers::BODIES].concat()
}

/// Ten thousand requests by one body; where two threads contend, of each.
#[divan::bench(args = bodies(), sample_count = 100, sample_size = 1)]
fn limiter(bencher: Bencher<'_, '_>, body: &Body) {
    let (batch, requests) = match body.case {
        "limiter/contended" => (1, 2 * CONTENDED_REQUESTS),
        _ => (BATCH, BATCH),
    };
    let mut run = (body.prepare)();
    bencher.counter(ItemsCount::new(requests)).bench_local(|| run(batch));
}
