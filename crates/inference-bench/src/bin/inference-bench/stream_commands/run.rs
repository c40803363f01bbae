//! The runs of a `stream` command, from the first calibration to the last.

mod told;

use std::collections::BTreeSet;
use std::mem;
use std::time::{Duration, SystemTime};

use inference_bench::stream::calibrate::Errors;
use inference_bench::stream::{Drive, Figures, RequestRecord, Search, SearchOptions, StampReport};
use serde_json::json;

use super::options::{Asked, Loads, Options};
use super::screen::Screen;
use super::searched;
use crate::calibrate_command::Stamp;
use crate::canary::Canary;
use crate::ground_truth::{Stage, calibrate};
use crate::interrupt::Interrupt;
use crate::kept_figures::{Kept, Measured};
use crate::output::Output;
use crate::system::{Noise, Usage};
use crate::threads;

/// Without an expected interval, calibrations run at that of the founding suite.
const INTERVAL: Duration = Duration::from_millis(20);
/// Streams of a calibration where the load does not say.
const STREAMS: usize = 64;
const STREAMS_MAX: usize = 2000;
/// A calibration is to show our error, not the source's limit.
const EVENTS_PER_S_MAX: f64 = 50_000.0;
/// A worker that is busier than this may be what the figures show.
const BUSY_PCT_MAX: f64 = 95.0;

/// Why there is nothing to measure, or nothing to trust.
pub(super) enum Failure {
    Usage(String),
    Invalid(String),
}

/// One load, and what came of it.
struct Step {
    load: f64,
    prefix: String,
    figures: Figures,
    /// Of the probes of a search, only the one that tells the outcome keeps its records.
    records: Vec<RequestRecord>,
    /// What the canary beside it showed.
    canary: Option<Errors>,
    wall: Duration,
}

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
    /// What was worse when it was measured once more, too; `None` if nothing was.
    worse_again: Option<BTreeSet<String>>,
    steps: Vec<Step>,
    search: Option<Search>,
    errors: Option<Errors>,
    canary: Option<Canary>,
    /// Of the calibrations, in which all that should work is ours.
    noise: Noise,
    stamps: StampReport,
    reasons: Vec<String>,
    /// The raw records, a line each.
    lines: String,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        options: &'a Options,
        asked: Asked,
        output: &'a Output,
        interrupt: &'a Interrupt,
    ) -> Self {
        Self {
            options,
            asked,
            output,
            interrupt,
            started: SystemTime::now(),
            usage: Usage::now(),
            kept: None,
            worse_again: None,
            steps: Vec::new(),
            search: None,
            errors: None,
            canary: None,
            noise: Noise::default(),
            stamps: StampReport::default(),
            reasons: Vec::new(),
            lines: String::new(),
        }
    }

    /// Notes why the run is not to be trusted.
    pub(super) fn distrust(&mut self, reason: String) {
        self.reasons.push(reason);
    }

    pub(super) fn measure(&mut self) -> Result<(), Failure> {
        let kept = self.options.baseline.as_deref().map(|path| self.measured().read(path));
        self.kept = kept.transpose().map_err(Failure::Invalid)?;
        self.calibrate("before")?;
        if !self.options.calibration.is_zero() {
            let canary = Canary::start(self.interval(), self.options.stamp.into());
            self.canary = Some(canary.map_err(Failure::Invalid)?);
        }
        self.loads()?;
        self.confirm()?;
        // Its process ends here, and its time is ours.
        self.canary = None;
        self.calibrate("after")
    }

    fn loads(&mut self) -> Result<(), Failure> {
        match &self.asked.loads {
            Loads::One(load) => self.step(*load, String::new()).map(drop),
            Loads::Sweep(loads) => {
                for load in loads.clone() {
                    let prefix = format!("{}/", self.name_of(load));
                    self.step(load, prefix)?;
                }
                Ok(())
            }
            Loads::Search(options) => self.search(*options),
        }
    }

    /// Measures once more what is worse than before: a mood of the machine passes, a regression stays. What
    /// is told are the figures of the first time.
    fn confirm(&mut self) -> Result<(), Failure> {
        if self.search.is_some() || self.interrupt.code().is_some() || self.worse().is_empty() {
            return Ok(());
        }
        self.output.remark("worse than the baseline: measuring once more, for it may be a mood");
        let (steps, lines) = (mem::take(&mut self.steps), mem::take(&mut self.lines));
        let ran = self.loads();
        self.worse_again = Some(self.worse());
        (self.steps, self.lines) = (steps, lines);
        ran
    }

    fn search(&mut self, options: SearchOptions) -> Result<(), Failure> {
        let mut search = Search::new(options);
        while let Some(load) = search.next() {
            let prefix = format!("{}/", self.name_of(load));
            let (good, n) = self.step(load, prefix)?;
            if self.interrupt.code().is_some() {
                break;
            }
            search.report(good, n);
            if let Some(probe) = search.probes().last().filter(|_| 0 < n) {
                searched::tell(probe, &self.name_of(load), self.output);
            }
            let others = |&(k, _): &(usize, &mut Step)| Some(k) != search.told();
            for (_, step) in self.steps.iter_mut().enumerate().filter(others) {
                step.records = Vec::new();
            }
        }
        self.search = Some(search);
        Ok(())
    }

    fn name_of(&self, load: f64) -> String {
        match &self.asked.trace {
            Some(trace) => format!("trace of {} requests", trace.requests().len()),
            None => self.options.name_of(load),
        }
    }

    /// Runs one load and returns how many requests met their objectives, and of how many.
    fn step(&mut self, load: f64, prefix: String) -> Result<(u64, u64), Failure> {
        if self.interrupt.code().is_some() {
            return Ok((0, 0));
        }
        let mut plan = self.options.plan(load, &self.asked);
        // Arrivals of its own: the luck of one sequence would be in all loads alike.
        plan.seed = plan.seed.wrapping_add(self.steps.len() as u64);
        let workers = plan.workers;
        let drive = Drive::new(&self.asked.target, plan)
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let mut screen = Screen::new(self.output, self.options.json, self.name_of(load));
        let canary =
            self.canary.as_ref().map(Canary::drive).transpose().map_err(Failure::Invalid)?;
        let watch = |progress| screen.show(progress);
        let ran = threads::run(drive, canary, workers, self.interrupt, watch);
        drop(screen);
        let (ran, drive) = ran.map_err(Failure::Invalid)?;
        self.note_stamps(drive.stamps());
        let figures = Figures::of(&ran.records, self.options.metrics_as, self.options.slo.as_ref());
        if BUSY_PCT_MAX < ran.busiest_pct {
            self.reasons.push(format!(
                "the client was the bottleneck: a worker was busy for {:.0} % of its time",
                ran.busiest_pct
            ));
        }
        for record in ran.records.iter().filter(|_| self.options.output.is_some()) {
            self.lines.push_str(&record.to_line());
            self.lines.push('\n');
        }
        let goodput = figures.goodput.unwrap_or_default();
        let records = ran.records;
        let canary = self.canary.is_some().then(|| Errors::of(&ran.canary));
        self.steps.push(Step { load, prefix, figures, records, canary, wall: ran.wall });
        Ok(goodput)
    }

    fn note_stamps(&mut self, stamps: StampReport) {
        if stamps.clock_steps != 0 {
            self.reasons.push(format!("the wall clock was set {} times", stamps.clock_steps));
        }
        let by_kernel = self.options.stamp == Stamp::Kernel;
        let first = self.stamps == StampReport::default();
        if by_kernel && first && stamps.kernel_reads < stamps.user_reads {
            self.output.remark(
                "the kernel stamps nothing here: stamps are ours, taken when we have the bytes",
            );
        }
        self.stamps = stamps;
    }

    /// Between two tokens, as far as we know.
    fn interval(&self) -> Duration {
        self.options.expect_interval.unwrap_or(INTERVAL)
    }

    /// Measures our own error under a load like the one that is asked for.
    fn calibrate(&mut self, when: &str) -> Result<(), Failure> {
        if self.options.calibration.is_zero() || self.interrupt.code().is_some() {
            return Ok(());
        }
        let interval = self.interval();
        let streams = self.streams(interval);
        let interval = interval.max(Duration::from_secs_f64(streams as f64 / EVENTS_PER_S_MAX));
        let stage = Stage {
            streams,
            interval,
            duration: self.options.calibration,
            stamp: self.options.stamp.into(),
            workers: self.asked.workers.min(streams),
        };
        let usage = Usage::now();
        let found = calibrate(stage, self.interrupt)
            .map_err(|reason| Failure::Invalid(format!("cannot calibrate: {reason}")))?;
        self.noise = self.noise.worse(usage.noise());
        let errors = found.errors;
        self.output.event(
            "calibration",
            json!({ "when": when, "streams": streams,
                "gap_err_us": inference_bench::stream::calibrate::quantiles(&errors.gap_us) }),
        );
        self.errors = Some(match self.errors.take() {
            Some(before) => before.worse(errors),
            None => errors,
        });
        Ok(())
    }

    /// How many streams at once the load is likely to have.
    fn streams(&self, interval: Duration) -> usize {
        let largest = match &self.asked.loads {
            Loads::One(load) => *load,
            Loads::Sweep(loads) => loads.iter().copied().fold(1.0, f64::max),
            Loads::Search(options) => options.start,
        };
        let streams = match (self.options.is_open(), self.options.expect_interval) {
            (false, _) => largest as usize,
            (true, None) => STREAMS,
            (true, Some(_)) => {
                let seconds = interval.as_secs_f64() * f64::from(self.options.tokens);
                (largest * seconds).ceil() as usize
            }
        };
        streams.clamp(1, STREAMS_MAX)
    }

    /// What this command measures, and under what. Loads of a sweep or a search are named by their cases.
    pub(super) fn measured(&self) -> Measured {
        let mut measured = self.options.measured();
        if let Loads::One(load) = self.asked.loads {
            measured.load.insert("load".to_owned(), self.name_of(load));
        }
        measured
    }

    /// Where a search ended; `null` without one.
    pub(super) fn found(&self) -> serde_json::Value {
        json!(self.search.as_ref().map(searched::outcome))
    }
}
