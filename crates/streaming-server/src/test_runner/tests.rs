//! The runner against the table that a server calls it with.

use super::*;
