//! Why bytes were not given, and who holds them.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// What one consumer holds of a budget.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Consumer {
    /// The name given to [`Budget::named`](super::Budget::named).
    pub name: Arc<str>,
    /// Bytes reserved in that name.
    pub reserved_bytes: u64,
}

/// A reservation that could not be made; nothing was taken.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Refused {
    /// Bytes asked for.
    pub requested_bytes: u64,
    /// Bytes that were free.
    pub available_bytes: u64,
    /// The budget's limit.
    pub limit_bytes: u64,
    /// Requests that waited in line, and would have been overtaken.
    pub waiting: usize,
    /// Who holds most, largest first; at most [`LARGEST_MAX`](Self::LARGEST_MAX).
    pub largest: Vec<Consumer>,
}

impl Refused {
    /// How many consumers an error names: the three largest explain nearly every shortage, and fit on a
    /// line.
    pub const LARGEST_MAX: usize = 3;

    /// Returns whether no wait would help: more was asked for than the limit.
    pub fn is_final(&self) -> bool {
        self.limit_bytes < self.requested_bytes
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requested_bytes, available_bytes, limit_bytes, waiting, largest } = self;
        write!(f, "memory budget exhausted: {requested_bytes} B asked for, ")?;
        if self.is_final() {
            return write!(f, "which is more than its limit of {limit_bytes} B");
        }
        write!(f, "{available_bytes} B of {limit_bytes} B left")?;
        if 0 < *waiting {
            write!(f, ", {waiting} waiting before")?;
        }
        for (rank, consumer) in largest.iter().enumerate() {
            let before = if rank == 0 { "; largest: " } else { ", " };
            write!(f, "{before}{} {} B", consumer.name, consumer.reserved_bytes)?;
        }
        Ok(())
    }
}

impl Error for Refused {}
