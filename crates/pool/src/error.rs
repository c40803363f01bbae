//! Why there is no connection.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::connect::BoxError;

/// Why a caller got no connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum GetError {
    /// The pool was closed.
    Closed,
    /// As many callers wait already as may.
    TooManyWaiting {
        /// How many may.
        waiters_max: usize,
    },
    /// No connection came free in time.
    TimedOut {
        /// The caller's limit.
        after: Duration,
    },
    /// A connection could not be opened.
    Connect(BoxError),
    /// Opening a connection took too long.
    ConnectTimedOut {
        /// The pool's limit.
        after: Duration,
    },
    /// The connector panicked, or the runtime that it ran on was shut down.
    ConnectAborted,
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(f, "the pool is closed"),
            Self::TooManyWaiting { waiters_max } => {
                write!(f, "{waiters_max} callers wait already, no more may: ask for less at once")
            }
            Self::TimedOut { after } => {
                write!(f, "no connection came free within {} ms", after.as_millis())
            }
            Self::Connect(_) => write!(f, "cannot connect"),
            Self::ConnectTimedOut { after } => {
                write!(f, "connecting took longer than {} ms", after.as_millis())
            }
            Self::ConnectAborted => {
                write!(f, "connecting was cut off: the connector panicked or its runtime ended")
            }
        }
    }
}

impl Error for GetError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(source) => Some(&**source),
            _ => None,
        }
    }
}
