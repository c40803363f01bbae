//! Each way a server can fail, by the emitter's own faults: what is counted, and what is not averaged in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use inference_bench::stream::{Dialect, EmitterOptions, Figures, Plan, Target};

use super::server::{Source, run};

const MS: Duration = Duration::from_millis(1);

/// Half of eight streams of ten tokens has the fault: four failures of this kind, and the figures are
/// those of the other four.
#[track_caller]
fn check(fault: &str, kind: &'static str) {
    let source = Source::start(EmitterOptions {
        interval: MS,
        ttft: MS,
        fault: Some(format!("{fault}/2").parse().unwrap()),
        ..EmitterOptions::default()
    });
    let target = Target { tokens: 10, timeout: 500 * MS, ..Target::new(&*source.url) };
    let begin = Instant::now();
    let figures = Figures::of(&run(&target, Plan::closed(8)), Dialect::Ours, None);
    assert!(begin.elapsed() < 20_000 * MS, "{fault}: it ends");
    assert_eq!(BTreeMap::from([(kind, 4)]), figures.errors, "{fault}");
    assert_eq!((4, 4), (figures.requests.ok, figures.requests.failed), "{fault}");
    assert_eq!((40, 40), (figures.tokens.requested, figures.tokens.received), "{fault}");
    assert_eq!((4, 4), (figures.ttft.n(), figures.e2e.n()), "{fault}");
    assert_eq!(Some(50.0), figures.success_pct());
}

#[test]
fn each_fault_is_counted_by_its_kind_and_averaged_into_nothing() {
    check("status=503", "status");
    check("status=404", "status");
    check("broken@3", "broken_stream");
    check("no-done@3", "no_done");
    check("cut@3", "cut_off");
    check("error@3", "error_event");
    check("hang@3", "timed_out");
    check("hang", "timed_out");
    check("endless@3", "too_long");
}
