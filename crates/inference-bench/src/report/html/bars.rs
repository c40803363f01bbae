//! Draws bars whose parts lie end to end: boxes in percent of a row, as in the strip of gates.

use std::fmt::Write;

use super::super::escape::xml as escape;
use super::super::plot::{Axis, BarRow};
use super::plots::Scale;
use crate::gate::short;

/// The classes of parts; how dark they are tells them apart.
const CLASSES: [&str; 4] = ["one", "two", "three", "four"];

pub(super) fn render(page: &mut String, x: &Axis, parts: &[String], rows: &[BarRow]) {
    let scale = Scale::from_zero(rows.iter().map(total).fold(0.0, f64::max));
    let _ = writeln!(page, "<p class=\"legend\">{}{}</p>", escape(&x.label), legend(parts));
    rows.iter().for_each(|bar| row(page, bar, parts, &scale));
    page.push_str(
        "<div class=\"row\"><span></span><div class=\"strip axis\" aria-hidden=\"true\">",
    );
    for tick in scale.ticks() {
        let _ = write!(page, "<i style=\"left:{:.1}%\">{}</i>", scale.percent(tick), short(tick));
    }
    page.push_str("</div><span></span></div>\n");
}

/// What can be drawn of a row: a part that is no number, or less than nothing, has no length.
fn lengths(row: &BarRow) -> impl Iterator<Item = f64> {
    row.values.iter().map(|value| if value.is_finite() { value.max(0.0) } else { 0.0 })
}

fn total(row: &BarRow) -> f64 {
    lengths(row).sum()
}

fn row(page: &mut String, row: &BarRow, parts: &[String], scale: &Scale) {
    let name = escape(&row.name);
    let told: Vec<_> = parts
        .iter()
        .zip(lengths(row))
        .map(|(part, len)| format!("{part} {}", short(len)))
        .collect();
    let _ = write!(
        page,
        "<div class=\"row\"><span class=\"name\">{name}</span>\
         <div class=\"strip\" role=\"img\" aria-label=\"{name}: {}\" title=\"{0}\">",
        escape(&told.join(", "))
    );
    let mut from = 0.0;
    for (len, class) in lengths(row).zip(CLASSES) {
        let (left, right) = (scale.percent(from), scale.percent(from + len));
        let _ = write!(
            page,
            "<i class=\"part {class}\" style=\"left:{left:.2}%;width:{:.2}%\"></i>",
            right - left
        );
        from += len;
    }
    let _ = writeln!(page, "</div><span class=\"value\">{}</span></div>", short(total(row)));
}

fn legend(parts: &[String]) -> String {
    let entry = |(part, class): (&String, &str)| {
        format!(" <span class=\"swatch\"><i class=\"part {class}\"></i>{}</span>", escape(part))
    };
    parts.iter().zip(CLASSES).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(rows: &[(&str, &[f64])]) -> String {
        let mut page = String::new();
        let row = |(name, values): &(&str, &[f64])| BarRow {
            name: (*name).to_owned(),
            values: values.to_vec(),
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        let parts = ["first", "a<b"].map(str::to_owned);
        render(&mut page, &Axis::linear("ms"), &parts, &rows);
        page
    }

    #[test]
    fn parts_lie_end_to_end() {
        let page = rendered(&[("x", &[10.0, 30.0]), ("y", &[5.0, 5.0])]);
        for style in
            ["left:0.00%;width:25.00%", "left:25.00%;width:75.00%", "left:12.50%;width:12.50%"]
        {
            assert!(page.contains(style), "{style}: {page}");
        }
    }

    #[test]
    fn names_are_escaped_and_nonsense_has_no_length() {
        let page = rendered(&[("</div>", &[f64::NAN, -1.0]), ("y", &[f64::INFINITY, 4.0])]);
        assert!(page.contains("a&lt;b") && page.contains("&lt;/div&gt;") && !page.contains("NaN"));
        assert_eq!(1, page.matches("width:100.00%").count(), "{page}");
    }
}
