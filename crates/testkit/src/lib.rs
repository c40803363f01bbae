//! The outside world, under control: servers and links that are slow, lossy or lying on command.
//!
//! # The guarantee
//!
//! Byte `i` of a blob is a function of its seed and `i` alone, so any client's copy can be checked
//! without storing the original; each injected fault is counted.
//!
//! # When to use it, and when not
//!
//! Use it to test any downloader, SSE client or proxy against a web that misbehaves. It listens on
//! loopback only and is no production server.

#![forbid(unsafe_code)]
