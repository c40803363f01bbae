//! What the drive takes from outside: clocks, an alarm, and sockets that stamp what they receive.

mod alarm;
mod clock;
mod stamped;

pub(super) use alarm::Alarm;
pub(super) use clock::Clock;
pub(super) use stamped::{StampCounts, Stamped, Stamps};
