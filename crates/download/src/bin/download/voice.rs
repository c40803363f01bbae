//! How a run is told: results on stdout, the rest on stderr.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use download::{Error, ErrorKind, Event, Fetched, How, Traffic, Verified, told};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::exit;

/// Speaks for one run.
pub(crate) struct Voice {
    json: bool,
    bars: Option<MultiProgress>,
    start: Instant,
    /// That another process fetches the same was said.
    has_told_of_others: AtomicBool,
}

impl Voice {
    pub(crate) fn new(json: bool) -> Self {
        let bars = std::io::stderr()
            .is_terminal()
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        Self { json, bars, start: Instant::now(), has_told_of_others: AtomicBool::new(false) }
    }

    pub(crate) fn has_bars(&self) -> bool {
        self.bars.is_some()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Files done, those that failed by the exit codes of all, bytes, seconds.
    pub(crate) fn figures(
        &self,
        codes: &[u8],
        n_done: usize,
        bytes: u64,
    ) -> (usize, usize, u64, f64) {
        let n_failed = codes.iter().filter(|&&code| code != exit::OK).count();
        (n_done, n_failed, bytes, self.elapsed().as_secs_f64())
    }

    /// A new bar, on a terminal.
    pub(crate) fn bar(&self, length: u64, template: &str, message: &str) -> Option<ProgressBar> {
        let bar = self.bars.as_ref()?.add(ProgressBar::new(length));
        bar.set_style(ProgressStyle::with_template(template).expect("our templates are right"));
        Some(bar.with_message(message.to_owned()))
    }

    /// An event, where those were asked for.
    pub(crate) fn print(&self, event: &Value) {
        if !self.json {
            return;
        }
        let mut event = event.clone();
        event["t_ms"] = (self.start.elapsed().as_millis() as u64).into();
        write(&event.to_string());
    }

    /// A result, where events were not asked for.
    pub(crate) fn result(&self, line: &str) {
        if !self.json {
            write(line);
        }
    }

    /// A line on stderr, above the bars.
    pub(crate) fn say(&self, line: &str) {
        let line = line.replace(|c: char| c.is_control(), " ");
        let _ = match &self.bars {
            Some(bars) => bars.println(line),
            None => writeln!(std::io::stderr(), "{line}"),
        };
    }

    /// What delays a file.
    pub(crate) fn delay(&self, path: &str, event: &Event) {
        match event {
            Event::Retry { attempt, wait, reason } => {
                let wait_ms = wait.as_millis() as u64;
                self.print(&json!({ "event": "retry", "path": path, "attempt": attempt,
                    "wait_ms": wait_ms, "reason": reason }));
                self.say(&format!("retry {attempt} of {path} in {wait_ms} ms: {reason}"));
            }
            Event::Restart { attempt, reason } => {
                self.print(
                    &json!({ "event": "retry", "path": path, "attempt": attempt, "wait_ms": 0,
                    "reason": format!("begun anew: {reason}") }),
                );
                self.say(&format!("{path} is begun anew: {reason}"));
            }
            // Once: of a model of ten thousand files another process has each.
            Event::Waiting if !self.has_told_of_others.swap(true, Ordering::Relaxed) => {
                self.say(&format!("{path}: another process fetches it, waiting for that"));
            }
            Event::Held { wait } => {
                let wait_ms = wait.as_millis() as u64;
                let reason = "its server wants to be left alone";
                self.print(&json!({ "event": "retry", "path": path, "attempt": 0,
                    "wait_ms": wait_ms, "reason": reason }));
                self.say(&format!("{path} waits {wait_ms} ms: {reason}"));
            }
            _ => {}
        }
    }

    /// What a run, or a model of it, failed by, and what to do about it.
    pub(crate) fn failure(&self, error: &Error, path: &str) {
        let (kind, message) = (error.kind(), told(error));
        let advice = exit::advice(kind).map(|advice| format!("; {advice}")).unwrap_or_default();
        self.say(&format!("error: {message}{advice}"));
        self.print(&error_event(kind, (error.object(), path), &message));
    }

    /// What failed as well; what to do about it is told with the gravest.
    pub(crate) fn failed_too(&self, kind: ErrorKind, names: (&str, &str), message: &str) {
        self.say(&format!("error: {message}"));
        self.print(&error_event(kind, names, message));
    }

    /// The last event.
    pub(crate) fn end(
        &self,
        code: u8,
        signal: Option<u8>,
        figures: (usize, u64),
        traffic: &Traffic,
    ) {
        let status = match (signal, code) {
            (Some(_), _) => "interrupted",
            (None, exit::OK) => "done",
            _ => "failed",
        };
        let (files, bytes) = figures;
        self.print(&json!({ "event": "end", "status": status, "exit_code": code,
            "files": files, "bytes": bytes, "fetched_bytes": traffic.fetched_bytes,
            "hedged_bytes": traffic.hedged_bytes, "requests": traffic.requests,
            "opened": traffic.opened, "reused": traffic.reused, "retries": traffic.retries,
            "stalls": traffic.stalls, "recycled": traffic.recycled }));
        if signal.is_some() {
            self.say("interrupted; run again, it goes on where it was");
        }
        if let Some(bars) = &self.bars {
            // What cannot be cleared stays on the screen.
            let _ = bars.clear();
        }
    }
}

fn error_event(kind: ErrorKind, (object, path): (&str, &str), message: &str) -> Value {
    json!({ "event": "error", "kind": exit::name(kind), "object": object, "path": path,
        "message": message })
}

/// The event of a file that is here.
pub(crate) fn file_event(path: &str, fetched: &Fetched) -> Value {
    let how = match fetched.how {
        How::Resumed => "resumed",
        How::Unchanged => "unchanged",
        How::Linked => "linked",
        _ => "fetched",
    };
    let verified = match (fetched.verified, fetched.digest) {
        (Verified::Digest, Some(download::Digest::Sha256(_))) => "sha256",
        (Verified::Digest, _) => "git-sha1",
        _ => "length",
    };
    json!({ "event": "file", "path": path, "bytes": fetched.bytes,
        "fetched_bytes": fetched.fetched_bytes, "hedged_bytes": fetched.hedged_bytes,
        "digest": fetched.digest.map(|digest| format!("{digest:?}")), "verified": verified, "how": how })
}

/// A line on stdout. A reader that has gone is no reason to stop.
fn write(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
