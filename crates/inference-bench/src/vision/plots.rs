//! What one wants to see of models. Pure.

use super::figures::{Figures, Sample};
use crate::report::{Axis, BarRow, Drawing, Plot, Series};
use crate::stats::median;
use crate::stream::Spread;

/// Models that share a plot of lines: more cannot be told apart.
const LINES_MAX: usize = 4;
/// Points of a distribution: more than a screen has columns for would not be seen.
const POINTS: usize = 120;
const KIB: f64 = (1 << 10) as f64;
const MIB: f64 = (1 << 20) as f64;

/// The plots of a run over these models: how times are distributed, which stage takes them, and what the
/// memory does over many inferences.
///
/// What a model has no figures for has no line, and may leave a plot empty.
///
/// # Examples
///
/// ```
/// use inference_bench::vision::{Figures, Sample, plots};
///
/// let mut figures = Figures::default();
/// figures.single = vec![Sample { before_ms: 2.0, inference_ms: 60.0, after_ms: 1.0 }; 12];
/// let drawn: Vec<_> = plots(&[figures]).into_iter().filter(|plot| !plot.is_empty()).collect();
/// assert_eq!("How long one picture takes", drawn[0].title);
/// ```
#[must_use]
pub fn plots(all: &[Figures]) -> Vec<Plot> {
    let mut plots = vec![stages_by_model(all)];
    for some in all.chunks(LINES_MAX) {
        plots.extend(of_some(some));
    }
    plots.extend(all.iter().map(stages_by_picture));
    let (distributions, others): (Vec<_>, Vec<_>) =
        plots.into_iter().partition(|plot| matches!(plot.drawing, Drawing::Lines { .. }));
    distributions.into_iter().chain(others).collect()
}

/// Lines, one for each of few models.
fn of_some(models: &[Figures]) -> [Plot; 4] {
    let totals = |figures: &Figures| figures.single.iter().map(Sample::total_ms).collect();
    let responses = |figures: &Figures| figures.concurrent_ms.clone();
    let (live, resident) = ("live bytes since the first (KiB)", "resident since the first (MiB)");
    [
        distribution("How long one picture takes", "all stages (ms)", models, totals),
        distribution("Requests at once", "until the answer (ms)", models, responses),
        growth("Does the heap grow?", live, models, |figures| {
            let growth = figures.growth.as_ref()?;
            Some(since_first(&growth.live_bytes, KIB))
        }),
        growth("Does the process grow?", resident, models, |figures| {
            let growth = figures.growth.as_ref()?;
            Some(since_first(&growth.resident_bytes, MIB))
        }),
    ]
}

/// Six digits: more than a screen shows, and a file that is half as long.
fn short(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

fn distribution(
    title: &str,
    label: &str,
    models: &[Figures],
    values: impl Fn(&Figures) -> Vec<f64>,
) -> Plot {
    let series = models.iter().filter_map(|figures| {
        let spread = Spread::of(values(figures));
        let curve = spread.cumulative(POINTS).into_iter();
        // A single value is no distribution.
        (1 < spread.n()).then(|| Series {
            name: format!("{} ({})", figures.facts.name, spread.n()),
            points: curve.map(|(x, y)| (short(x), short(y))).collect(),
        })
    });
    let drawing = Drawing::Lines {
        x: Axis::logarithmic(label),
        y: Axis::linear("% at or below"),
        series: series.collect(),
    };
    Plot { title: title.to_owned(), drawing }
}

fn growth(
    title: &str,
    label: &str,
    models: &[Figures],
    points: impl Fn(&Figures) -> Option<Vec<(f64, f64)>>,
) -> Plot {
    let series = models.iter().filter_map(|figures| {
        Some(Series { name: figures.facts.name.clone(), points: points(figures)? })
    });
    let drawing = Drawing::Lines {
        x: Axis::linear("equal inferences, after the warm-ups"),
        y: Axis::linear(label),
        series: series.collect(),
    };
    Plot { title: title.to_owned(), drawing }
}

fn since_first(bytes: &[u64], unit: f64) -> Vec<(f64, f64)> {
    let first = bytes.first().copied().unwrap_or_default() as f64;
    let point = |(k, &b): (usize, &u64)| (k as f64 + 1.0, short((b as f64 - first) / unit));
    bytes.iter().enumerate().map(point).collect()
}

fn stages_by_model(all: &[Figures]) -> Plot {
    let rows = all.iter().filter_map(|figures| row(&figures.facts.name, &figures.single));
    bars("Where the time of one picture goes".to_owned(), rows.collect())
}

fn stages_by_picture(figures: &Figures) -> Plot {
    let rows = figures.pictures.iter().filter_map(|of| {
        let name = format!("{} x {}, {}", of.width, of.height, of.content.word());
        row(&name, &of.samples)
    });
    bars(format!("{}: where the time goes, by picture", figures.facts.name), rows.collect())
}

fn bars(title: String, rows: Vec<BarRow>) -> Plot {
    let parts = ["before", "the model", "after"].map(str::to_owned).into();
    let x = Axis::linear("medians of the stages (ms)");
    Plot { title, drawing: Drawing::Bars { x, parts, rows } }
}

/// The medians of the stages; no row of no samples.
fn row(name: &str, samples: &[Sample]) -> Option<BarRow> {
    let of =
        |part: fn(&Sample) -> f64| short(median(&samples.iter().map(part).collect::<Vec<_>>()));
    (!samples.is_empty()).then(|| BarRow {
        name: name.to_owned(),
        values: vec![of(|s| s.before_ms), of(|s| s.inference_ms), of(|s| s.after_ms)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::figures::Growth;

    fn model(name: &str, ms: f64) -> Figures {
        let mut figures = Figures::default();
        figures.facts.name = name.to_owned();
        figures.single = (0..12).map(|k| sample(ms + f64::from(k))).collect();
        let live_bytes = (0..50).map(|k| 1000 + 64 * k).collect();
        figures.growth = Some(Growth { live_bytes, ..Growth::default() });
        figures
    }

    fn sample(inference_ms: f64) -> Sample {
        Sample { before_ms: 2.0, inference_ms, after_ms: 1.0 }
    }

    fn drawn(all: &[Figures], title: &str) -> Vec<Drawing> {
        let fits = |plot: &Plot| plot.title == title && !plot.is_empty();
        plots(all).into_iter().filter(fits).map(|plot| plot.drawing).collect()
    }

    #[test]
    fn nothing_measured_draws_nothing() {
        assert!(plots(&[]).iter().all(Plot::is_empty));
        assert!(plots(&[Figures::default()]).iter().all(Plot::is_empty));
    }

    #[test]
    fn a_distribution_goes_from_the_fastest_to_the_slowest() {
        let [Drawing::Lines { series, .. }] =
            &drawn(&[model("m", 10.0)], "How long one picture takes")[..]
        else {
            panic!("one plot of lines");
        };
        let points = &series[0].points;
        assert_eq!("m (12)", series[0].name);
        assert_eq!((13.0, (24.0, 100.0)), (points[0].0, *points.last().unwrap()));
    }

    #[test]
    fn no_plot_of_lines_has_more_than_can_be_told_apart() {
        let all: Vec<_> = (0..10).map(|k| model(&format!("m{k}"), 10.0)).collect();
        for title in ["How long one picture takes", "Does the heap grow?"] {
            let lens = drawn(&all, title).into_iter().map(|drawing| match drawing {
                Drawing::Lines { series, .. } => series.len(),
                _ => 0,
            });
            assert_eq!([4, 4, 2], *lens.collect::<Vec<_>>(), "{title}");
        }
    }

    #[test]
    fn growth_begins_at_nothing() {
        let [Drawing::Lines { series, .. }] = &drawn(&[model("m", 1.0)], "Does the heap grow?")[..]
        else {
            panic!("one plot of lines");
        };
        assert_eq!(((1.0, 0.0), (17.0, 1.0)), (series[0].points[0], series[0].points[16]));
    }

    #[test]
    fn a_bar_is_made_of_the_medians() {
        let all = [model("a", 10.0), model("b", 20.0)];
        let [Drawing::Bars { rows, .. }] = &drawn(&all, "Where the time of one picture goes")[..]
        else {
            panic!("one plot of bars");
        };
        assert_eq!(vec![2.0, 15.5, 1.0], rows[0].values);
        assert_eq!("b", rows[1].name);
    }
}
