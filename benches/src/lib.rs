//! The bodies of our benchmarks, each written once, and the frame of the perf suites.
//!
//! A [`Body`] is run by three masters: divan prints tables for people (`cargo xtask bench`), the paired
//! sampler of the suite `micro` decides about regressions (`cargo xtask perf`), and
//! `cargo test --benches` runs each once and so checks its answer.
//!
//! What answers a question with our code is here, a module per crate; what answers it with a peer's
//! crate is in `peers/`, which only bench targets include, so that peers stay dev-dependencies.
//!
//! A suite is a program that prints one [`inference_bench::CaseRecord`] a line; [`suite`] is its frame.

#![forbid(unsafe_code)]

mod body;
pub mod download_world;
pub mod inference_bench_bodies;
pub mod limiter_bodies;
pub mod limiter_precision;
pub mod memory_bodies;
pub mod memory_files;
mod meter;
pub mod model_cases;
pub mod model_world;
mod pace;
pub mod pool_bodies;
pub mod queue_bodies;
pub mod sampler;
pub mod std_bodies;
pub mod stream_behavior;
pub mod stream_child;
pub mod stream_client;
pub mod stream_direct;
pub mod stream_ground_truth;
pub mod stream_instrument;
pub mod stream_overload;
pub mod suite;

pub use body::{Body, Gate, Run};
pub use meter::{Cost, Meter};
