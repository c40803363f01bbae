//! What a run tells: paths or events on stdout, bars or lines on stderr.

use std::sync::Mutex;

use download::{Error, Event, Fetched, Job, Traffic, Verified};
use indicatif::ProgressBar;
use serde_json::json;

use crate::exit;
use crate::pulse::Pulse;
use crate::voice::{Voice, file_event};
use crate::watch::Told;

/// A bar for each file that is under way, and one for all.
const FILE_BAR: &str =
    "{msg:30!} {bar:24} {bytes:>11}/{total_bytes:11} {bytes_per_sec:>13} {eta:>5}";
const ALL_BAR: &str = "{msg:30!} {bar:24} {pos}/{len} files  {elapsed}";

/// Tells of one run.
pub(crate) struct Teller {
    state: Mutex<State>,
    voice: Voice,
}

struct State {
    files: Vec<File>,
    planned: Plan,
    plan_is_told: bool,
    n_unplanned: usize,
    done_bytes: u64,
    fetched_bytes: u64,
    n_done: usize,
    codes: Vec<u8>,
    pulse: Pulse,
    all: Option<ProgressBar>,
}

#[derive(Clone, Copy, Default)]
struct Plan {
    bytes: u64,
    fetch_files: usize,
    fetch_bytes: u64,
}

struct File {
    path: String,
    /// Bytes of it, once that is known.
    total: Option<u64>,
    done: u64,
    bar: Option<ProgressBar>,
}

impl Teller {
    pub(crate) fn new(jobs: &[Job], json: bool) -> Self {
        let voice = Voice::new(json);
        let has_many = 1 < jobs.len();
        let all = has_many.then(|| voice.bar(jobs.len() as u64, ALL_BAR, "all")).flatten();
        let file = |job: &Job| {
            let path = job.target.display().to_string();
            File { path, total: None, done: 0, bar: None }
        };
        let state = State {
            files: jobs.iter().map(file).collect(),
            planned: Plan::default(),
            plan_is_told: false,
            n_unplanned: jobs.len(),
            done_bytes: 0,
            fetched_bytes: 0,
            n_done: 0,
            codes: Vec::new(),
            pulse: Pulse::start(),
            all,
        };
        Self { state: Mutex::new(state), voice }
    }

    /// Takes note of what happens to a file.
    pub(crate) fn event(&self, k: usize, event: Event) {
        let mut state = self.lock();
        match event {
            Event::Plan { bytes, fetch_bytes } => self.planned(&mut state, k, bytes, fetch_bytes),
            Event::Progress { done_bytes, .. } => {
                let file = &mut state.files[k];
                let before = std::mem::replace(&mut file.done, done_bytes);
                if let Some(bar) = &file.bar {
                    bar.set_position(done_bytes);
                }
                state.done_bytes = (state.done_bytes + done_bytes).saturating_sub(before);
            }
            event => self.voice.delay(&state.files[k].path, &event),
        }
    }

    fn planned(&self, state: &mut State, k: usize, bytes: u64, fetch_bytes: u64) {
        let name = state.files[k].path.clone();
        let file = &mut state.files[k];
        if file.total.replace(bytes).is_none() {
            state.n_unplanned -= 1;
            state.planned.bytes += bytes;
            state.planned.fetch_bytes += fetch_bytes;
            state.planned.fetch_files += usize::from(0 < fetch_bytes);
            state.plan_is_told = false;
        }
        let begun = bytes - fetch_bytes;
        let file = &mut state.files[k];
        let before = std::mem::replace(&mut file.done, begun);
        if file.bar.is_none() {
            file.bar = self.voice.bar(bytes, FILE_BAR, &name);
        }
        if let Some(bar) = &file.bar {
            bar.set_position(begun);
        }
        state.done_bytes = (state.done_bytes + begun).saturating_sub(before);
        if state.n_unplanned == 0 {
            self.tell_plan(state);
        }
    }

    fn tell_plan(&self, state: &mut State) {
        if std::mem::replace(&mut state.plan_is_told, true) {
            return;
        }
        let Plan { bytes, fetch_files, fetch_bytes } = state.planned;
        self.voice.print(&json!({ "event": "plan", "files": state.files.len(), "bytes": bytes,
            "fetch_files": fetch_files, "fetch_bytes": fetch_bytes, "linked_files": 0 }));
    }

    /// Takes note of the end of a file.
    pub(crate) fn ended(&self, k: usize, result: &Result<Fetched, Error>) {
        let mut state = self.lock();
        if let Some(bar) = state.files[k].bar.take() {
            bar.finish_and_clear();
        }
        match result {
            Ok(fetched) => {
                if state.files[k].total.is_none() {
                    self.planned(
                        &mut state,
                        k,
                        fetched.bytes,
                        fetched.fetched_bytes.min(fetched.bytes),
                    );
                }
                self.done(&mut state, k, fetched);
            }
            Err(error) => self.failed(&mut state, k, error),
        }
        if let Some(all) = &state.all {
            all.inc(1);
        }
    }

    fn done(&self, state: &mut State, k: usize, fetched: &Fetched) {
        let file = &mut state.files[k];
        let before = std::mem::replace(&mut file.done, fetched.bytes);
        let path = file.path.clone();
        state.done_bytes = (state.done_bytes + fetched.bytes).saturating_sub(before);
        state.fetched_bytes += fetched.fetched_bytes;
        state.n_done += 1;
        state.codes.push(exit::OK);
        if fetched.verified == Verified::Length {
            self.voice
                .say(&format!("unverified: {path} (no digest is known; its length is right)"));
        }
        self.voice.result(&path);
        self.voice.print(&file_event(&path, fetched));
    }

    fn failed(&self, state: &mut State, k: usize, error: &Error) {
        state.codes.push(exit::code(error.kind()));
        if state.files[k].total.is_none() {
            state.n_unplanned -= 1;
        }
        self.voice.failure(error, &state.files[k].path);
    }

    fn progress(&self, state: &State, bytes_per_s: u64) {
        let total_bytes = (state.n_unplanned == 0).then_some(state.planned.bytes);
        self.voice.print(&json!({ "event": "progress", "done_bytes": state.done_bytes,
            "total_bytes": total_bytes, "bytes_per_s": bytes_per_s }));
    }

    /// Tells the end and returns the exit code.
    pub(crate) fn end(&self, traffic: &Traffic, signal: Option<u8>) -> u8 {
        let mut state = self.lock();
        let code =
            signal.unwrap_or_else(|| exit::worst(state.codes.iter().copied().filter(|&c| c != 0)));
        self.tell_plan(&mut state);
        let seconds = self.voice.elapsed().as_secs_f64().max(1e-3);
        self.progress(&state, (state.done_bytes as f64 / seconds) as u64);
        self.voice.end(code, signal, (state.n_done, state.done_bytes), traffic);
        code
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it is held")
    }
}

impl Told for Teller {
    fn tick(&self) {
        let mut state = self.lock();
        if state.n_unplanned < state.files.len() {
            self.tell_plan(&mut state);
        }
        let State { done_bytes, .. } = *state;
        let bytes_per_s = state.pulse.beat(done_bytes);
        self.progress(&state, bytes_per_s);
        let files = format!("{} of {} files", state.n_done, state.files.len());
        let total_bytes = state.planned.bytes;
        state.pulse.line(&self.voice, total_bytes, &files, bytes_per_s);
    }

    fn say(&self, line: &str) {
        self.voice.say(line);
    }

    fn figures(&self) -> (usize, usize, u64, f64) {
        let state = self.lock();
        self.voice.figures(&state.codes, state.n_done, state.done_bytes)
    }
}
