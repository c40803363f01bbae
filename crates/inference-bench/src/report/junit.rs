//! The report as JUnit XML: the form that CI systems read.
//!
//! There is no standard; the keys here are those that Jenkins, GitLab and GitHub's actions agree on.

use std::fmt::Write;

use super::Report;
use super::escape::xml as escape;
use crate::case::CaseRecord;
use crate::verdict::Verdict;

pub(super) fn render(report: &Report) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for (suite, records) in &report.suites {
        let count =
            |wanted: fn(Verdict) -> bool| records.iter().filter(|r| wanted(r.verdict)).count();
        let _ = writeln!(
            text,
            r#"  <testsuite name="{}" tests="{}" failures="{}" errors="{}" skipped="{}">"#,
            escape(suite),
            records.len(),
            count(|verdict| matches!(verdict, Verdict::Fail | Verdict::Regression)),
            count(|verdict| verdict == Verdict::Invalid),
            count(is_skipped),
        );
        records.iter().for_each(|record| case(&mut text, suite, record));
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn is_skipped(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Undecided | Verdict::NotApplicable)
}

fn case(text: &mut String, suite: &str, record: &CaseRecord) {
    let _ = write!(
        text,
        r#"    <testcase classname="{}" name="{}" time="{:.3}""#,
        escape(suite),
        escape(&record.case),
        record.wall_s
    );
    let reason = escape(record.reason.as_deref().unwrap_or_default());
    let verdict = record.verdict;
    match verdict {
        Verdict::Fail | Verdict::Regression => {
            let _ = writeln!(text, r#"><failure type="{verdict}" message="{reason}"/></testcase>"#);
        }
        Verdict::Invalid => {
            let _ = writeln!(text, r#"><error type="{verdict}" message="{reason}"/></testcase>"#);
        }
        _ if is_skipped(verdict) => {
            let _ = writeln!(text, r#"><skipped message="{verdict}: {reason}"/></testcase>"#);
        }
        _ => text.push_str("/>\n"),
    }
}
