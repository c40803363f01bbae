//! What a run leaves behind: the report, the raw records, the baseline.

use std::path::Path;

use inference_bench::report::Report;
use inference_bench::{RunVerdict, exit};

use crate::kept_figures::save_baseline;
use crate::output::{Output, write_report};

/// Where a run leaves what; `None` was not asked for.
pub(crate) struct Leavings<'a> {
    /// The folder of the report and its raw records.
    pub(crate) folder: Option<&'a Path>,
    /// The file of the baseline.
    pub(crate) baseline: Option<&'a Path>,
}

impl Leavings<'_> {
    /// Writes all of it. What cannot be written is told, and makes the run invalid where nothing worse did:
    /// its figures are still there to be told.
    pub(crate) fn write(&self, name: &str, report: &mut Report, lines: &str, output: &Output) {
        let written = self.folder.map_or(Ok(()), |folder| write_all(report, lines, folder));
        let saved = self.baseline.map_or(Ok(()), |path| save(name, report, path, output));
        for error in [written, saved].into_iter().filter_map(Result::err) {
            output.remark(&format!("error: {error}"));
            let worse = [exit::INTERRUPTED, exit::TERMINATED, exit::SUCCESS_RATE];
            if !worse.contains(&report.summary.exit_code) {
                report.summary.verdict = RunVerdict::Invalid;
                report.summary.exit_code = exit::INVALID;
            }
        }
    }
}

fn write_all(report: &Report, lines: &str, folder: &Path) -> Result<(), String> {
    write_report(report, folder)?;
    let path = folder.join("records.ndjson");
    std::fs::write(&path, lines)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Keeps the figures of a run that is whole and to be trusted: later ones are held against them.
fn save(name: &str, report: &Report, path: &Path, output: &Output) -> Result<(), String> {
    let verdict = report.summary.verdict;
    let is_partial = matches!(verdict, RunVerdict::Interrupted | RunVerdict::Invalid);
    if is_partial || report.summary.exit_code == exit::SUCCESS_RATE {
        output
            .remark(&format!("the baseline is left as it was: this run is no measure ({verdict})"));
        return Ok(());
    }
    save_baseline(name, report, path)
}
