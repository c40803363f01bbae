//! Streams of tokens from OpenAI-compatible endpoints: load, clocks, figures.
//!
//! A [`Drive`] sends what a [`Plan`] says to a [`Target`] and returns a [`RequestRecord`] for each planned
//! request; [`Figures`] are taken from the records, in our words or in those of another tool
//! ([`Dialect`]). Everything but the drive and the [`Emitter`] is pure and needs no feature.
//!
//! # The guarantee
//!
//! planned = sent + not sent: an open loop never waits for answers, what cannot be sent in time is sent
//! late and counted from the instant it was due, and what cannot be sent at all is listed. A gap between
//! tokens is measured or it is missing, never 0 because two events shared a read.
//!
//! # Clocks
//!
//! Where the system stamps what it receives (Linux, `SO_TIMESTAMPNS`), events carry the kernel's stamp:
//! what happens in this process afterwards cannot delay it. Elsewhere they carry our own, and reports say
//! so. [`calibrate`] says how wrong either is, on this machine under this load.
//!
//! # Examples
//!
//! ```
//! use inference_bench::stream::{Dialect, Figures, RequestRecord};
//!
//! # let lines = "";
//! let records: Result<Vec<RequestRecord>, _> = lines.lines().map(RequestRecord::from_line).collect();
//! let records = records?;
//! let ours = Figures::of(&records, Dialect::Ours, None);
//! let theirs = Figures::of(&records, Dialect::Vllm, None);
//! assert_eq!(ours.requests, theirs.requests);
//! # Ok::<(), String>(())
//! ```

mod arrivals;
pub mod calibrate;
#[cfg(any(feature = "stream", test))]
mod chunk;
mod dialect;
#[cfg(feature = "stream")]
mod drive;
#[cfg(feature = "stream")]
mod emitter;
mod figures;
mod findings;
mod goals;
mod plan;
mod plots;
mod record;
#[cfg(feature = "stream")]
mod seam;
mod search;
#[cfg(any(feature = "stream", test))]
mod sequence;
mod spread;
mod trace;
#[cfg(any(feature = "stream", test))]
mod transcript;

pub use arrivals::{Arrival, Arrivals};
pub use dialect::{Dialect, Latencies};
#[cfg(feature = "stream")]
pub use drive::{Drive, Progress, StampReport, StartError};
#[cfg(feature = "stream")]
pub use emitter::{Emitter, EmitterOptions, Fault, Misdeed};
pub use figures::{Figures, Requests, StreamingMetrics, Tokens};
pub use findings::{Demands, Findings};
pub use goals::Goals;
pub use plan::{ApiKey, Endpoint, Load, Plan, StampSource, Target};
pub use record::{Event, Failure, Kind, NotSent, Outcome, RequestRecord, Sequence};
pub use search::{Found, Probe, Search, SearchOptions};
pub use spread::Spread;
pub use trace::{Trace, TraceError, Traced};
