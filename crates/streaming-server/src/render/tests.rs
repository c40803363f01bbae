//! Events, byte by byte.
