//! SIGINT and SIGTERM end a run early, but in order: a valid partial report is left.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use inference_bench::exit;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Whether somebody wants the run to end, and the exit code for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    code: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Listens to both signals from now on.
    pub(crate) fn listen() -> io::Result<Self> {
        let interrupt = Self::default();
        signal_hook::flag::register_usize(
            SIGINT,
            interrupt.code.clone(),
            exit::INTERRUPTED.into(),
        )?;
        signal_hook::flag::register_usize(
            SIGTERM,
            interrupt.code.clone(),
            exit::TERMINATED.into(),
        )?;
        Ok(interrupt)
    }

    /// The exit code of the signal that came, if one came.
    pub(crate) fn code(&self) -> Option<u8> {
        let code = self.code.load(Ordering::Relaxed);
        u8::try_from(code).ok().filter(|&code| code != 0)
    }
}
