//! The behavior of the crate through its public API.

#![forbid(unsafe_code)]
#![cfg_attr(
    feature = "tokio",
    expect(clippy::unwrap_used, reason = "a test that cannot go on says where")
)]

mod slots;
mod slots_model;

#[cfg(feature = "tokio")]
mod known_failures;
#[cfg(feature = "tokio")]
mod leases;
#[cfg(feature = "tokio")]
mod support;
#[cfg(feature = "tokio")]
mod waits;

#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod http_proxies;
#[cfg(feature = "http")]
mod http_races;
#[cfg(feature = "http")]
mod http_server;
#[cfg(feature = "http")]
mod http_uploads;
#[cfg(feature = "http")]
mod real_time;
#[cfg(feature = "tls")]
mod tls;
