//! The behavior of the crate through its public API.

mod slots;
mod slots_model;

#[cfg(feature = "tokio")]
mod known_failures;
#[cfg(feature = "tokio")]
mod leases;
#[cfg(feature = "tokio")]
mod support;
