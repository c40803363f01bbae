//! The models of a `vision` command, one after the other, and the report on them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use inference_bench::report::{Rates, Report};
use inference_bench::vision::{Figures, Judged, judge, plots, recommend};
use inference_bench::{CaseRecord, Verdict};
use serde_json::json;

use super::child;
use super::generated::Generated;
use super::options::{Asked, EngineName, ModeName, Model, Options};
use super::screen::Screen;
use super::worker::{Message, Request};
use crate::ending::{empty_report, withhold};
use crate::interrupt::Interrupt;
use crate::kept_figures::Kept;
use crate::output::Output;
use crate::system::Usage;

/// Units of figures that a busy machine makes worse.
const TIMES: [&str; 2] = ["ms", "images/s"];

/// A command under way.
pub(super) struct Session<'a> {
    options: &'a Options,
    asked: Asked,
    output: &'a Output,
    interrupt: &'a Interrupt,
    started: SystemTime,
    usage: Usage,
    /// To be compared with.
    kept: Option<Kept>,
    figures: Vec<Figures>,
    reasons: Vec<String>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        options: &'a Options,
        asked: Asked,
        output: &'a Output,
        interrupt: &'a Interrupt,
    ) -> Self {
        let (started, usage) = (SystemTime::now(), Usage::now());
        let (figures, reasons) = (Vec::new(), Vec::new());
        Self { options, asked, output, interrupt, started, usage, kept: None, figures, reasons }
    }

    /// Measures all models; what fails is in the figures.
    pub(super) fn measure(&mut self) {
        let kept = self.options.baseline.as_deref().map(|path| self.options.measured().read(path));
        match kept.transpose() {
            Ok(kept) => self.kept = kept,
            Err(reason) => return self.reasons.push(reason),
        }
        for model in self.asked.models.clone() {
            if self.interrupt.code().is_some() {
                return;
            }
            let mut figures = Figures::new(model.facts(self.options.size));
            match self.one(&model, &mut figures) {
                Ok(not_drawn) => self.reasons.extend(not_drawn),
                Err(reason) => {
                    let name = &figures.facts.name;
                    self.output.remark(&format!("error: {name}: {}", told(&reason)));
                    self.output.event("error", json!({ "model": name, "message": reason }));
                    figures.lose(reason);
                }
            }
            self.figures.push(figures);
        }
    }

    /// Measures a model; returns why its pictures could not be drawn.
    fn one(&self, model: &Model, figures: &mut Figures) -> Result<Option<String>, String> {
        let Options { size, seed, .. } = *self.options;
        let (request, _generated) = match model {
            Model::File { path, .. } => (self.request(figures, path.clone(), None), None),
            Model::Zoo(zoo) => {
                let files = Generated::write(zoo, size, seed, &std::env::temp_dir())?;
                let (file, small_file) = (files.file.clone(), files.small_file.clone());
                (self.request(figures, file, Some(small_file)), Some(files))
            }
        };
        let mut screen = Screen::new(self.output, self.options.json, &figures.facts.name);
        let (mut failure, mut not_drawn) = (None, None);
        let hear = |message| match message {
            Message::Step { family, done, planned } => screen.show(family, done, planned),
            Message::Figures(measured) => *figures = *measured,
            Message::Failed(reason) => failure = Some(reason),
            Message::NotDrawn(reason) => not_drawn = Some(reason),
            Message::Drawn { path, detections } => {
                let path = path.display().to_string();
                self.output.remark(&format!("drawn: {path}, {} boxes", detections.len()));
                self.output.event("drawn", json!({ "path": path, "detections": detections }));
            }
        };
        child::run(&request, self.options.timeout(), self.interrupt, hear)?;
        let explained = |reason| Err(child::explained(reason, self.options.memory_limit));
        failure.map_or(Ok(not_drawn), explained)
    }

    fn request(&self, figures: &Figures, file: PathBuf, small_file: Option<PathBuf>) -> Request {
        let options = self.options;
        Request {
            facts: figures.facts.clone(),
            file,
            small_file,
            side: options.size as usize,
            library: options.ort_lib.clone().filter(|_| options.engine == EngineName::Ort),
            thoroughness: match options.mode {
                ModeName::Quick => 0,
                ModeName::Comprehensive => 1,
                ModeName::Stress => 2,
            },
            families: options.families.clone(),
            threads: options.threads,
            fault: options.fault.map(|fault| fault.to_string()),
            memory_limit: options.memory_limit,
            pictures: options.pictures.clone(),
            draw: options.draw.clone(),
            seed: options.seed,
        }
    }

    /// Tells all that was found, and the raw figures, a line for each model.
    pub(super) fn into_report(
        mut self,
        finish: impl FnOnce(&mut Report, Rates, Vec<String>),
    ) -> (Report, String) {
        let mut report = self.empty_report();
        let noise = self.usage.noise();
        report.measurement.steal_pct = noise.steal_pct;
        report.measurement.foreign_cpu_pct = noise.foreign_pct;
        report.measurement.cpu_pct = self.usage.cpu_pct();
        let judged: Vec<Judged> =
            self.figures.iter().map(|figures| judge(figures, &self.asked.targets)).collect();
        report.performance_targets.extend(self.asked.targets.by_founding_names());
        let mut rates = Judged::rates(&judged);
        for (judged, figures) in judged.into_iter().zip(&self.figures) {
            judged.cases.into_iter().for_each(|record| report.add("vision", record));
            let results = json!(figures);
            report.results_by_model.insert(figures.facts.name.clone(), results);
        }
        plots(&self.figures).into_iter().for_each(|plot| report.add_plot("vision", plot));
        if let Some(kept) = &self.kept
            && let Err(reason) = kept.compare(&mut report, None)
        {
            self.reasons.push(reason);
        }
        if !self.options.noisy
            && let Some(reason) = noise.too_much()
        {
            withhold(&mut report, &reason, is_doubtful);
            // Late on a busy machine is not late.
            rates.compliance = None;
        }
        finish(&mut report, rates, std::mem::take(&mut self.reasons));
        self.advise(&mut report);
        let lines = self.figures.iter().map(|figures| json!(figures).to_string() + "\n").collect();
        (report, lines)
    }

    /// Puts what to do about a missed target in the place of the bare fact that it was missed.
    fn advise(&self, report: &mut Report) {
        let ours: Vec<_> = self
            .figures
            .iter()
            .flat_map(|figures| recommend(figures, &self.asked.targets))
            .collect();
        let is_ours = |metric: &str| ours.iter().any(|r| metric == format!("vision/{}", r.metric));
        report.recommendations.retain(|general| !is_ours(&general.metric));
        report.recommendations.splice(0..0, ours);
    }

    fn empty_report(&self) -> Report {
        let mut notes = BTreeMap::new();
        let mut note = |key: &str, value: String| notes.insert(key.to_owned(), value);
        note("seed", self.options.seed.to_string());
        if let Some(figures) = self.figures.iter().find(|figures| !figures.engine.is_empty()) {
            note("engine", figures.engine.clone());
            note("threads", figures.threads.to_string());
        }
        if self.figures.iter().any(|figures| figures.facts.is_synthetic) {
            let names = self.figures.iter().filter(|figures| figures.facts.is_synthetic);
            let names: Vec<_> = names.map(|figures| figures.facts.name.as_str()).collect();
            note("weights", format!("synthetic weights: {}", names.join(", ")));
        }
        if let Some(fault) = self.options.fault {
            note("injected fault", fault.to_string());
        }
        let mut report = empty_report(self.started, notes);
        let names = self.figures.iter().map(|figures| figures.facts.name.clone());
        report.command = std::iter::once("vision".to_owned()).chain(names).collect();
        report.records_path = Some("records.ndjson".to_owned());
        report
    }
}

/// Whether a busy machine may have made this verdict: it makes times worse, never better.
fn is_doubtful(record: &CaseRecord) -> bool {
    let is_bad = matches!(record.verdict, Verdict::Fail | Verdict::Regression);
    is_bad && TIMES.contains(&record.unit.as_str())
}

/// Words of an engine, which must not reach the terminal as commands.
fn told(reason: &str) -> String {
    reason.replace(char::is_control, " ")
}
