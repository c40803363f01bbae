//! How much, and is there pressure: byte budgets, buffers, and files that stream.
//!
//! # The guarantee
//!
//! At every instant `Σ reserved ≤ limit`, and each byte is given back exactly once; a file appears under
//! its name whole and durable, or not at all.
//!
//! # When to use it, and when not
//!
//! Use it where a program must live within a share of a machine, above all in a container, where page
//! cache is counted as use. It does not replace the allocator and does not see what is never reserved.
