//! Engines that misbehave on request: a gate that has never turned red proves nothing.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::engine::{Description, Engine, InferError, Tensor};

/// What goes wrong in each inference.
///
/// # Examples
///
/// ```
/// use inference_bench::vision::Fault;
///
/// assert_eq!(Fault::Leak { bytes: 64 }, "leak=64".parse()?);
/// assert!("leak".parse::<Fault>().is_err());
/// # Ok::<(), inference_bench::vision::NoFault>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// `delay=MS`: it takes so much longer.
    Delay(Duration),
    /// `leak=BYTES`: so much is never given back.
    Leak {
        /// How much.
        bytes: usize,
    },
    /// `error=N`: every N-th one fails.
    Error {
        /// Every which one.
        every: u64,
    },
    /// `crash=N`: the process dies in the N-th one.
    Crash {
        /// In which one, counted from 1.
        at: u64,
    },
}

/// A text that is no fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoFault {
    text: String,
}

impl fmt::Display for NoFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no fault `{}`; there are: delay=MS, leak=BYTES, error=N, crash=N", self.text)
    }
}

impl std::error::Error for NoFault {}

impl FromStr for Fault {
    type Err = NoFault;

    fn from_str(text: &str) -> Result<Self, NoFault> {
        let wrong = || NoFault { text: text.to_owned() };
        let (kind, number) = text.split_once('=').ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        match kind {
            "delay" => Ok(Self::Delay(Duration::from_millis(number))),
            "leak" => Ok(Self::Leak { bytes: number as usize }),
            "error" if 0 < number => Ok(Self::Error { every: number }),
            "crash" => Ok(Self::Crash { at: number }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delay(delay) => write!(f, "delay={}", delay.as_millis()),
            Self::Leak { bytes } => write!(f, "leak={bytes}"),
            Self::Error { every } => write!(f, "error={every}"),
            Self::Crash { at } => write!(f, "crash={at}"),
        }
    }
}

/// An engine with a fault.
pub(super) struct Faulty {
    engine: Box<dyn Engine>,
    fault: Fault,
    runs: AtomicU64,
}

impl Faulty {
    pub(super) fn new(engine: Box<dyn Engine>, fault: Fault) -> Self {
        Self { engine, fault, runs: AtomicU64::new(0) }
    }
}

impl Engine for Faulty {
    fn describe(&self) -> &Description {
        self.engine.describe()
    }

    fn infer(&self, input: &Tensor) -> Result<Vec<Tensor>, InferError> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        match self.fault {
            Fault::Delay(delay) => std::thread::sleep(delay),
            // A block that nobody looks at would not be taken at all in a release build.
            Fault::Leak { bytes } => std::mem::forget(std::hint::black_box(vec![0_u8; bytes])),
            Fault::Error { every } if run.is_multiple_of(every) => {
                return Err(InferError::new(format!("injected in inference {run}")));
            }
            Fault::Crash { at } if run == at => std::process::abort(),
            Fault::Error { .. } | Fault::Crash { .. } => {}
        }
        self.engine.infer(input)
    }
}
