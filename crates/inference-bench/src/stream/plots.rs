//! What one wants to see of streams. Pure.

use super::dialect::ms;
use super::figures::Figures;
use super::record::{Event, RequestRecord};
use super::spread::Spread;
use crate::report::{Axis, Drawing, HeatRow, Plot, Series};

/// Points of a distribution: more than a screen has columns for would not be seen.
const POINTS: usize = 120;
/// Pieces that the time of a run is cut into.
const COLUMNS: usize = 80;
/// Streams that the strip of stalls shows.
const ROWS_MAX: usize = 40;
/// A gap of so many medians is as dark as it gets.
const STALL: f64 = 10.0;

/// A gap between events with tokens, and when it ended.
struct Gap {
    end_ns: u64,
    ms: f64,
}

/// Six digits: more than a screen shows, and a file that is half as long.
fn short(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

/// The plots of a run.
pub(super) fn of(records: &[RequestRecord], figures: &Figures) -> Vec<Plot> {
    let mut plots = vec![
        latencies(figures),
        distribution("Gaps between events", "gap (ms)", &[("gaps", &figures.icl)]),
        distribution("How late requests were sent", "lag (µs)", &[("lag", &figures.send_lag_us)]),
    ];
    let streams: Vec<(u64, Vec<Gap>)> = records
        .iter()
        .filter(|record| record.is_ok() && !record.warmup)
        .map(|record| (record.number, gaps_of(record)))
        .filter(|(_, gaps)| !gaps.is_empty())
        .collect();
    if let Some(span) = Span::over(&streams) {
        plots.push(over_time(&streams, &span));
        plots.extend(figures.icl.rough(0.5).map(|median_ms| stalls(&streams, &span, median_ms)));
    }
    plots
}

fn latencies(figures: &Figures) -> Plot {
    let Figures { ttft, ttft_from_sent, e2e, .. } = figures;
    let title = "Latency: first token and whole streams";
    let series =
        [("first token", ttft), ("first token, from sent", ttft_from_sent), ("last token", e2e)];
    distribution(title, "since the request was due (ms)", &series)
}

fn distribution(title: &str, label: &str, spreads: &[(&str, &Spread)]) -> Plot {
    let series = spreads.iter().map(|(name, spread)| Series {
        name: (*name).to_owned(),
        points: spread.cumulative(POINTS).into_iter().map(|(x, y)| (short(x), short(y))).collect(),
    });
    let drawing = Drawing::Lines {
        x: Axis::logarithmic(label),
        y: Axis::linear("% at or below"),
        series: series.filter(|series| !series.points.is_empty()).collect(),
    };
    Plot { title: title.to_owned(), drawing }
}

fn gaps_of(record: &RequestRecord) -> Vec<Gap> {
    let gap = |(before, event): (&Event, &Event)| Gap {
        end_ns: event.recv_ns,
        ms: ms(before.recv_ns, event.recv_ns),
    };
    let events = record.token_events();
    // A coalesced event has no gap of its own; the one that spans it is real.
    let alone = events.filter(|event| !event.coalesced);
    alone.clone().zip(alone.skip(1)).map(gap).collect()
}

/// The time that streams were open in, cut into columns.
struct Span {
    from_ns: u64,
    column_ns: u64,
}

impl Span {
    fn over(streams: &[(u64, Vec<Gap>)]) -> Option<Self> {
        let ends = || streams.iter().flat_map(|(_, gaps)| gaps.iter().map(|gap| gap.end_ns));
        let (from_ns, to_ns) = (ends().min()?, ends().max()?);
        Some(Self { from_ns, column_ns: (to_ns - from_ns) / COLUMNS as u64 + 1 })
    }

    fn column(&self, at_ns: u64) -> usize {
        ((at_ns - self.from_ns) / self.column_ns) as usize
    }

    fn seconds(&self, column: usize) -> f64 {
        (self.from_ns + column as u64 * self.column_ns) as f64 / 1e9
    }
}

fn over_time(streams: &[(u64, Vec<Gap>)], span: &Span) -> Plot {
    let mut columns: Vec<Vec<f64>> = vec![Vec::new(); COLUMNS];
    for gap in streams.iter().flat_map(|(_, gaps)| gaps) {
        columns[span.column(gap.end_ns)].push(gap.ms);
    }
    let columns: Vec<Spread> = columns.into_iter().map(Spread::of).collect();
    let series = [("median", 0.5), ("p99", 0.99), ("largest", 1.0)].map(|(name, p)| {
        let point = |(column, spread): (usize, &Spread)| {
            Some((short(span.seconds(column)), short(spread.rough(p)?)))
        };
        Series {
            name: name.to_owned(),
            points: columns.iter().enumerate().filter_map(point).collect(),
        }
    });
    let drawing = Drawing::Lines {
        x: Axis::linear("time of the run (s)"),
        y: Axis::logarithmic("gap (ms)"),
        series: series.into(),
    };
    Plot { title: "Gaps over time".to_owned(), drawing }
}

fn stalls(streams: &[(u64, Vec<Gap>)], span: &Span, median_ms: f64) -> Plot {
    let step = streams.len().div_ceil(ROWS_MAX);
    let row = |(number, gaps): &(u64, Vec<Gap>)| {
        let mut values = vec![None; COLUMNS];
        for gap in gaps {
            let cell = &mut values[span.column(gap.end_ns)];
            *cell = Some(short(gap.ms).max(cell.unwrap_or(0.0)));
        }
        HeatRow { name: format!("request {number}"), values }
    };
    let drawing = Drawing::Heat {
        x: Axis::linear("time of the run (s)"),
        from: short(span.seconds(0)),
        to: short(span.seconds(COLUMNS)),
        value: "largest gap (ms)".to_owned(),
        light: short(median_ms.max(1e-3)),
        dark: short(STALL * median_ms.max(1e-3)),
        rows: streams.iter().step_by(step).map(row).collect(),
    };
    let shown = streams.len().div_ceil(step);
    let title =
        format!("Stalls: {shown} of {} streams, dark from ten median gaps on", streams.len());
    Plot { title, drawing }
}

#[cfg(test)]
mod tests {
    use super::super::dialect::Dialect;
    use super::super::record::Kind;
    use super::*;

    fn records(n: u64) -> Vec<RequestRecord> {
        let event = |at_ms: u64| Event {
            recv_ns: at_ms * 1_000_000,
            emit_ns: None,
            lag_ns: 0,
            bytes: 1,
            tokens: 1,
            kind: Kind::Content,
            coalesced: false,
        };
        // Every 20 ms, and once a second of nothing.
        let at = |k: u64| if k < 50 { 20 * k } else { 1000 + 20 * k };
        let record = |number| RequestRecord {
            number,
            events: (1..100).map(|k| event(at(k))).collect(),
            ..RequestRecord::default()
        };
        (0..n).map(record).collect()
    }

    #[test]
    fn a_stall_is_seen_where_it_was() {
        let records = records(100);
        let plots = of(&records, &Figures::of(&records, Dialect::Ours, None));
        assert_eq!(5, plots.len());
        let Drawing::Heat { rows, dark, .. } = &plots[4].drawing else { panic!("a heat strip") };
        assert!(rows.len() <= ROWS_MAX && 30 < rows.len());
        let stalled = rows[0].values.iter().filter(|v| v.is_some_and(|v| *dark <= v)).count();
        assert_eq!((1, 200.0), (stalled, *dark));
        let empty = rows[0].values.iter().filter(|value| value.is_none()).count();
        assert!((20..40).contains(&empty), "{empty}");
    }

    #[test]
    fn nothing_has_no_plots() {
        let plots = of(&[], &Figures::default());
        assert!(plots.iter().all(Plot::is_empty));
    }
}
