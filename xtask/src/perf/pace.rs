//! How fast the processors were while we measured: each suite does a fixed piece of arithmetic before and after
//! a case. Who has to share a core with a neighbor on the host is slower, and no counter of the kernel shows it.
//! It decides nothing; it tells who reads of a miss where to look first.

use inference_bench::report::Report;
use inference_bench::{CaseRecord, Verdict};

/// Below this share of the fastest pace of the run a case is said to have been slow, in percent.
const PACE_PCT_MIN: f64 = 90.0;

/// Compares all cases with the fastest of them, and says which were slow.
pub(crate) fn tell(report: &mut Report) {
    let records = || report.suites.values().flatten();
    let stretches =
        records().filter_map(|record| record.beside.get(CaseRecord::STRETCH_US).copied());
    let fastest_us = stretches.fold(f64::INFINITY, f64::min);
    let mut slowest_pct = 100.0_f64;
    let (mut cases, mut slow) = (0, 0);
    for record in report.suites.values_mut().flatten() {
        let Some(stretch_us) = record.beside.remove(CaseRecord::STRETCH_US) else { continue };
        let pace_pct = 100.0 * fastest_us / stretch_us;
        slowest_pct = slowest_pct.min(pace_pct);
        cases += 1;
        if pace_pct < PACE_PCT_MIN {
            slow += 1;
            explain(record, pace_pct);
        }
    }
    if 0 < cases {
        let text = format!(
            "processors at {slowest_pct:.0} to 100 % of their fastest; {slow} of {cases} cases below \
             {PACE_PCT_MIN} %"
        );
        report.environment.notes.insert("pace".to_owned(), text);
    }
}

fn explain(record: &mut CaseRecord, pace_pct: f64) {
    record.beside.insert("pace_pct".to_owned(), pace_pct);
    if matches!(record.verdict, Verdict::Fail | Verdict::Undecided) {
        let why = record.reason.take().unwrap_or_default();
        record.reason =
            Some(format!("{why}; beside it the processors were at {pace_pct:.0} % of their pace"));
    }
}

#[cfg(test)]
mod tests {
    use inference_bench::Limit;
    use inference_bench::process;
    use inference_bench::report::Environment;

    use super::*;

    fn report(stretches_us: &[f64]) -> Report {
        let mut report = Report::new("test", Environment::new(process::fingerprint(), ""));
        for (number, &stretch_us) in stretches_us.iter().enumerate() {
            let mut record = CaseRecord::new(format!("case/{number}"), "ns");
            record.value = Some(20.0);
            record.judge(Limit::at_most(10.0));
            record.beside.insert(CaseRecord::STRETCH_US.to_owned(), stretch_us);
            report.add("suite", record);
        }
        report
    }

    #[test]
    fn a_slow_case_is_told_and_its_verdict_stays() {
        let mut report = report(&[100.0, 111.0, 125.0]);
        tell(&mut report);
        let records = &report.suites["suite"];
        assert!(records.iter().all(|record| record.verdict == Verdict::Fail));
        let pace = |at: usize| records[at].beside.get("pace_pct").copied();
        assert_eq!((None, None, Some(80.0)), (pace(0), pace(1), pace(2)));
        let reason = |at: usize| records[at].reason.clone().unwrap_or_default();
        assert!(!reason(1).contains("pace"), "{}", reason(1));
        assert!(reason(2).contains("at 80 % of their pace"), "{}", reason(2));
        assert_eq!(
            "processors at 80 to 100 % of their fastest; 1 of 3 cases below 90 %",
            report.environment.notes["pace"]
        );
    }

    #[test]
    fn a_report_without_cases_says_nothing() {
        let mut report = report(&[]);
        tell(&mut report);
        assert!(report.environment.notes.is_empty());
    }
}
