//! The bodies of our benchmarks, each written once.
//!
//! A [`Body`] is run by three masters: divan prints tables for people (`cargo xtask bench`), the paired
//! sampler of the suite `micro` decides about regressions (`cargo xtask perf`), and `cargo test --benches`
//! runs each once and so checks its answer.

#![forbid(unsafe_code)]

mod body;

pub use body::{Body, Gate, Run};
