//! The bodies of our benchmarks, each written once.
//!
//! A [`Body`] is run by three masters: divan prints tables for people (`cargo xtask bench`), the paired
//! sampler of the suite `micro` decides about regressions (`cargo xtask perf`), and
//! `cargo test --benches` runs each once and so checks its answer.
//!
//! What answers a question with our code is here, a module per crate; what answers it with a peer's
//! crate is in `peers/`, which only bench targets include, so that peers stay dev-dependencies.

#![forbid(unsafe_code)]

mod body;
pub mod limiter_bodies;
pub mod limiter_precision;
pub mod std_bodies;

pub use body::{Body, Gate, Run};
