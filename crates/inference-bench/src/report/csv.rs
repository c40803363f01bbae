//! The cases as comma-separated values (RFC 4180).

use super::Report;
use crate::case::CaseRecord;

const HEAD: &str = "suite,case,value,unit,n,low,high,gate,verdict,reason\r\n";

pub(super) fn render(report: &Report) -> String {
    let mut text = HEAD.to_owned();
    for (suite, records) in &report.suites {
        for record in records {
            text.push_str(&row(suite, record));
        }
    }
    text
}

fn row(suite: &str, record: &CaseRecord) -> String {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let words = |text: Option<&str>| field(text.unwrap_or_default());
    [
        field(suite),
        field(&record.case),
        number(record.value),
        field(&record.unit),
        record.n.to_string(),
        number(record.interval.map(|interval| interval.low)),
        number(record.interval.map(|interval| interval.high)),
        words(record.gate.as_deref()),
        field(record.verdict.word()),
        words(record.reason.as_deref()),
    ]
    .join(",")
        + "\r\n"
}

/// A text as a field. Programs that calculate with tables take some first characters for the beginning
/// of a formula; a quote before them keeps text a text.
fn field(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let formula = text.starts_with(['=', '+', '-', '@']);
    let text = if formula { format!("'{text}") } else { text };
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn nothing_leaves_its_field() {
        assert_eq!("plain", field("plain"));
        assert_eq!("\"a,\"\"b\"\" c\"", field("a,\"b\"\nc"));
        assert_eq!("'=1+1", field("=1+1"));
        assert_eq!("\"'@SUM(a,b)\"", field("@SUM(a,b)"));
    }
}
