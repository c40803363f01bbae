//! What the kernel says about this process's memory.
//!
//! Source: `proc_pid_clear_refs(5)`, `proc_pid_status(5)`.

use std::fs;

/// Resets the mark of the largest resident set.
const RESET_PEAK: &str = "5";

/// Lets the peak begin anew from what is resident now. Returns whether the kernel did so.
pub(super) fn reset_peak() -> bool {
    fs::write("/proc/self/clear_refs", RESET_PEAK).is_ok()
}

/// The largest resident set since the last reset, in bytes.
pub(super) fn peak_bytes() -> Option<u64> {
    status("VmHWM:")
}

/// The resident set, in bytes.
pub(super) fn resident_bytes() -> Option<u64> {
    status("VmRSS:")
}

fn status(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}
