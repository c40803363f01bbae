//! Running sequences: which belong to which stream, how far they are, where they end.
//!
//! The [`Table`] is pure: it takes the time as an argument. `thread` calls a runner with it.

mod filter;
mod table;
mod thread;

use std::time::Instant;

#[cfg(fuzzing)]
pub(crate) use self::filter::Filter;
pub(crate) use self::table::Table;
pub(crate) use self::thread::{Engine, Factory};
use crate::runner::{FinishReason, Push, SequenceId, Token};

/// One step of a runner: where its tokens go.
#[derive(Debug)]
pub struct Step<'a> {
    table: &'a mut Table,
    now: Instant,
    now_ns: u64,
}

impl<'a> Step<'a> {
    pub(crate) fn new(table: &'a mut Table, now: Instant, now_ns: u64) -> Self {
        Self { table, now, now_ns }
    }

    /// When the step began.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Sends one token of a sequence on its way.
    ///
    /// Allocates nothing once the step's buffer has its size. Tokens of one sequence arrive in the
    /// order of their pushes.
    pub fn push(&mut self, id: SequenceId, token: Token<'_>) -> Push {
        self.table.push(id, token, self.now_ns)
    }

    /// Ends a sequence because the model does. Not for `max_tokens`, which the server counts.
    pub fn finish(&mut self, id: SequenceId) {
        self.table.finish(id, FinishReason::Stop, self.now_ns);
    }

    /// How many sequences run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.table.running()
    }
}
