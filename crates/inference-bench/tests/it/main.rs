//! The program as a script sees it, and its reports as their readers do.

mod commands;
mod schema;
