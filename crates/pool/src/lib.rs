//! Can this connection be used again: pools of anything that is dear to open.
//!
//! A pool keeps connections by key (a host, a shard), lends each to one user at a time and decides who
//! gets which one when: caps per key and in total, first come first served, idle ones evicted, dead ones
//! never handed out.
//!
//! # The guarantee
//!
//! At every instant `connecting + idle + leased + closing ≤ cap`, per key and in total; and
//! `opened = closed + live`, whatever is cancelled, whatever panics.
//!
//! # When to use it, and when not
//!
//! Use it where a number of live connections must be held and where you need to know how often they
//! were used again. Where neither matters, the pool inside an HTTP client is enough.

#![forbid(unsafe_code)]
