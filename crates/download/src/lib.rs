//! Is the whole file here, and is it the right one.
//!
//! # The guarantee
//!
//! `published ⇒ verified`: what stands at its final path has the digest that was asked for, or, where
//! none is known, the exact length, and is then reported as such.
//!
//! # When to use it, and when not
//!
//! Use it for large files and whole model repositories that must arrive complete and right, on links
//! that stall and servers that change their mind. For one small request an HTTP client is simpler.
//!
//! Nothing is implemented yet.

#![forbid(unsafe_code)]
