//! What people see while models are measured.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use inference_bench::vision::Family;
use serde_json::json;

use crate::output::Output;

/// Without a terminal, a line so often.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// With `--json`, an event so often, and one for each picture of a batch.
const EVENT_EVERY: Duration = Duration::from_secs(1);

/// Live progress: a bar on a terminal, lines elsewhere, events with `--json`.
pub(super) struct Screen<'a> {
    output: &'a Output,
    bar: ProgressBar,
    json: bool,
    model: String,
    told: Instant,
}

impl<'a> Screen<'a> {
    pub(super) fn new(output: &'a Output, json: bool, model: &str) -> Self {
        let bar = if json || !std::io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            let style = ProgressStyle::with_template("{msg:32} {bar:32} {pos}/{len}  {elapsed}");
            ProgressBar::new(0).with_style(style.expect("the template is well formed"))
        };
        Self { output, bar, json, model: model.to_owned(), told: Instant::now() }
    }

    pub(super) fn show(&mut self, family: Family, done: u64, planned: u64) {
        self.bar.set_length(planned);
        self.bar.set_position(done);
        self.bar.set_message(format!("{} {family}", self.model));
        let every = if self.json { EVENT_EVERY } else { LINE_EVERY };
        let counts = self.json && family == Family::Batch;
        if !self.bar.is_hidden() || (!counts && done < planned && self.told.elapsed() < every) {
            return;
        }
        self.told = Instant::now();
        let model = &self.model;
        if self.json {
            self.output.event(
                "progress",
                json!({ "model": model, "family": family, "done": done, "planned": planned }),
            );
        } else {
            self.output.remark(&format!("{model} {family}: {done} of {planned}"));
        }
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
