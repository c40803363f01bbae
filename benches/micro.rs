//! The suite `micro`: the bodies of all crates, and the peers' beside them.

#![forbid(unsafe_code)]

#[path = "peers/limiter_peers.rs"]
mod limiter_peers;
#[expect(dead_code, reason = "files are a matter of the suite `storage`")]
#[path = "peers/memory_peers.rs"]
mod memory_peers;

#[path = "peers/pool_peers.rs"]
mod pool_peers;
#[path = "peers/queue_peers.rs"]
mod queue_peers;

use std::process::ExitCode;

use benches::suite::{self, micro};
use benches::{
    Body, Gate, inference_bench_bodies, limiter_bodies, memory_bodies, pool_bodies, queue_bodies,
    std_bodies,
};

/// Who answers: our bodies, then the peers'.
const BODIES: &[&[Body]] = &[
    std_bodies::BODIES,
    inference_bench_bodies::BODIES,
    limiter_bodies::BODIES,
    limiter_peers::BODIES,
    memory_bodies::BODIES,
    memory_peers::BODIES,
    pool_bodies::BODIES,
    pool_peers::BODIES,
    queue_bodies::BODIES,
    queue_peers::BODIES,
];
/// What is demanded of ours.
const GATES: &[&[(&str, Gate)]] = &[
    inference_bench_bodies::GATES,
    limiter_bodies::GATES,
    memory_bodies::GATES,
    pool_bodies::GATES,
    queue_bodies::GATES,
];

fn main() -> ExitCode {
    suite::main(&micro::cases(&by_case(&BODIES.concat()), &GATES.concat()))
}

/// Brings those who answer the same question together, in the order of the first answer.
fn by_case(bodies: &[Body]) -> Vec<Body> {
    let mut sorted: Vec<Body> = bodies.to_vec();
    sorted.sort_by_key(|body| bodies.iter().position(|other| other.case == body.case));
    sorted
}
