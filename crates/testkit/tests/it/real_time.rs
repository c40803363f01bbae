//! In real time.
