//! How good is it, honestly.
//!
//! # The guarantee
//!
//! A number is printed with its interval, or it is `null` with the reason: `n < n(p)` never passes for a
//! percentile, and a verdict that the data cannot carry is `undecided`.
//!
//! # When to use it, and when not
//!
//! Use it to gate a change on a measurement, and to report one that others can check. It is no profiler:
//! it says how much, not why.

#![forbid(unsafe_code)]
