//! Why there is no reply, or not all of it.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use super::origin::Origin;
use crate::error::GetError;

/// Why there is no reply.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The request cannot be sent as it is.
    InvalidRequest(
        /// What is wrong with it.
        &'static str,
    ),
    /// There is no connection.
    NoConnection {
        /// To where.
        origin: Origin,
        /// Why.
        source: GetError,
    },
    /// The head of the reply did not come in time.
    HeadTimedOut {
        /// From where.
        origin: Origin,
        /// The client's limit.
        after: Duration,
    },
    /// The connection failed, or what came was no reply.
    Exchange {
        /// With whom.
        origin: Origin,
        /// What failed.
        source: hyper::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidRequest(what) => write!(f, "the request cannot be sent: {what}"),
            Self::NoConnection { origin, .. } => write!(f, "no connection to {origin}"),
            Self::HeadTimedOut { origin, after } => {
                write!(f, "{origin} did not begin to reply within {} ms", after.as_millis())
            }
            Self::Exchange { origin, .. } => write!(f, "the exchange with {origin} failed"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::NoConnection { source, .. } => Some(source),
            Self::Exchange { source, .. } => Some(source),
            Self::InvalidRequest(_) | Self::HeadTimedOut { .. } => None,
        }
    }
}

/// Why the body of a reply ends too early.
#[derive(Debug)]
#[non_exhaustive]
pub enum BodyError {
    /// Nothing came for too long.
    Stalled {
        /// The client's limit.
        after: Duration,
    },
    /// The connection failed, or the body is malformed or shorter than announced.
    Broken(hyper::Error),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled { after } => {
                write!(f, "nothing of the body came for {} ms", after.as_millis())
            }
            Self::Broken(_) => write!(f, "the body ended before its end"),
        }
    }
}

impl StdError for BodyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Stalled { .. } => None,
            Self::Broken(source) => Some(source),
        }
    }
}
