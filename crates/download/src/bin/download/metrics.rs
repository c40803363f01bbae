//! The metrics file: Prometheus' text format, replaced in one step.

use std::fmt::Write;
use std::path::Path;

use download::Traffic;
use memory::files::FileError;

use crate::replace::replace;
use crate::watch::Told;

/// Writes the file.
pub(crate) fn write(path: &Path, told: &impl Told, traffic: &Traffic) -> Result<(), FileError> {
    let (n_done, n_failed, bytes, seconds) = told.figures();
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "# HELP download_{name} {help}\n# TYPE download_{name} {kind}\ndownload_{name} {value}\n"
        );
    };
    let mut counter = |name: &str, help: &str, value: u64| {
        metric(name, "counter", help, value.to_string());
    };
    counter("files_done_total", "Files that are here.", n_done as u64);
    counter("files_failed_total", "Files that could not be had.", n_failed as u64);
    counter("bytes_total", "Bytes that are here.", bytes);
    counter("fetched_bytes_total", "Bytes that came over the network.", traffic.fetched_bytes);
    counter("hedged_bytes_total", "Bytes fetched twice to save a tail.", traffic.hedged_bytes);
    counter("requests_total", "Requests sent.", traffic.requests);
    counter("retries_total", "Failures after which it was tried again.", traffic.retries);
    counter("stalls_total", "Replies that stopped coming.", traffic.stalls);
    counter("connections_opened_total", "Connections opened.", traffic.opened);
    counter("connections_reused_total", "Requests over an open connection.", traffic.reused);
    for (name, help, value) in told.gauges() {
        metric(name, "gauge", help, value.to_string());
    }
    metric("duration_seconds", "gauge", "Time since the start.", format!("{seconds:.3}"));
    replace(path, &text)
}
