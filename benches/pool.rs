//! Divan's table of `pool` and its peers.

#![forbid(unsafe_code)]

#[path = "peers/pool_peers.rs"]
mod pool_peers;

use benches::{Body, pool_bodies};
use divan::Bencher;
use divan::counter::ItemsCount;

/// Iterations between two readings of the clock: enough to drown the cost of starting the tasks.
const BATCH: u64 = 1000;

fn main() {
    divan::main();
}

fn bodies() -> impl Iterator<Item = &'static Body> {
    let mut all: Vec<_> = pool_bodies::BODIES.iter().chain(pool_peers::BODIES).collect();
    all.sort_by_key(|body| body.case);
    all.into_iter()
}

/// A thousand iterations of one body.
#[divan::bench(args = bodies())]
fn bodies_in_turn(bencher: Bencher<'_, '_>, body: &Body) {
    let mut run = (body.prepare)();
    run(BATCH);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| run(BATCH));
}
