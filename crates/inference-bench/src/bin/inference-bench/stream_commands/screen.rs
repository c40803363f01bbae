//! What people see while a load runs, and of what came of it.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use inference_bench::stream::Progress;
use serde_json::json;

use crate::output::Output;

/// Without a terminal, a line so often.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// With `--json`, an event so often.
const EVENT_EVERY: Duration = Duration::from_secs(1);

/// Live progress: a line that renews itself on a terminal, lines elsewhere, events with `--json`.
pub(crate) struct Screen<'a> {
    output: &'a Output,
    bar: ProgressBar,
    json: bool,
    load: String,
    begin: Instant,
    told: Instant,
}

impl<'a> Screen<'a> {
    pub(crate) fn new(output: &'a Output, json: bool, load: String) -> Self {
        let bar = if json || !std::io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed}");
            ProgressBar::new_spinner().with_style(style.expect("the template is well formed"))
        };
        let now = Instant::now();
        Self { output, bar, json, load, begin: now, told: now }
    }

    pub(crate) fn show(&mut self, progress: Progress) {
        let every = if self.json { EVENT_EVERY } else { LINE_EVERY };
        if !self.bar.is_hidden() {
            self.bar.set_message(self.words(progress));
            self.bar.tick();
        } else if every <= self.told.elapsed() {
            self.told = Instant::now();
            let Progress { in_flight, ok, failed, not_sent, tokens, .. } = progress;
            if self.json {
                self.output.event(
                    "progress",
                    json!({ "load": self.load, "in_flight": in_flight, "ok": ok, "failed": failed,
                        "not_sent": not_sent, "tokens": tokens }),
                );
            } else {
                self.output.remark(&self.words(progress));
            }
        }
    }

    fn words(&self, progress: Progress) -> String {
        let Progress { in_flight, ok, failed, not_sent, tokens, .. } = progress;
        let rate = tokens as f64 / self.begin.elapsed().as_secs_f64().max(1e-3);
        let mut words =
            format!("{}: {in_flight} under way, {ok} done, {rate:.0} tokens/s", self.load);
        for (n, what) in [(failed, "failed"), (not_sent, "not sent")] {
            if 0 < n {
                words += &format!(", {n} {what}");
            }
        }
        words
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
