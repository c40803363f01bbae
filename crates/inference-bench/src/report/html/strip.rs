//! The plot of a suite: each gated figure in multiples of its limit, on one logarithmic axis.

use std::fmt::Write;

use super::super::escape::xml as escape;
use super::super::markdown::figure;
use crate::case::CaseRecord;
use crate::gate::{Limit, Side, short};

/// The axis shows at most a thousandth to a thousandfold of the limit; beyond it marks stand at its end.
const DECADES_MAX: f64 = 3.0;
/// Marks of the axis that have room on a phone.
const TICKS: [f64; 9] = [0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 10.0, 100.0, 1000.0];

/// One figure that can be placed: it is a number and so is its limit.
struct Mark<'a> {
    record: &'a CaseRecord,
    limit: &'a Limit,
    value: f64,
}

/// The axis: logarithms of the smallest and the largest multiple shown.
struct Axis {
    low: f64,
    high: f64,
}

pub(super) fn render(page: &mut String, records: &[CaseRecord]) {
    let marks: Vec<Mark<'_>> = records.iter().filter_map(mark).collect();
    if marks.is_empty() {
        return;
    }
    let axis = Axis::over(&marks);
    page.push_str(
        "<figure>\n<figcaption>Each value in multiples of its limit (logarithmic): ● the value with \
         its 95 % interval, ○ a peer in the same run; the shaded side meets the gate.</figcaption>\n",
    );
    marks.iter().for_each(|mark| row(page, mark, &axis));
    page.push_str(
        "<div class=\"row\"><span></span><div class=\"strip axis\" aria-hidden=\"true\">",
    );
    for tick in axis.ticks() {
        let _ = write!(page, "<i style=\"left:{:.2}%\">{}×</i>", axis.percent(tick), short(tick));
    }
    page.push_str("</div><span></span></div>\n</figure>\n");
}

fn mark(record: &CaseRecord) -> Option<Mark<'_>> {
    let limit = record.limit.as_ref().filter(|limit| 0.0 < limit.value)?;
    let value = record.value.filter(|value| value.is_finite())?;
    Some(Mark { record, limit, value })
}

fn row(page: &mut String, mark: &Mark<'_>, axis: &Axis) {
    let Mark { record, limit, value } = mark;
    let at = |value: f64| axis.percent(value / limit.value);
    let (from, to) = match limit.side {
        Side::AtMost => (0.0, at(limit.value)),
        Side::AtLeast => (at(limit.value), 100.0),
    };
    let gate = record.gate.as_deref().unwrap_or_default();
    let told = format!("{}: {}, {gate}", record.case, figure(*value, &record.unit));
    let _ = write!(
        page,
        "<div class=\"row\"><span class=\"name\">{}</span>\
         <div class=\"strip\" role=\"img\" aria-label=\"{}\" title=\"{1}\">\
         <i class=\"zone\" style=\"left:{from:.2}%;width:{:.2}%\"></i>\
         <i class=\"limit\" style=\"left:{:.2}%\"></i>",
        escape(&record.case),
        escape(&told),
        to - from,
        at(limit.value),
    );
    if let Some(interval) = record.interval {
        let (low, high) = (at(interval.low), at(interval.high));
        let width = high - low;
        let _ = write!(page, "<i class=\"band\" style=\"left:{low:.2}%;width:{width:.2}%\"></i>");
    }
    for (name, value) in peers(record) {
        let (name, left) = (escape(name), at(value));
        let _ = write!(page, "<i class=\"peer\" style=\"left:{left:.2}%\" title=\"{name}\"></i>");
    }
    let _ = writeln!(
        page,
        "<i class=\"dot\" style=\"left:{:.2}%\"></i></div><span class=\"value\">{}</span></div>",
        at(*value),
        escape(&figure(*value, &record.unit)),
    );
}

/// Figures beside that are in the unit of the case: `governor_ns` beside a value in `ns`.
fn peers(record: &CaseRecord) -> impl Iterator<Item = (&str, f64)> {
    let suffix = format!("_{}", record.unit);
    record.beside.iter().filter_map(move |(name, &value)| {
        let name = name.strip_suffix(&suffix)?;
        (0.0 < value && value.is_finite()).then_some((name, value))
    })
}

impl Axis {
    fn over(marks: &[Mark<'_>]) -> Self {
        let mut axis = Self { low: -0.35, high: 0.35 };
        for mark in marks {
            axis.include(mark.value / mark.limit.value);
            for (_, value) in peers(mark.record) {
                axis.include(value / mark.limit.value);
            }
        }
        axis
    }

    fn include(&mut self, multiple: f64) {
        const MARGIN: f64 = 0.08;
        let position = multiple.max(1e-300).log10().clamp(-DECADES_MAX, DECADES_MAX);
        self.low = self.low.min(position - MARGIN);
        self.high = self.high.max(position + MARGIN);
    }

    /// Where a multiple of the limit stands, in percent of the width.
    fn percent(&self, multiple: f64) -> f64 {
        let position = multiple.max(1e-300).log10();
        (100.0 * (position - self.low) / (self.high - self.low)).clamp(0.0, 100.0)
    }

    /// The marks that are on the axis and far enough from both its ends.
    fn ticks(&self) -> impl Iterator<Item = f64> {
        TICKS.into_iter().filter(|&tick| (4.0..=96.0).contains(&self.percent(tick)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Interval;

    fn record(value: f64, limit: Limit) -> CaseRecord {
        let mut record = CaseRecord::new("a<b", "ns");
        record.value = Some(value);
        record.interval = Some(Interval { low: value * 0.9, high: value * 1.1 });
        record.judge(limit);
        record
    }

    fn rendered(records: &[CaseRecord]) -> String {
        let mut page = String::new();
        render(&mut page, records);
        page
    }

    #[test]
    fn nothing_gated_draws_nothing() {
        assert_eq!("", rendered(&[CaseRecord::new("a", "ns")]));
        assert_eq!("", rendered(&[record(1.0, Limit::at_most(0.0))]));
    }

    #[test]
    fn names_are_escaped_and_extremes_stay_on_the_axis() {
        let page =
            rendered(&[record(1e-9, Limit::at_most(1.0)), record(1e9, Limit::at_least(1.0))]);
        assert!(page.contains("a&lt;b") && !page.contains("a<b"));
        for percent in page.split("left:").skip(1) {
            let percent: f64 = percent.split('%').next().unwrap().parse().unwrap();
            assert!((0.0..=100.0).contains(&percent), "{percent}");
        }
    }

    #[test]
    fn a_peer_in_the_same_unit_has_a_mark() {
        let mut record = record(1.0, Limit::at_most(2.0));
        record.beside.insert("governor_ns".to_owned(), 1.5);
        record.beside.insert("governor_allocations".to_owned(), 1.5);
        assert_eq!(1, rendered(&[record]).matches("class=\"peer\"").count());
    }
}
