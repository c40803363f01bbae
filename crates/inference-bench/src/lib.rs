//! How good is it, honestly.
//!
//! The pure part, built without default features, is the judge of all our measurements: [`stats`] that
//! say how much they know, [`CaseRecord`]s, [`Limit`]s, [`Baseline`]s and the [`report`]. It reads no
//! clock and starts no process. So is all of [`sse`] and, but for the load generator and its ground truth,
//! of [`stream`]: what a stream of tokens says, and what its figures mean. Models that see are measured and
//! judged by `vision`.
//!
//! # The guarantee
//!
//! A number is printed with its interval, or it is `null` with the reason: `n < n(p)` never passes for a
//! percentile, and a verdict that the data cannot carry is `undecided`.
//!
//! # When to use it, and when not
//!
//! Use it to gate a change on a measurement, and to report one that others can check. It is no profiler:
//! it says how much, not why.
//!
//! # Examples
//!
//! Has a change made a command slower? Pairs that were measured side by side decide:
//!
//! ```
//! use inference_bench::ab::{Decision, Thresholds};
//!
//! let noise = |k: u32| 1.0 + f64::from(k * 7 % 5) / 100.0;
//! let pairs: Vec<(f64, f64)> = (0..15).map(|k| (noise(k), 1.08 * noise(k + 1))).collect();
//! let decision = Thresholds::default().decide(&pairs, 1);
//! assert_eq!(Decision::Slower, decision.expect("fifteen pairs are enough"));
//! ```
//!
//! # Features
//!
//! | feature | adds | default |
//! |---|---|---|
//! | `process` | running and measuring processes | with `cli` |
//! | `stream` | the load generator for streams of tokens, and the emitter (Linux only) | with `cli` |
//! | `tls` | `https` endpoints | with `cli` |
//! | `vision` | models that see: a zoo without downloads, the engine rten, requirement families (Linux only) | with `cli` |
//! | `ort` | ONNX Runtime as a second engine, its library found at run time | no |
//! | `cli` | the program `inference-bench` | yes |

#![forbid(unsafe_code)]

pub mod ab;
mod baseline;
mod case;
mod gate;
mod machine;
#[cfg(feature = "process")]
pub mod process;
pub mod report;
pub mod sse;
pub mod stats;
pub mod stream;
mod verdict;
#[cfg(feature = "vision")]
pub mod vision;

pub use baseline::{Baseline, BaselineError};
pub use case::CaseRecord;
pub use gate::{Limit, Side};
pub use machine::Fingerprint;
pub use verdict::{RunVerdict, Verdict, exit};

/// The README's example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
