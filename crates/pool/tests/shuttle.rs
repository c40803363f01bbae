//! Schedules of the async pool under a checker.
