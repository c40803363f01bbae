//! What a search found, in the words of a report.

use inference_bench::stream::{Found, Probe, Search};
use inference_bench::{CaseRecord, Verdict};
use serde_json::{Value, json};

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

/// Where a search ended; `decided` says whether its probes are sure of that.
pub(super) fn outcome(search: &Search) -> Value {
    let Found { holds, fails } = search.found();
    json!({ "holds": holds, "fails": fails, "decided": is_decided(search) })
}

/// Whether the intervals say that the one load holds, and the other does not.
fn is_decided(search: &Search) -> bool {
    let Found { holds, fails } = search.found();
    let ends = |probe: &&Probe| [holds, fails].contains(&Some(probe.load));
    search.probes().iter().filter(ends).all(|probe| probe.decided)
}

/// What a search found, as a case: some load has to hold.
pub(super) fn found(search: &Search, open: bool) -> CaseRecord {
    let unit = if open { "requests/s" } else { "streams" };
    let mut record = CaseRecord::new("search/highest", unit);
    let found = search.found();
    record.n = search.probes().iter().map(|probe| probe.n).sum();
    record.value = found.holds;
    record.gate = Some("a load that holds".to_owned());
    let (verdict, mut reason) = match (found.holds, found.fails) {
        (Some(_), Some(fails)) => (Verdict::Pass, format!("{fails:.3} {unit} did not hold")),
        (Some(_), None) => (Verdict::Pass, "all loads that were tried held".to_owned()),
        (None, Some(_)) => {
            let verdict = if is_decided(search) { Verdict::Fail } else { Verdict::Undecided };
            (verdict, "no load that was tried held".to_owned())
        }
        (None, None) => (Verdict::Invalid, "no load was tried to its end".to_owned()),
    };
    if !is_decided(search) {
        reason += "; as near as so few requests can tell";
    }
    record.withdraw(verdict, reason);
    record.beside.insert("probes".to_owned(), search.probes().len() as f64);
    record
}

#[cfg(test)]
mod tests {
    use inference_bench::stream::SearchOptions;

    use super::*;

    /// Loads above 5 do not hold; each is probed by so many requests.
    fn searched(n: u64) -> Search {
        let options = SearchOptions { whole: true, ..SearchOptions::default() };
        let mut search = Search::new(options);
        while let Some(load) = search.next() {
            search.report(if load <= 5.0 { n } else { n / 2 }, n);
        }
        search
    }

    #[test]
    fn a_load_that_few_requests_held_is_told_with_its_doubt() {
        let reason = |search: &Search| found(search, false).reason.unwrap();
        assert_eq!("6.000 streams did not hold", reason(&searched(1000)));
        let doubtful = searched(20);
        assert!(reason(&doubtful).ends_with("as near as so few requests can tell"));
        assert_eq!(json!({ "holds": 5.0, "fails": 6.0, "decided": false }), outcome(&doubtful));
    }
}
