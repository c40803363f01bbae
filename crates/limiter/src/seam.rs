//! The clock and the timer: tokio's, or a checker's.

#[cfg(any(feature = "loom", feature = "shuttle"))]
mod by_hand;
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
mod of_tokio;

#[cfg(any(feature = "loom", feature = "shuttle"))]
pub use self::by_hand::Clock;
#[cfg(any(feature = "loom", feature = "shuttle"))]
pub(crate) use self::by_hand::Timer;
#[cfg(not(any(feature = "loom", feature = "shuttle")))]
pub(crate) use self::of_tokio::{Clock, Timer};
