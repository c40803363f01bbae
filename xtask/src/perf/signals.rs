//! SIGINT and SIGTERM: the build or the suite at work is ended with all that it started, and a run that had begun
//! leaves a valid partial report.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::steps::Failure;

/// Which signal came, if one came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    code: Arc<AtomicUsize>,
}

impl Signals {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let signals = Self::default();
        for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
            signal_hook::flag::register_usize(signal, signals.code.clone(), code)
                .map_err(|error| format!("cannot listen to signals: {error}"))?;
        }
        Ok(signals)
    }

    /// As if the signal with this exit code had come.
    #[cfg(test)]
    pub(crate) fn came(code: usize) -> Self {
        Self { code: Arc::new(AtomicUsize::new(code)) }
    }

    /// The exit code that the signal asks for.
    pub(crate) fn code(&self) -> Option<u8> {
        u8::try_from(self.code.load(Ordering::Relaxed)).ok().filter(|&code| code != 0)
    }
}
