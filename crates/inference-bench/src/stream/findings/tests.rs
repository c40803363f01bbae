use super::super::record::{Event, Kind, NotSent, Sequence};
use super::*;
use crate::report::{Environment, Rates, Run};
use crate::{Fingerprint, verdict::RunVerdict};

fn stream(interval_ns: u64, tokens: u64) -> RequestRecord {
    let event = |k: u64| Event {
        recv_ns: 100_000_000 + k * interval_ns,
        emit_ns: None,
        lag_ns: 0,
        bytes: 10,
        tokens: 1,
        kind: Kind::Content,
        coalesced: false,
    };
    RequestRecord {
        tokens_asked: tokens as u32,
        events: (0..tokens).map(event).collect(),
        ..RequestRecord::default()
    }
}

fn report(records: &[RequestRecord], errors: Option<&Errors>) -> Report {
    let environment = Environment {
        machine: Fingerprint::read("", "", "", 2),
        started: String::new(),
        revision: None,
        notes: Default::default(),
    };
    let mut report = Report::new("inference-bench", environment);
    let figures = Figures::of(records, Dialect::Ours, None);
    let findings = Findings {
        prefix: String::new(),
        model: "m",
        records,
        figures: &figures,
        errors,
        canary: errors.map(|errors| (errors, 20.0)),
        demands: Demands { expected_interval_ms: Some(20.0), overhead_ms_max: Some(3.0) },
        wall_s: 1.0,
    };
    findings.add_to(&mut report);
    let invalid_reasons = findings.judge_measurement(&mut report, None);
    let rates = Rates { success: figures.success_pct(), compliance: None };
    report.finish_with_rates(Run { invalid_reasons, ..Run::default() }, rates);
    report
}

fn case<'a>(report: &'a Report, name: &str) -> &'a CaseRecord {
    report.suites[SUITE].iter().find(|case| case.case == name).expect(name)
}

#[test]
fn the_overhead_is_gated() {
    let within = report(&[stream(22_000_000, 50)], None);
    assert_eq!(Verdict::Pass, case(&within, "overhead").verdict);
    assert_eq!(0, within.summary.exit_code);
    let beyond = report(&[stream(23_500_000, 50)], None);
    assert_eq!(Verdict::Fail, case(&beyond, "overhead").verdict);
    let rates = Rates { success: Some(100.0), compliance: Some(100.0) };
    let mut beyond = beyond;
    beyond.finish_with_rates(Run::default(), rates);
    assert_eq!(5, beyond.summary.exit_code);
}

#[test]
fn too_few_samples_are_null_with_the_reason() {
    let report = report(&[stream(20_000_000, 100)], None);
    let p99 = case(&report, "icl/p99");
    assert_eq!(
        (None, Some("p99 needs 662 samples, there are 99")),
        (p99.value, p99.reason.as_deref())
    );
    assert_eq!(Some(20.0), case(&report, "icl/p50").value);
    assert!(report.results_by_model["m"]["icl_ms"]["p99"].is_null());
}

/// Five tokens in each read, a read each 100 ms: the mean is right, and no gap is known.
#[test]
fn tokens_in_bursts_decide_nothing_about_gaps() {
    let mut record = stream(20_000_000, 100);
    for (k, event) in record.events.iter_mut().enumerate() {
        event.recv_ns = 100_000_000 * (2 + k as u64 / 5);
        event.coalesced = k % 5 != 4;
    }
    let report = report(&[record], None);
    let overhead = case(&report, "overhead");
    assert_eq!((Some(0.0), Verdict::Undecided), (overhead.value, overhead.verdict));
    for name in ["itl/p50", "icl/p99"] {
        let reason = case(&report, name).reason.as_deref().unwrap_or_default();
        assert!(reason.starts_with("100 % of the gaps are not known"), "{reason}");
    }
    assert_eq!(0, report.results_by_model["m"]["itl_ms"]["n"]);
}

#[test]
fn what_the_instrument_cannot_tell_is_not_trusted() {
    let records = [stream(500_000, 100)];
    let errors = Errors { gap_us: Spread::of(vec![80.0; 100]), ..Errors::default() };
    let report = report(&records, Some(&errors));
    let reason = case(&report, "icl/p50").reason.clone().unwrap();
    assert!(reason.starts_with("not to be trusted"), "{reason}");
}

#[test]
fn a_client_that_was_the_bottleneck_invalidates_the_run() {
    let errors = Errors { coalesced_pct: Some(7.0), ..Errors::default() };
    let report = report(&[stream(20_000_000, 50)], Some(&errors));
    assert_eq!((RunVerdict::Invalid, 4), (report.summary.verdict, report.summary.exit_code));
    assert!(report.validity.reasons[0].contains("bottleneck"));
}

#[test]
fn a_canary_that_is_heard_late_invalidates_the_run() {
    let wrong = Errors { gap_us: Spread::of(vec![1100.0; 100]), ..Errors::default() };
    let report_of = |errors: &Errors| report(&[stream(20_000_000, 50)], Some(errors));
    let report = report_of(&wrong);
    assert_eq!(4, report.summary.exit_code);
    assert!(report.validity.reasons[0].starts_with("the canary was measured wrongly"));
    assert_eq!(Some(1100.0), report.measurement.canary_err_us.unwrap().get("p50").copied());
    // Ten gaps say nothing.
    let few = Errors { gap_us: Spread::of(vec![1100.0; 10]), ..Errors::default() };
    assert_eq!(0, report_of(&few).summary.exit_code);
}

#[test]
fn failures_are_counted_by_kind_and_lower_the_rate() {
    let mut records = vec![stream(20_000_000, 50); 3];
    let detail = "<script>".to_owned();
    records[0].outcome = Outcome::Failed { failure: Failure::TimedOut, detail };
    let report = report(&records, None);
    assert!(case(&report, "requests/ok").reason.as_ref().unwrap().contains("1 timed_out"));
    assert_eq!(1, report.summary.exit_code);
    assert_eq!(1, report.results_by_model["m"]["errors"]["timed_out"]);
}

#[test]
fn arrivals_that_were_not_sent_are_told_beside_the_rate_that_they_lower() {
    let mut records = vec![stream(20_000_000, 50); 5];
    for record in &mut records[..2] {
        record.outcome = Outcome::NotSent { reason: NotSent::TooManyInFlight };
    }
    let report = report(&records, None);
    let reason = case(&report, "requests/ok").reason.as_deref().unwrap();
    assert!(reason.contains("2 not sent, for no more were allowed in flight"), "{reason}");
    // Three of one second and 80 ms.
    assert_eq!(Some(3.0 / 1.08), case(&report, "requests/rate").value);
}

#[test]
fn streams_without_a_token_do_not_pass() {
    let empty = RequestRecord { tokens_asked: 24, ..stream(20_000_000, 0) };
    let report = report(&[empty.clone(), empty.clone(), empty], None);
    let lost = case(&report, "tokens/lost");
    assert_eq!((Verdict::Fail, Some(72.0)), (lost.verdict, lost.value));
    assert_eq!(Some("no stream brought a token"), lost.reason.as_deref());
}

#[test]
fn tokens_that_came_twice_or_out_of_turn_are_gated() {
    let mut record = stream(20_000_000, 50);
    record.sequence = Some(Sequence { numbered: 50, ..Sequence::default() });
    let verdicts = |record: &RequestRecord| {
        let report = report(std::slice::from_ref(record), None);
        ["tokens/duplicated", "tokens/reordered"].map(|name| case(&report, name).verdict)
    };
    assert_eq!([Verdict::Pass; 2], verdicts(&record));
    record.sequence = Some(Sequence { numbered: 51, duplicated: 1, ..Sequence::default() });
    assert_eq!([Verdict::Fail, Verdict::Pass], verdicts(&record));
    record.sequence = Some(Sequence { numbered: 50, reordered: 1, ..Sequence::default() });
    assert_eq!([Verdict::Pass, Verdict::Fail], verdicts(&record));
}

#[test]
fn nothing_sent_is_no_success() {
    let report = report(&[], None);
    assert_eq!(Verdict::Invalid, case(&report, "requests/ok").verdict);
}
