//! Draws plots: lines as paths that keep their width at any size, cells as boxes, words as words.

use std::fmt::Write;

use super::super::escape::xml as escape;
use super::super::plot::{Axis, Drawing, HeatRow, Plot, Series};
use super::bars;
use crate::gate::short;

/// The classes of lines; colors and dashes tell them apart.
const CLASSES: [&str; 4] = ["one", "two", "three", "four"];
/// Marks of an axis that have room on a phone.
const TICKS_MAX: usize = 5;
/// A mark at the very end of a scale belongs to it, whatever rounding says.
const ROUNDING: f64 = 1e-6;

pub(super) fn render(page: &mut String, plots: &[Plot]) {
    for plot in plots.iter().filter(|plot| !plot.is_empty()) {
        let _ = write!(page, "<figure>\n<figcaption>{}</figcaption>\n", escape(&plot.title));
        match &plot.drawing {
            Drawing::Lines { x, y, series } => lines(page, x, y, series),
            Drawing::Bars { x, parts, rows } => bars::render(page, x, parts, rows),
            Drawing::Heat { x, from, to, value, light, dark, rows } => {
                // Cells fill the whole width: the marks must not begin at 0 where they do not.
                let scale = Scale { low: *from, high: to.max(from + 1e-9), logarithmic: false };
                heat(page, rows, (*light, *dark));
                across(page, &scale, &format!("{}; cells: {value}", x.label));
            }
        }
        page.push_str("</figure>\n");
    }
}

/// From values to percent of an axis.
pub(super) struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    fn over(axis: &Axis, values: impl Iterator<Item = f64>) -> Self {
        let logarithmic = axis.logarithmic;
        let fits = |value: &f64| value.is_finite() && (!logarithmic || 0.0 < *value);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(fits) {
            let place = if logarithmic { value.log10() } else { value };
            (low, high) = (low.min(place), high.max(place));
        }
        if high < low {
            (low, high) = (0.0, 1.0);
        }
        if high - low < 1e-9 {
            (low, high) = (low - 0.5, high + 0.5);
        }
        if !logarithmic && 0.0 < low && low < 0.5 * high {
            low = 0.0;
        }
        Self { low, high, logarithmic }
    }

    /// Equal steps from 0 to `high`.
    pub(super) fn from_zero(high: f64) -> Self {
        Self { low: 0.0, high: if 0.0 < high { high } else { 1.0 }, logarithmic: false }
    }

    pub(super) fn percent(&self, value: f64) -> f64 {
        let place = if self.logarithmic { value.max(1e-300).log10() } else { value };
        (100.0 * (place - self.low) / (self.high - self.low)).clamp(0.0, 100.0)
    }

    fn at(&self, place: f64) -> f64 {
        if self.logarithmic { 10_f64.powf(place) } else { place }
    }

    /// Round values within the scale, at most five or six of them.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if !self.logarithmic {
            return round_steps(self.low, self.high);
        }
        let span = self.low - ROUNDING..=self.high + ROUNDING;
        let (first, last) = (self.low.floor() as i32, self.high.ceil() as i32);
        let decades: Vec<i32> = (first..=last).filter(|&k| span.contains(&f64::from(k))).collect();
        if 2 <= decades.len() {
            let step = decades.len().div_ceil(TICKS_MAX);
            return decades.into_iter().step_by(step).map(|k| 10_f64.powi(k)).collect();
        }
        for digits in [&[1.0, 2.0, 5.0][..], &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]] {
            let all = (first..=last).flat_map(|k| digits.iter().map(move |d| d * 10_f64.powi(k)));
            let within: Vec<f64> = all.filter(|value| span.contains(&value.log10())).collect();
            if 2 <= within.len() {
                let step = within.len().div_ceil(TICKS_MAX + 1);
                return within.into_iter().step_by(step).collect();
            }
        }
        round_steps(self.at(self.low), self.at(self.high))
    }
}

/// Multiples of 1, 2 or 5 times a power of ten: three to six of them.
fn round_steps(low: f64, high: f64) -> Vec<f64> {
    let span = (high - low).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf((span / TICKS_MAX as f64).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    let fits = |step: &f64| span / step <= TICKS_MAX as f64 + ROUNDING;
    let step = steps.into_iter().find(fits).unwrap_or(span);
    let first = (low / step - ROUNDING).ceil();
    let all = (0..=TICKS_MAX + 1).map(|k| (first + k as f64) * step);
    // What is not quite 0 is a rounding error of the multiplication.
    let exact = |value: f64| if value.abs() < 1e-9 * span { 0.0 } else { value };
    all.take_while(|&value| value <= high + ROUNDING * span).map(exact).collect()
}

fn lines(page: &mut String, x: &Axis, y: &Axis, series: &[Series]) {
    let points = || series.iter().flat_map(|series| series.points.iter());
    let across_scale = Scale::over(x, points().map(|point| point.0));
    let up_scale = Scale::over(y, points().map(|point| point.1));
    let _ = writeln!(page, "<p class=\"legend\">{}{}</p>", escape(&y.label), legend(series));
    page.push_str("<div class=\"plot\"><div class=\"up\" aria-hidden=\"true\">");
    for tick in up_scale.ticks() {
        let bottom = up_scale.percent(tick);
        let _ = write!(page, "<i style=\"bottom:{bottom:.1}%\">{}</i>", short(tick));
    }
    let told = escape(&told(series, x, y));
    let _ = write!(
        page,
        "</div><svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"{told}\">"
    );
    for tick in up_scale.ticks() {
        let height = 1000.0 - 10.0 * up_scale.percent(tick);
        let _ = write!(page, "<path class=\"grid\" d=\"M0 {height:.0}H1000\"/>");
    }
    for (series, class) in series.iter().zip(CLASSES) {
        let _ = write!(page, "<path class=\"{class}\" d=\"");
        for (k, &(at, value)) in series.points.iter().enumerate() {
            let command = if k == 0 { 'M' } else { 'L' };
            let (left, top) = (across_scale.percent(at), 100.0 - up_scale.percent(value));
            let _ = write!(page, "{command}{:.0} {:.0}", 10.0 * left, 10.0 * top);
        }
        page.push_str("\"/>");
    }
    page.push_str("</svg></div>\n");
    across(page, &across_scale, &x.label);
}

fn legend(series: &[Series]) -> String {
    if series.len() < 2 {
        return String::new();
    }
    let entry = |(series, class): (&Series, &str)| {
        format!(" <span class=\"key {class}\">{}</span>", escape(&series.name))
    };
    series.iter().zip(CLASSES).map(entry).collect()
}

/// The plot in words, for who does not see it.
fn told(series: &[Series], x: &Axis, y: &Axis) -> String {
    let ends = |series: &Series| {
        let last = series.points.last()?;
        let name = &series.name;
        Some(format!("{name} ends at {} {}, {} {}", short(last.0), x.label, short(last.1), y.label))
    };
    series.iter().filter_map(ends).collect::<Vec<_>>().join("; ")
}

fn across(page: &mut String, scale: &Scale, label: &str) {
    page.push_str("<div class=\"strip axis across\" aria-hidden=\"true\">");
    for tick in scale.ticks() {
        let left = scale.percent(tick);
        let _ = write!(page, "<i style=\"left:{left:.1}%\">{}</i>", short(tick));
    }
    let _ = writeln!(page, "</div>\n<p class=\"legend across\">{}</p>", escape(label));
}

fn heat(page: &mut String, rows: &[HeatRow], (light, dark): (f64, f64)) {
    page.push_str("<div class=\"heat\">");
    for row in rows {
        let worst = row.values.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        let told = format!("{}: at most {}", row.name, short(worst));
        let _ = write!(
            page,
            "<div class=\"cells\" role=\"img\" aria-label=\"{}\" title=\"{0}\">",
            escape(&told)
        );
        for value in &row.values {
            match value {
                // Equal factors are equal steps of darkness: a stall is worth ten gaps, not ten more.
                Some(value) => {
                    let share = (value / light).max(1.0).ln() / (dark / light).max(1.01).ln();
                    let _ = write!(
                        page,
                        "<i style=\"opacity:{:.2}\"></i>",
                        0.08 + 0.92 * share.min(1.0)
                    );
                }
                None => page.push_str("<b></b>"),
            }
        }
        page.push_str("</div>");
    }
    page.push_str("</div>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(drawing: Drawing) -> String {
        let mut page = String::new();
        render(&mut page, &[Plot { title: "a<b".to_owned(), drawing }]);
        page
    }

    fn drawing(points: &[(f64, f64)], logarithmic: bool) -> Drawing {
        let axis = |label: &str| Axis { label: label.to_owned(), logarithmic };
        let series = Series { name: "</svg>".to_owned(), points: points.to_vec() };
        Drawing::Lines { x: axis("x\""), y: axis("y"), series: vec![series.clone(), series] }
    }

    #[test]
    fn nothing_to_draw_draws_nothing() {
        assert_eq!("", rendered(drawing(&[], false)));
        assert_eq!("", rendered(drawing(&[(1.0, 1.0)], true)));
    }

    #[test]
    fn names_are_escaped_and_points_stay_inside() {
        for logarithmic in [false, true] {
            let page = rendered(drawing(&[(0.0, -5.0), (1e-9, 1.0), (1e9, f64::NAN)], logarithmic));
            assert!(page.contains("a&lt;b") && page.contains("&lt;/svg&gt;"), "{page}");
            assert_eq!(1, page.matches("</svg>").count());
            for command in page.split(['M', 'L']).skip(1).filter_map(|rest| rest.split_once(' ')) {
                if let Ok(at) = command.0.parse::<f64>() {
                    assert!((0.0..=1000.0).contains(&at), "{at}");
                }
            }
        }
    }

    #[test]
    fn equal_values_have_an_axis_too() {
        let page = rendered(drawing(&[(5.0, 5.0), (5.0, 5.0)], false));
        assert!(page.contains("M500 500L500 500"), "{page}");
    }

    #[track_caller]
    fn check_ticks(low: f64, high: f64, logarithmic: bool, expected: &[f64]) {
        let axis = Axis { label: String::new(), logarithmic };
        let ticks = Scale::over(&axis, [low, high].into_iter()).ticks();
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9 * b.abs();
        let same = ticks.len() == expected.len() && ticks.iter().zip(expected).all(near);
        assert!(same, "{low} … {high}: {ticks:?}");
    }

    #[test]
    fn marks_stand_at_round_values() {
        check_ticks(0.0, 5.982, false, &[0.0, 2.0, 4.0]);
        check_ticks(0.0, 100.0, false, &[0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        check_ticks(-0.3, 0.7, false, &[-0.2, 0.0, 0.2, 0.4, 0.6]);
        check_ticks(20.0, 3012.0, true, &[100.0, 1000.0]);
        check_ticks(0.3283, 21.98, true, &[1.0, 10.0]);
        check_ticks(19.0, 55.0, true, &[20.0, 50.0]);
        check_ticks(19.9, 20.1, true, &[19.9, 19.95, 20.0, 20.05, 20.1]);
        check_ticks(
            0.001,
            1e6,
            true,
            &[0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6]
                .map(f64::from)
                .iter()
                .copied()
                .step_by(2)
                .collect::<Vec<_>>(),
        );
    }

    #[test]
    fn a_heat_strip_has_a_cell_for_each_value() {
        let row = HeatRow { name: "r".to_owned(), values: vec![Some(1.0), None, Some(1e6)] };
        let (x, value) = (Axis::linear("s"), "ms".to_owned());
        let page = rendered(Drawing::Heat {
            x,
            from: 0.0,
            to: 3.0,
            value,
            light: 1.0,
            dark: 10.0,
            rows: vec![row],
        });
        assert!(page.contains("opacity:0.08") && page.contains("opacity:1.00"), "{page}");
        assert!(page.contains("left:0.0%\">0</i>"), "{page}");
        assert_eq!(1, page.matches("<b></b>").count());
    }
}
