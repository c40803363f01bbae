//! A run as cases, figures and plots of a report.

#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::calibrate::{COALESCED_PCT_MAX, Errors, distrust, quantiles};
use super::dialect::Dialect;
use super::figures::{Figures, Tokens};
use super::plots;
use super::record::{Failure, NotSent, Outcome, RequestRecord};
use super::spread::Spread;
use crate::case::CaseRecord;
use crate::gate::Limit;
use crate::report::Report;
use crate::stats::{Interval, share_interval};
use crate::verdict::Verdict;

/// The suite of all cases here.
const SUITE: &str = "stream";
/// The share of requests that must succeed, in percent (the founding suite's exit code 1).
const SUCCESS_PCT_MIN: f64 = 80.0;
/// A send lag above this, in microseconds, makes an open loop another load than the one planned …
const SEND_LAG_P99_US_MAX: f64 = 1000.0;
/// … unless it is small beside the gap between two arrivals.
const SEND_LAG_SHARE_MAX: f64 = 0.1;

/// Where more gaps than this, in percent, are not known, those that are do not stand for them.
const UNKNOWN_GAPS_PCT_MAX: f64 = 50.0;

/// What is demanded of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demands {
    /// The interval at which the server makes tokens, in milliseconds.
    pub expected_interval_ms: Option<f64>,
    /// The most that it may add to each token, in milliseconds.
    pub overhead_ms_max: Option<f64>,
}

/// A run, ready to be told.
#[derive(Clone, Debug)]
pub struct Findings<'a> {
    /// What stands before the names of its cases: empty, or `streams=10/`.
    pub prefix: String,
    /// Whose results they are.
    pub model: &'a str,
    /// The run itself.
    pub records: &'a [RequestRecord],
    /// Its figures.
    pub figures: &'a Figures,
    /// The instrument's own errors, where they were measured.
    pub errors: Option<&'a Errors>,
    /// What a stream of our own beside the load showed, and the interval of its source in milliseconds.
    pub canary: Option<(&'a Errors, f64)>,
    /// What is demanded of it.
    pub demands: Demands,
    /// How long it took, in seconds.
    pub wall_s: f64,
}

impl Findings<'_> {
    /// Adds the run to a report: its cases and plots to the suite `stream`, its figures to the model's.
    pub fn add_to(&self, report: &mut Report) {
        for record in self.cases() {
            report.add(SUITE, record);
        }
        for mut plot in plots::of(self.records, self.figures) {
            if !self.prefix.is_empty() {
                plot.title = format!("{} {}", self.prefix.trim_end_matches('/'), plot.title);
            }
            report.add_plot(SUITE, plot);
        }
        let name = match self.prefix.trim_end_matches('/') {
            "" => self.model.to_owned(),
            load => format!("{} @ {load}", self.model),
        };
        report.results_by_model.insert(name, self.results());
    }

    fn cases(&self) -> Vec<CaseRecord> {
        let mut cases = vec![self.success()];
        cases.extend(self.lost());
        cases.extend(self.disordered());
        cases.extend(self.overhead());
        cases.push(self.reported(
            "throughput",
            "tokens/s",
            Some(self.figures.streaming.throughput_tokens_per_second),
        ));
        cases.extend(self.rates());
        cases.extend(self.goodput());
        let Figures { ttft, itl, icl, tpot, e2e, .. } = self.figures;
        for (name, spread) in
            [("ttft", ttft), ("itl", itl), ("icl", icl), ("tpot", tpot), ("e2e", e2e)]
        {
            if 0 < spread.n() || self.unknown_gaps().is_some() {
                cases.extend([0.5, 0.9, 0.99].map(|p| self.percentile(name, spread, p)));
            }
        }
        cases
    }

    fn case(&self, name: &str, unit: &str) -> CaseRecord {
        let mut record = CaseRecord::new(format!("{}{name}", self.prefix), unit);
        record.wall_s = self.wall_s;
        record.n = self.figures.requests.sent;
        record
    }

    fn reported(&self, name: &str, unit: &str, value: Option<f64>) -> CaseRecord {
        let mut record = self.case(name, unit);
        record.value = value;
        record
    }

    fn success(&self) -> CaseRecord {
        let mut record = self.reported("requests/ok", "%", self.figures.success_pct());
        let limit = Limit::at_least(SUCCESS_PCT_MIN);
        if record.value.is_none() {
            record.withdraw(Verdict::Invalid, "no request came to an end");
            record.limit = Some(limit);
            return record;
        }
        record.judge(limit);
        let errors = self.figures.errors.iter().map(|(kind, n)| format!("{n} {kind}"));
        let counts: Vec<_> = errors.chain(self.not_sent()).collect();
        if !counts.is_empty() {
            let before = record.reason.take().map_or_else(String::new, |reason| reason + "; ");
            record.reason = Some(before + &counts.join(", ") + &self.first_failure());
        }
        record
    }

    /// How many arrivals were not sent for want of room.
    fn not_sent(&self) -> Option<String> {
        let crowded = Outcome::NotSent { reason: NotSent::TooManyInFlight };
        let is_crowded = |record: &&RequestRecord| !record.warmup && record.outcome == crowded;
        let n = self.records.iter().filter(is_crowded).count();
        (0 < n).then(|| format!("{n} not sent, for no more were allowed in flight"))
    }

    /// The words of the first failure, which say what to mend.
    fn first_failure(&self) -> String {
        let counted = self.records.iter().filter(|record| !record.warmup);
        let first = counted.into_iter().find_map(|record| match &record.outcome {
            Outcome::Failed { failure, detail } => Some((*failure, detail)),
            _ => None,
        });
        let Some((failure, detail)) = first else { return String::new() };
        let hint = if failure == Failure::Connect { "; is the server running there?" } else { "" };
        format!("; the first: {detail}{hint}")
    }

    fn lost(&self) -> Option<CaseRecord> {
        let is_numbered = self.records.iter().any(|record| record.sequence.is_some());
        let Tokens { requested, received, lost, .. } = self.figures.tokens;
        if !is_numbered && lost == 0 {
            return None;
        }
        let mut record = self.reported("tokens/lost", "tokens", Some(lost as f64));
        record.seed_case = Some("Token loss".to_owned());
        record.n = requested;
        record.judge(Limit::at_most(0.0));
        if received == 0 && 0 < lost {
            record.reason = Some("no stream brought a token".to_owned());
        }
        Some(record)
    }

    /// Numbered tokens that came twice, or not in their turn.
    fn disordered(&self) -> Vec<CaseRecord> {
        if self.records.iter().all(|record| record.sequence.is_none()) {
            return Vec::new();
        }
        let Tokens { received, duplicated, reordered, .. } = self.figures.tokens;
        let case = |(name, tokens): (&str, u64)| {
            let mut record = self.reported(name, "tokens", Some(tokens as f64));
            record.n = received;
            record.judge(Limit::at_most(0.0));
            record
        };
        [("tokens/duplicated", duplicated), ("tokens/reordered", reordered)].map(case).into()
    }

    fn overhead(&self) -> Option<CaseRecord> {
        let expected_ms = self.demands.expected_interval_ms?;
        let overhead_ms = self.figures.streaming.calculate_overhead_ms(expected_ms);
        let mut record = self.reported("overhead", "ms", overhead_ms);
        record.seed_case = Some("Per-token overhead".to_owned());
        record.n = self.figures.streaming.received_token_count;
        if let Some(overhead_ms_max) = self.demands.overhead_ms_max {
            record.judge(Limit::at_most(overhead_ms_max));
            if let Some(reason) = self.unknown_gaps().filter(|_| record.verdict != Verdict::Fail) {
                record.withdraw(Verdict::Undecided, reason);
            }
        } else if overhead_ms.is_none() {
            record.reason = Some("no stream had two events with tokens".to_owned());
        }
        Some(record)
    }

    fn rates(&self) -> Vec<CaseRecord> {
        let (all, good) = (self.figures.requests_per_s(), self.figures.goodput_per_s());
        let told = [("requests/rate", all), ("goodput/rate", good)].into_iter();
        let told = told.filter(|(_, per_s)| per_s.is_some());
        told.map(|(name, per_s)| self.reported(name, "requests/s", per_s)).collect()
    }

    fn goodput(&self) -> Option<CaseRecord> {
        let (good, n) = self.figures.goodput?;
        let mut record = self.reported("goodput", "%", self.figures.goodput_pct());
        let Interval { low, high } = share_interval(good, n);
        record.interval = Some(Interval { low: 100.0 * low, high: 100.0 * high });
        record.n = n;
        record.real_time = true;
        if record.value.is_none() {
            record.reason = Some("no request was planned".to_owned());
        }
        Some(record)
    }

    fn percentile(&self, name: &str, spread: &Spread, p: f64) -> CaseRecord {
        let mut record = self.case(&format!("{name}/p{}", (100.0 * p).round()), "ms");
        record.n = spread.n();
        let is_unknown = matches!(name, "itl" | "icl") || spread.n() == 0;
        if let Some(reason) = self.unknown_gaps().filter(|_| is_unknown) {
            record.reason = Some(reason);
            return record;
        }
        match spread.percentile(p) {
            Ok(value) => {
                record.value = Some(value);
                record.interval = spread.interval(p);
                record.reason = self.distrust(name, p, value);
            }
            Err(too_few) => record.reason = Some(too_few.to_string()),
        }
        record
    }

    /// Why nothing is said of the gaps, where most are not known. Other tools' words have their own rules.
    fn unknown_gaps(&self) -> Option<String> {
        let pct = self.figures.unknown_gaps_pct.filter(|pct| UNKNOWN_GAPS_PCT_MAX < *pct)?;
        let reason = format!(
            "{pct:.0} % of the gaps are not known: their events shared a read with another"
        );
        (self.figures.dialect == Dialect::Ours).then_some(reason)
    }

    /// Why this percentile is not to be trusted.
    fn distrust(&self, name: &str, p: f64, value_ms: f64) -> Option<String> {
        let errors = self.errors?;
        let error = match name {
            "itl" | "icl" => &errors.gap_us,
            "ttft" | "e2e" => &errors.first_us,
            // A mean over a stream: the error of its two ends, shared by its tokens.
            _ => return None,
        };
        distrust(value_ms, error.rough(p)).map(|reason| format!("not to be trusted: {reason}"))
    }

    fn results(&self) -> Value {
        let Figures { requests, tokens, streaming, .. } = self.figures;
        let expected_ms = self.demands.expected_interval_ms;
        let overhead_ms = expected_ms.and_then(|ms| streaming.calculate_overhead_ms(ms));
        let none = Spread::default();
        let told = |gaps| if self.unknown_gaps().is_none() { gaps } else { &none };
        let good_per_s = self.figures.goodput_per_s();
        let goodput = self
            .figures
            .goodput
            .map(|(good, n)| json!({ "good": good, "n": n, "requests_per_second": good_per_s }));
        json!({
            "metrics_as": self.figures.dialect.name(),
            "requests": requests,
            "tokens": tokens,
            "received_token_count": streaming.received_token_count,
            "total_streaming_time_ms": streaming.total_streaming_time_ms,
            "mean_receive_interval_ms": streaming.mean_receive_interval_ms,
            "overhead_ms": overhead_ms,
            "throughput_tokens_per_second": streaming.throughput_tokens_per_second,
            "requests_per_second": self.figures.requests_per_s(),
            "ttft_ms": self.figures.ttft,
            "ttft_from_sent_ms": self.figures.ttft_from_sent,
            "itl_ms": told(&self.figures.itl),
            "icl_ms": told(&self.figures.icl),
            "tpot_ms": self.figures.tpot,
            "e2e_ms": self.figures.e2e,
            "send_lag_us": self.figures.send_lag_us,
            "coalesced_pct": self.figures.coalesced_pct,
            "goodput": goodput,
            "errors": self.figures.errors,
        })
    }

    /// The highest quantile of the send lag that so many requests carry, with its name.
    fn send_lag_us(&self) -> Option<(&'static str, f64)> {
        let named = [("p99", 0.99), ("p90", 0.9), ("p50", 0.5)];
        let carried = |(name, p)| Some((name, self.figures.send_lag_us.percentile(p).ok()?));
        named.into_iter().find_map(carried)
    }

    /// Fills in what the canary showed, and returns why the client was not up to the load.
    pub fn judge_canary(&self, report: &mut Report) -> Vec<String> {
        let Some((errors, interval_ms)) = self.canary else { return Vec::new() };
        report.measurement.canary_err_us = quantiles(&errors.gap_us);
        let at = match self.prefix.trim_end_matches('/') {
            "" => String::new(),
            load => format!(" at {load}"),
        };
        let mut reasons = Vec::new();
        if let Some(pct) = errors.coalesced_pct.filter(|pct| COALESCED_PCT_MAX < *pct) {
            reasons.push(format!(
                "the client was the bottleneck{at}: it read {pct:.1} % of its canary's events together"
            ));
        }
        for p in [0.5, 0.9] {
            let error_us = errors.gap_us.percentile(p).ok();
            if let Some(reason) = distrust(interval_ms, error_us) {
                reasons.push(format!("the canary was measured wrongly{at}: {reason}"));
            }
        }
        reasons
    }

    /// Fills in what is known of the measurement, and returns why the run is not to be trusted.
    pub fn judge_measurement(
        &self,
        report: &mut Report,
        gap_between_arrivals_us: Option<f64>,
    ) -> Vec<String> {
        let measurement = &mut report.measurement;
        measurement.send_lag_us = quantiles(&self.figures.send_lag_us);
        measurement.coalesced_pct = self.figures.coalesced_pct;
        if let Some(errors) = self.errors {
            measurement.icl_err_us = quantiles(&errors.gap_us);
            measurement.ttft_err_us = quantiles(&errors.first_us);
        }
        let mut reasons = self.judge_canary(report);
        let shared = |pct: Option<f64>| pct.is_some_and(|pct| COALESCED_PCT_MAX < pct);
        if let Some(errors) = self.errors
            && shared(errors.coalesced_pct)
        {
            reasons.push(format!(
                "the client was the bottleneck: under this load it reads {:.1} % of events together",
                errors.coalesced_pct.unwrap_or_default()
            ));
        }
        if let (Some(gap_us), Some((name, lag_us))) = (gap_between_arrivals_us, self.send_lag_us())
        {
            let limit_us = SEND_LAG_P99_US_MAX.max(SEND_LAG_SHARE_MAX * gap_us);
            if limit_us < lag_us {
                reasons.push(format!(
                    "requests were sent late: {name} of the send lag is {lag_us:.0} µs, at most {limit_us:.0}"
                ));
            }
        }
        reasons
    }
}
