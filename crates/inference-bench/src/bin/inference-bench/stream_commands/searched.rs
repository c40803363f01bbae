//! What a search found, in the words of a report.

use inference_bench::stream::{Probe, Search};
use inference_bench::{CaseRecord, Verdict};
use serde_json::json;

use crate::output::Output;

/// Tells what a probe showed, as soon as it did.
pub(super) fn tell(probe: &Probe, name: &str, output: &Output) {
    let Probe { load, good, n, holds, decided } = *probe;
    let words = if holds { "holds" } else { "does not hold" };
    let sure = if decided { "" } else { ", as near as so many requests can tell" };
    output.result(&format!("{name}: {good} of {n} good, {words}{sure}"));
    output.event(
        "probe",
        json!({ "load": load, "good": good, "n": n, "holds": holds, "decided": decided }),
    );
}

/// What a search found, as a case: some load has to hold.
pub(super) fn found(search: &Search, open: bool) -> CaseRecord {
    let unit = if open { "requests/s" } else { "streams" };
    let mut record = CaseRecord::new("search/highest", unit);
    let found = search.found();
    record.n = search.probes().iter().map(|probe| probe.n).sum();
    record.value = found.holds;
    record.gate = Some("a load that holds".to_owned());
    let lowest = search.told().and_then(|told| search.probes().get(told));
    let (verdict, reason) = match (found.holds, found.fails, lowest) {
        (Some(_), Some(fails), _) => (Verdict::Pass, format!("{fails:.3} {unit} did not hold")),
        (Some(_), None, _) => (Verdict::Pass, "all loads that were tried held".to_owned()),
        (None, _, Some(probe)) => {
            let verdict = if probe.decided { Verdict::Fail } else { Verdict::Undecided };
            (verdict, "no load that was tried held".to_owned())
        }
        (None, _, None) => (Verdict::Invalid, "no load was tried to its end".to_owned()),
    };
    record.withdraw(verdict, reason);
    record.beside.insert("probes".to_owned(), search.probes().len() as f64);
    record
}
