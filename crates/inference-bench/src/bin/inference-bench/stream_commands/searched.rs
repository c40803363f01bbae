//! What a search found, in the words of a report.

use inference_bench::CaseRecord;
use inference_bench::stream::Search;

/// What a search found, as a case.
pub(super) fn found(search: &Search, open: bool) -> CaseRecord {
    let unit = if open { "requests/s" } else { "streams" };
    let mut record = CaseRecord::new("search/highest", unit);
    let found = search.found();
    record.n = search.probes().iter().map(|probe| probe.n).sum();
    record.value = found.holds;
    record.reason = match (found.holds, found.fails) {
        (Some(_), Some(fails)) => Some(format!("{fails:.3} {unit} did not hold")),
        (Some(_), None) => Some("all loads that were tried held".to_owned()),
        _ => Some("no load that was tried held".to_owned()),
    };
    record.beside.insert("probes".to_owned(), search.probes().len() as f64);
    record
}
