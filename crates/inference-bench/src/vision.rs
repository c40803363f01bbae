//! Models that see: does one load, run, fit and keep its time, and what does it cost.
//!
//! [`onnx`], [`zoo`] and the judging parts are pure. [`engine`]s run models, a [`pipeline`] takes a
//! [`picture`] to boxes, and [`measure()`] does so as often as a [`Plan`] has it, in the caller's process.
//! What was measured ([`Figures`]) is judged by [`Targets`]: [`judge`] makes cases of it, [`recommend()`]
//! says what to do.
//!
//! # Examples
//!
//! ```
//! use inference_bench::vision::{Figures, Targets, judge};
//!
//! let mut figures = Figures::default();
//! figures.facts.name = "model".to_owned();
//! figures.load_ms = vec![40.0, 50.0, 45.0];
//! figures.tried = 3;
//! let cases = judge(&figures, &Targets::default()).cases;
//! assert_eq!(Some(45.0), cases[1].value);
//! ```

pub mod engine;
mod families;
mod fault;
mod figures;
mod measure;
pub mod onnx;
pub mod picture;
pub mod pipeline;
mod plan;
mod plots;
mod recommend;
mod reference;
mod seam;
pub mod zoo;

pub use self::families::{Family, Judged, NoFamily, Targets, judge};
pub use self::fault::{Fault, NoFault};
pub use self::figures::{Batch, Cleanup, Facts, Figures, Growth, OfPicture, Sample};
pub use self::measure::{MeasureError, Observer, Step, load, measure};
pub use self::plan::{EngineKind, Mode, Plan, Subject};
pub use self::plots::plots;
pub use self::recommend::recommend;
