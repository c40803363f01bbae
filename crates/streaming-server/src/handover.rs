//! From the runner's thread to the I/O threads and back.
//!
//! Tokens go one way: [`Steps`] collects those of a step, [`Outlet`] hands them over with one wake,
//! [`Stream`] keeps those of one client. Room goes the other way: [`Credit`] says how much a stream
//! holds, [`Inbox`] brings starts, cancellations and the news that there is room again.
//!
//! # Why nothing is lost
//!
//! Nothing here drops a token. A runner that finds a stream full pauses the sequence; what was handed
//! over lies in exactly one place, in order: the steps of the outlet, then the stream.

mod credit;
mod inbox;
mod outlet;
mod stream;

pub(crate) use self::credit::Credit;
pub(crate) use self::inbox::{Command, Inbox, Start, Until};
pub(crate) use self::outlet::{Outlet, Piece, PieceKind, Steps};
pub(crate) use self::stream::{Failure, Pending, Stream};

#[cfg(feature = "shuttle")]
pub mod checked;
