//! What the runs of a `stream` command tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use inference_bench::report::{Rates, Report};
use inference_bench::stream::{Demands, Findings, Search};

use super::super::options::Loads;
use super::super::urls::{bare, is_local};
use super::super::{is_doubtful, searched};
use super::{Session, Step};
use crate::canary::Canary;
use crate::ending::{empty_report, withhold};
use crate::system::Noise;

impl Session<'_> {
    /// Tells all that was found.
    pub(in super::super) fn into_report(mut self) -> (Report, Rates, Vec<String>, String) {
        let mut report = self.empty_report();
        let mut reasons = std::mem::take(&mut self.reasons);
        let (mut good, mut planned, mut ok, mut ended) = (0, 0, 0, 0);
        let told = self.search.as_ref().map(Search::told);
        for (k, step) in self.steps.iter().enumerate() {
            let findings = self.findings(step);
            // The probes of a search look for the load that fails: its failures are no failures. But
            // they must not be ours.
            if told.is_some_and(|told| told != Some(k)) {
                reasons.extend(findings.judge_canary(&mut report));
            } else {
                findings.add_to(&mut report);
                let gap_us = self.options.is_open().then_some(1e6 / step.load);
                reasons.extend(findings.judge_measurement(&mut report, gap_us));
                let requests = step.figures.requests;
                ok += requests.ok;
                ended += requests.ok + requests.failed + requests.not_sent;
                let (met, of) = step.figures.goodput.unwrap_or_default();
                (good, planned) = (good + met, planned + of);
            }
        }
        let mut compliance = share(good, planned);
        if let Some(search) = &self.search {
            report.add("stream", searched::found(search, self.options.is_open()));
            // A load that held met the objectives by the share that was asked for.
            compliance = compliance.filter(|_| search.found().holds.is_none());
        }
        let noise = self.all_noise();
        report.measurement.steal_pct = noise.steal_pct;
        report.measurement.foreign_cpu_pct = noise.foreign_pct;
        report.measurement.cpu_pct = self.usage.cpu_pct();
        if let Some(kept) = &self.kept
            && let Err(reason) = kept.compare(&mut report, self.worse_again.as_ref())
        {
            reasons.push(reason);
        }
        // Who asked for no calibration asked for no such judgement.
        if !self.options.calibration.is_zero()
            && let Some(reason) = noise.too_much()
        {
            withhold(&mut report, &reason, is_doubtful);
        }
        // Where nothing was asked for, nothing was missed.
        let rates = Rates { success: share(ok, ended).or(Some(100.0)), compliance };
        reasons.dedup();
        (report, rates, reasons, self.lines)
    }

    /// The cases of these runs that are worse than before.
    pub(super) fn worse(&self) -> BTreeSet<String> {
        let Some(kept) = &self.kept else { return BTreeSet::new() };
        let mut report = self.empty_report();
        self.steps.iter().for_each(|step| self.findings(step).add_to(&mut report));
        kept.worse(&report)
    }

    fn findings<'a>(&'a self, step: &'a Step) -> Findings<'a> {
        let canary_ms = 1e3 * Canary::interval_for(self.interval()).as_secs_f64();
        Findings {
            prefix: step.prefix.clone(),
            model: &self.options.model,
            records: &step.records,
            figures: &step.figures,
            errors: self.errors.as_ref(),
            canary: step.canary.as_ref().map(|errors| (errors, canary_ms)),
            demands: self.demands(),
            wall_s: step.wall.as_secs_f64(),
        }
    }

    /// What others had of the machine. A server here works for us, but cannot be told from others: then
    /// only the calibrations say how much that is.
    fn all_noise(&self) -> Noise {
        let whole = self.usage.noise();
        let foreign_pct = if is_local(&self.asked.target.request_url()) {
            self.noise.foreign_pct
        } else {
            self.noise.worse(whole).foreign_pct
        };
        Noise { foreign_pct, ..self.noise.worse(whole) }
    }

    fn demands(&self) -> Demands {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        Demands {
            expected_interval_ms: self.options.expect_interval.map(ms),
            overhead_ms_max: self.asked.overhead_max.map(ms),
        }
    }

    fn empty_report(&self) -> Report {
        let mut notes = BTreeMap::new();
        notes.insert("url".to_owned(), bare(&self.asked.target.request_url()));
        notes.insert("metrics as".to_owned(), self.options.metrics_as.to_string());
        notes.insert("seed".to_owned(), self.options.seed.to_string());
        notes.insert("workers".to_owned(), self.asked.workers.to_string());
        notes.insert("tokens".to_owned(), self.options.tokens.to_string());
        if let Some(goals) = &self.options.slo {
            notes.insert("objectives".to_owned(), goals.to_string());
        }
        let mut report = empty_report(self.started, notes);
        report.command = self.command();
        report.records_path = Some("records.ndjson".to_owned());
        let reads = self.stamps;
        let stamp = if reads.kernel_reads < reads.user_reads { "user" } else { "kernel" };
        let any = reads.kernel_reads + reads.user_reads != 0;
        report.measurement.stamp = any.then(|| stamp.to_owned());
        report
    }

    /// The command line, as far as it holds no secrets.
    fn command(&self) -> Vec<String> {
        let mut loads = String::new();
        match &self.asked.loads {
            Loads::One(load) => loads += &self.name_of(*load),
            Loads::Sweep(all) => {
                for load in all {
                    let _ = write!(loads, "{} ", self.name_of(*load));
                }
            }
            Loads::Search(options) => {
                let _ = write!(loads, "search from {}", self.name_of(options.start));
            }
        }
        let url = bare(&self.asked.target.request_url());
        vec!["stream".to_owned(), url, loads.trim_end().to_owned()]
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (0 < whole).then(|| 100.0 * part as f64 / whole as f64)
}
