//! What a run on models tells.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use download::{Ensured, Error, Event, Fetched, ModelEvent, Traffic, Verified};
use indicatif::ProgressBar;
use serde_json::json;

use crate::exit;
use crate::pulse::Pulse;
use crate::voice::{Voice, file_event};
use crate::watch::Told;

/// A bar for each model that is under way.
const MODEL_BAR: &str =
    "{msg:30!} {bar:24} {bytes:>11}/{total_bytes:11} {bytes_per_sec:>13} {eta:>5}";

/// Tells of the models of one run.
pub(crate) struct Report {
    voice: Voice,
    state: Mutex<State>,
}

struct State {
    models: Vec<Model>,
    codes: Vec<u8>,
    total_bytes: u64,
    done_bytes: u64,
    n_done: usize,
    /// Models that are begun and have not ended.
    n_active: usize,
    pulse: Pulse,
}

struct Model {
    name: String,
    bar: Option<ProgressBar>,
    done_bytes: u64,
    is_active: bool,
    /// Bytes that are here of files under way.
    under_way: HashMap<String, u64>,
}

impl Report {
    pub(crate) fn new(names: Vec<String>, json: bool) -> Self {
        let model = |name| Model {
            name,
            bar: None,
            done_bytes: 0,
            is_active: false,
            under_way: HashMap::new(),
        };
        let state = State {
            models: names.into_iter().map(model).collect(),
            codes: Vec::new(),
            total_bytes: 0,
            done_bytes: 0,
            n_done: 0,
            n_active: 0,
            pulse: Pulse::start(),
        };
        Self { voice: Voice::new(json), state: Mutex::new(state) }
    }

    pub(crate) fn voice(&self) -> &Voice {
        &self.voice
    }

    /// Takes note of what happens to a model.
    pub(crate) fn event(&self, k: usize, event: ModelEvent) {
        let mut state = self.lock();
        match event {
            ModelEvent::Delay(event) => self.voice.delay(&state.models[k].name, &event),
            ModelEvent::Plan { .. } => self.planned(&mut state, k, &event),
            ModelEvent::Transfer { path, event } => self.moved(&mut state, k, path, &event),
            ModelEvent::File { path, fetched } => self.arrived(&mut state, k, &path, &fetched),
            ModelEvent::Failed { kind, object, message } => {
                self.voice.failed_too(kind, (&object, &state.models[k].name), &message);
            }
            ModelEvent::Warning(text) => self.voice.say(&format!("warning: {text}")),
            _ => {}
        }
    }

    fn planned(&self, state: &mut State, k: usize, plan: &ModelEvent) {
        let &ModelEvent::Plan {
            files,
            bytes,
            fetch_files,
            fetch_bytes,
            linked_files,
            skipped_files,
        } = plan
        else {
            return;
        };
        state.total_bytes = state.total_bytes.saturating_add(bytes);
        state.models[k].is_active = true;
        state.n_active += 1;
        let model = &mut state.models[k];
        self.voice.print(
            &json!({ "event": "plan", "model": model.name, "files": files, "bytes": bytes,
            "fetch_files": fetch_files, "fetch_bytes": fetch_bytes, "linked_files": linked_files,
            "skipped_files": skipped_files }),
        );
        if 0 < fetch_files {
            let (all, fetch) = (bytes as f64 / 1e6, fetch_bytes as f64 / 1e6);
            let name = &model.name;
            let skipped = match skipped_files {
                0 => String::new(),
                n => format!("; {n} left out, as other forms of the weights or as code"),
            };
            self.voice.say(&format!(
                "{name}: {files} files of {all:.1} MB, {fetch_files} of {fetch:.1} MB to fetch{skipped}"
            ));
            model.bar = self.voice.bar(bytes, MODEL_BAR, name);
        }
    }

    fn moved(&self, state: &mut State, k: usize, path: String, event: &Event) {
        match event {
            Event::Plan { bytes, fetch_bytes } => state.set(k, path, bytes - fetch_bytes),
            Event::Progress { done_bytes, .. } => state.set(k, path, *done_bytes),
            event => self.voice.delay(&path, event),
        }
    }

    fn arrived(&self, state: &mut State, k: usize, path: &str, fetched: &Fetched) {
        state.set(k, path.to_owned(), fetched.bytes);
        state.models[k].under_way.remove(path);
        state.n_done += 1;
        if fetched.verified == Verified::Length {
            self.voice
                .say(&format!("unverified: {path} (no digest is known; its length is right)"));
        }
        let mut event = file_event(path, fetched);
        event["model"] = state.models[k].name.clone().into();
        self.voice.print(&event);
    }

    /// Takes note of the end of a model.
    pub(crate) fn ended(&self, k: usize, result: Result<&Ensured, &Error>) {
        let mut state = self.lock();
        let model = &mut state.models[k];
        if let Some(bar) = model.bar.take() {
            bar.finish_and_clear();
        }
        model.under_way = HashMap::new();
        let name = model.name.clone();
        let was_active = std::mem::take(&mut model.is_active);
        state.n_active -= usize::from(was_active);
        match result {
            Ok(here) => {
                state.codes.push(exit::OK);
                let (path, commit) = (here.path.display().to_string(), here.commit.as_ref());
                self.voice.result(&path);
                self.voice.print(&json!({ "event": "model", "model": name, "path": path,
                    "commit": commit.map(ToString::to_string), "files": here.files.len(), "bytes": here.bytes }));
            }
            Err(error) => {
                state.codes.push(exit::code(error.kind()));
                self.voice.failure(error, &name);
            }
        }
    }

    /// Takes note of what a verification came to, after it has read so many files and bytes.
    pub(crate) fn verified(&self, (files, bytes): (usize, u64), code: u8) {
        let mut state = self.lock();
        (state.n_done, state.done_bytes) = (files, bytes);
        state.codes.push(code);
    }

    /// Tells the end and returns the exit code.
    pub(crate) fn end(&self, traffic: &Traffic, signal: Option<u8>) -> u8 {
        let state = self.lock();
        let failures = state.codes.iter().copied().filter(|&code| code != exit::OK);
        let code = signal.unwrap_or_else(|| exit::worst(failures));
        let seconds = self.voice.elapsed().as_secs_f64().max(1e-3);
        self.progress(&state, (state.done_bytes as f64 / seconds) as u64);
        self.voice.end(code, signal, (state.n_done, state.done_bytes), traffic);
        code
    }

    fn progress(&self, state: &State, bytes_per_s: u64) {
        self.voice.print(&json!({ "event": "progress", "done_bytes": state.done_bytes,
            "total_bytes": state.total_bytes, "bytes_per_s": bytes_per_s }));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it is held")
    }
}

impl State {
    /// So many bytes of a file are here now.
    fn set(&mut self, k: usize, path: String, bytes: u64) {
        let model = &mut self.models[k];
        let before = model.under_way.insert(path, bytes).unwrap_or(0);
        model.done_bytes = (model.done_bytes + bytes).saturating_sub(before);
        self.done_bytes = (self.done_bytes + bytes).saturating_sub(before);
        if let Some(bar) = &model.bar {
            bar.set_position(model.done_bytes);
        }
    }
}

impl Told for Report {
    fn tick(&self) {
        let mut state = self.lock();
        let State { done_bytes, .. } = *state;
        let bytes_per_s = state.pulse.beat(done_bytes);
        self.progress(&state, bytes_per_s);
        let models = format!("{} of {} models", state.codes.len(), state.models.len());
        let total_bytes = state.total_bytes;
        state.pulse.line(&self.voice, total_bytes, &models, bytes_per_s);
    }

    fn say(&self, line: &str) {
        self.voice.say(line);
    }

    fn figures(&self) -> (usize, usize, u64, f64) {
        let state = self.lock();
        self.voice.figures(&state.codes, state.n_done, state.done_bytes)
    }

    fn gauges(&self) -> Vec<(&'static str, &'static str, f64)> {
        let state = self.lock();
        let (all, ended) = (state.models.len().max(1) as f64, state.codes.len() as f64);
        vec![
            ("active_downloads", "Models that are being brought.", state.n_active as f64),
            ("models_ended", "Models that are here or could not be had.", ended),
            ("completion_rate", "The share of the models that have ended.", ended / all),
        ]
    }
}
