//! Who may generate, and do tokens leave at once.
//!
//! # The guarantee
//!
//! `sent = produced`, in order, for every stream that is not cut; and a stream that is cut says so.
//!
//! # When to use it, and when not
//!
//! Use it as the front of a model runner that produces tokens in steps. It computes no tokens itself.
//!
//! Nothing is implemented yet.

#![forbid(unsafe_code)]
