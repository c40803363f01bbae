//! Reports, held against the published schema and against hostile text.

use inference_bench::report::{Environment, Report, Run};
use inference_bench::stats::Interval;
use inference_bench::stream::calibrate::Errors;
use inference_bench::stream::{
    Demands, Dialect, Event, Failure, Figures, Findings, Kind, Outcome, RequestRecord,
};
use inference_bench::{CaseRecord, Fingerprint, Limit, Verdict};
use serde_json::Value;

const HOSTILE: &str = "</title><script>alert(1)</script>|\n`x` \"' &amp; \u{1}\u{1b}[31m";

fn record(value: f64) -> CaseRecord {
    let mut record = CaseRecord::new("case", "ns");
    record.value = Some(value);
    record.n = 31;
    record.interval = Some(Interval { low: value * 0.9, high: value * 1.1 });
    record.judge(Limit::at_most(10.0));
    record
}

fn report(records: Vec<CaseRecord>) -> Report {
    let environment = Environment {
        machine: Fingerprint::read("", "", "", 2),
        started: "2026-11-22T10:00:00Z".to_owned(),
        revision: Some("abc+".to_owned()),
        notes: [("congestion control".to_owned(), HOSTILE.to_owned())].into(),
    };
    let mut report = Report::new("perf", environment);
    report.command = vec![HOSTILE.to_owned()];
    records.into_iter().for_each(|record| report.add("micro", record));
    report.finish(Run::default());
    report
}

fn all_kinds() -> Report {
    let mut hostile = record(99.0);
    hostile.case = HOSTILE.to_owned();
    hostile.reason = Some(HOSTILE.to_owned());
    hostile.seed_case = Some(HOSTILE.to_owned());
    hostile.beside.insert(HOSTILE.to_owned(), 3.0);
    let mut invalid = CaseRecord::new("wrong", "ns");
    invalid.withdraw(Verdict::Invalid, "the answer did not check");
    let mut not_applicable = CaseRecord::new("elsewhere", "images/s");
    not_applicable.withdraw(Verdict::NotApplicable, "12 GFLOP/s here, 20 needed");
    report(vec![record(5.0), record(10.0), record(20.0), hostile, invalid, not_applicable])
}

/// Ten streams of a hostile model, with all that a run of `stream` adds.
fn of_streams() -> Report {
    let event = |k: u64| Event {
        recv_ns: 50_000_000 + k * 20_000_000,
        emit_ns: Some(k * 20_000_000),
        lag_ns: 9,
        bytes: 99,
        tokens: 1,
        kind: Kind::Content,
        coalesced: k == 7,
    };
    let mut record = RequestRecord::default();
    record.events = (0..100).map(event).collect();
    let mut failed = record.clone();
    failed.outcome = Outcome::Failed { failure: Failure::Status, detail: HOSTILE.to_owned() };
    let mut records = vec![record; 10];
    records.push(failed);
    let figures = Figures::of(&records, Dialect::Ours, Some(&"ttft=1s".parse().unwrap()));
    let errors = Errors::of(&records);
    let findings = Findings {
        prefix: String::new(),
        model: HOSTILE,
        records: &records,
        figures: &figures,
        errors: Some(&errors),
        canary: None,
        demands: Demands { expected_interval_ms: Some(20.0), overhead_ms_max: Some(3.0) },
        wall_s: 2.0,
    };
    let mut report = report(Vec::new());
    findings.add_to(&mut report);
    let invalid_reasons = findings.judge_measurement(&mut report, Some(10.0));
    report.finish(Run { invalid_reasons, ..Run::default() });
    report
}

#[track_caller]
fn check_schema(report: &Report) {
    check_text(&report.to_json());
}

/// Holds the text of a `report.json` against the schema.
#[track_caller]
pub(super) fn check_text(report: &str) {
    let schema: Value =
        serde_json::from_str(include_str!("../../schema/report.schema.json")).unwrap();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("report.schema.json", schema).unwrap();
    let mut schemas = boon::Schemas::new();
    let index = compiler.compile("report.schema.json", &mut schemas).unwrap();
    let instance: Value = serde_json::from_str(report).unwrap();
    if let Err(error) = schemas.validate(&instance, index) {
        panic!("{error:#}");
    }
}

#[test]
fn every_report_keeps_the_schema() {
    check_schema(&report(Vec::new()));
    check_schema(&all_kinds());
    check_schema(&of_streams());
}

#[test]
fn what_is_written_is_read() {
    let report = all_kinds();
    let read: Report = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(report, read);
    let report = of_streams();
    let read: Report = serde_json::from_str(&report.to_json()).unwrap();
    assert!(report.plots == read.plots, "the plots are others");
}

#[test]
fn hostile_text_stays_text() {
    let report = all_kinds();
    let (html, junit) = (report.to_html(), report.to_junit());
    assert!(!html.contains("<script") && !junit.contains("<script"));
    assert!(!html.contains('\u{1b}') && !junit.contains('\u{1b}') && !junit.contains('\u{1}'));
    let rows = report.to_markdown();
    let table: Vec<_> = rows.lines().filter(|line| line.starts_with("| ")).collect();
    assert_eq!(7, table.len(), "a header and six cases: {table:#?}");
    assert!(!rows.contains("<script"));
}

#[test]
fn the_page_asks_no_network_for_anything() {
    let html = all_kinds().to_html() + &of_streams().to_html();
    for reference in ["http:", "https:", "src=", "url(", "@import", "<link"] {
        assert!(!html.contains(reference), "{reference}");
    }
}

#[test]
fn the_plots_of_streams_stay_on_their_page() {
    let html = of_streams().to_html();
    assert_eq!(4, html.matches("<svg").count());
    assert_eq!(4, html.matches("</svg>").count());
    assert!(html.contains("class=\"heat\"") && !html.contains("<script") && !html.contains("NaN"));
}

#[test]
fn junit_counts_what_failed_and_what_was_skipped() {
    let junit = all_kinds().to_junit();
    assert!(junit.contains(r#"tests="6" failures="2" errors="1" skipped="2""#), "{junit}");
}
