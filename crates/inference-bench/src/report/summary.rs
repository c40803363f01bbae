//! The outcome of a run: counts, rates, one word, one code.

use serde::{Deserialize, Serialize};

use crate::case::CaseRecord;
use crate::verdict::{RunVerdict, Verdict, exit};

/// The share of judged cases that must pass, in percent (the founding suite's exit code 1).
const SUCCESS_RATE_MIN: f64 = 80.0;
/// The share of real-time cases that must pass, in percent (its exit code 2).
const COMPLIANCE_MIN: f64 = 90.0;

/// What a run knows beside its cases.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// Somebody ended it early.
    pub interrupted: bool,
    /// Every gated case has to be decided.
    pub strict: bool,
    /// Why the whole run cannot be trusted.
    pub invalid_reasons: Vec<String>,
}

/// The rates of a run that are not those of its cases, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// What succeeded of all that was tried.
    pub success: Option<f64>,
    /// What was in time of all that had to be.
    pub compliance: Option<f64>,
}

/// The outcome of a run.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Cases with a gate.
    pub total_tests: u64,
    /// Gates met.
    pub passed: u64,
    /// Gates missed, regressions and invalid cases included.
    pub failed: u64,
    /// Gates that make no sense on this machine.
    pub not_applicable: u64,
    /// Gates that the measurement does not decide.
    pub undecided: u64,
    /// Cases without a gate.
    pub reported: u64,
    /// The share of judged cases that neither missed their target nor measured something wrong, in
    /// percent; 100 where nothing was judged. A regression met its target and has a code of its own.
    pub success_rate: f64,
    /// The same over real-time cases alone.
    pub real_time_compliance_rate: f64,
    /// The outcome in one word.
    pub verdict: RunVerdict,
    /// The exit code that says the same.
    pub exit_code: u8,
}

impl Summary {
    /// Sums up the cases of a run.
    ///
    /// Where several things went wrong the code is the first of 130, 1, 4, 2, 3, 5 that applies.
    #[must_use]
    pub fn of(records: &[&CaseRecord], run: &Run) -> Self {
        Self::with_rates(records, run, Rates::default())
    }

    /// The same, with rates that count something else than cases where they are given.
    #[must_use]
    pub fn with_rates(records: &[&CaseRecord], run: &Run, rates: Rates) -> Self {
        let count =
            |verdict: Verdict| records.iter().filter(|r| r.verdict == verdict).count() as u64;
        let passed = count(Verdict::Pass);
        let regressions = count(Verdict::Regression);
        let invalid = count(Verdict::Invalid);
        let missed = count(Verdict::Fail);
        let undecided = count(Verdict::Undecided);
        let failed = missed + regressions + invalid;
        let success_rate =
            rates.success.unwrap_or_else(|| rate(passed + regressions, passed + failed));
        let compliance = rates.compliance.unwrap_or_else(|| compliance(records));
        let nothing_decided = passed + failed == 0 && 0 < undecided;
        let untrusted = !run.invalid_reasons.is_empty() || 0 < invalid;
        let open = nothing_decided || (run.strict && 0 < undecided);
        let (verdict, exit_code) = match () {
            () if run.interrupted => (RunVerdict::Interrupted, exit::INTERRUPTED),
            () if success_rate < SUCCESS_RATE_MIN => (RunVerdict::Fail, exit::SUCCESS_RATE),
            () if untrusted => (RunVerdict::Invalid, exit::INVALID),
            () if open => (RunVerdict::Undecided, exit::INVALID),
            () if compliance < COMPLIANCE_MIN => (RunVerdict::Fail, exit::COMPLIANCE),
            () if 0 < regressions => (RunVerdict::Regression, exit::REGRESSION),
            () if 0 < missed => (RunVerdict::Fail, exit::TARGET),
            () => (RunVerdict::Pass, exit::OK),
        };
        Self {
            total_tests: passed + failed + undecided,
            passed,
            failed,
            not_applicable: count(Verdict::NotApplicable),
            undecided,
            reported: count(Verdict::Reported),
            success_rate,
            real_time_compliance_rate: compliance,
            verdict,
            exit_code,
        }
    }
}

fn compliance(records: &[&CaseRecord]) -> f64 {
    let judged = |r: &&&CaseRecord| r.real_time && r.verdict.is_decided();
    let passed = |r: &&&CaseRecord| judged(r) && r.verdict == Verdict::Pass;
    let total = records.iter().filter(judged).count() as u64;
    rate(records.iter().filter(passed).count() as u64, total)
}

fn rate(part: u64, whole: u64) -> f64 {
    if whole == 0 { 100.0 } else { 100.0 * part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(verdicts: &[(Verdict, usize)]) -> Vec<CaseRecord> {
        let mut records = Vec::new();
        for &(verdict, n) in verdicts {
            for _ in 0..n {
                let mut record = CaseRecord::new("case", "ns");
                record.verdict = verdict;
                records.push(record);
            }
        }
        records
    }

    #[track_caller]
    fn check(verdicts: &[(Verdict, usize)], run: &Run, expected: (RunVerdict, u8)) {
        let records = records(verdicts);
        let summary = Summary::of(&records.iter().collect::<Vec<_>>(), run);
        assert_eq!(expected, (summary.verdict, summary.exit_code));
    }

    #[test]
    fn what_passes_passes() {
        let run = Run::default();
        check(&[], &run, (RunVerdict::Pass, 0));
        check(&[(Verdict::Pass, 3), (Verdict::Reported, 2)], &run, (RunVerdict::Pass, 0));
        check(&[(Verdict::Pass, 9), (Verdict::NotApplicable, 1)], &run, (RunVerdict::Pass, 0));
    }

    #[test]
    fn each_way_to_fail_has_its_code() {
        let run = Run::default();
        check(&[(Verdict::Pass, 9), (Verdict::Fail, 1)], &run, (RunVerdict::Fail, 5));
        check(&[(Verdict::Pass, 3), (Verdict::Fail, 1)], &run, (RunVerdict::Fail, 1));
        check(&[(Verdict::Pass, 9), (Verdict::Regression, 1)], &run, (RunVerdict::Regression, 3));
        check(&[(Verdict::Regression, 1)], &run, (RunVerdict::Regression, 3));
        check(&[(Verdict::Pass, 9), (Verdict::Invalid, 1)], &run, (RunVerdict::Invalid, 4));
    }

    #[test]
    fn undecided_cases_count_only_where_a_verdict_is_demanded() {
        let some = [(Verdict::Pass, 3), (Verdict::Undecided, 1)];
        check(&some, &Run::default(), (RunVerdict::Pass, 0));
        let strict = Run { strict: true, ..Run::default() };
        check(&some, &strict, (RunVerdict::Undecided, 4));
        check(&[(Verdict::Undecided, 2)], &Run::default(), (RunVerdict::Undecided, 4));
    }

    #[test]
    fn the_worst_comes_first() {
        let all = [(Verdict::Pass, 18), (Verdict::Fail, 1), (Verdict::Regression, 1)];
        check(&all, &Run::default(), (RunVerdict::Regression, 3));
        let interrupted = Run { interrupted: true, ..Run::default() };
        check(&[(Verdict::Fail, 5)], &interrupted, (RunVerdict::Interrupted, 130));
        let invalid = Run { invalid_reasons: vec!["clock".to_owned()], ..Run::default() };
        check(&all, &invalid, (RunVerdict::Invalid, 4));
    }

    #[test]
    fn rates_of_requests_come_before_those_of_cases() {
        let records = records(&[(Verdict::Pass, 1), (Verdict::Fail, 1)]);
        let records: Vec<&CaseRecord> = records.iter().collect();
        let code = |success, compliance| {
            let rates = Rates { success: Some(success), compliance: Some(compliance) };
            Summary::with_rates(&records, &Run::default(), rates).exit_code
        };
        assert_eq!([5, 1, 2], [code(100.0, 100.0), code(79.0, 50.0), code(80.0, 89.0)]);
    }

    #[test]
    fn real_time_cases_have_a_rate_of_their_own() {
        let mut all = records(&[(Verdict::Pass, 30), (Verdict::Fail, 1)]);
        all[0].real_time = true;
        all[30].real_time = true;
        let summary = Summary::of(&all.iter().collect::<Vec<_>>(), &Run::default());
        assert_eq!((50.0, 2), (summary.real_time_compliance_rate, summary.exit_code));
    }
}
