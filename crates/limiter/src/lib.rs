//! How fast, and how many at once: limits that are exact, fair and safe to cancel.
//!
//! A *rate limit* here is a token bucket: tokens (bytes, requests, anything that counts) drip in at a
//! rate, at most a burst of them is kept, and whoever wants some waits in line until they are there.
//! A *concurrency limit* is a number of permits.
//!
//! # The guarantee
//!
//! Over any interval of length `t` at most `burst + rate · t` tokens are granted; and while somebody
//! waits, no less than `rate · t` minus one request.
//!
//! # When to use it, and when not
//!
//! Use it to hold bytes per second or requests per second *inside one process*, where large and small
//! requests share a limit. Do not use it to hold a limit across machines, and do not expect it to shape
//! what the kernel has already taken from the network: a receive buffer fills at line rate.

#![forbid(unsafe_code)]
