//! Plots as data: what is drawn, not how.

use serde::{Deserialize, Serialize};

/// One axis of a plot.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Axis {
    /// What it shows, with its unit: `time to first token (ms)`.
    pub label: String,
    /// Whether equal steps are equal factors. Values up to 0 are not on such an axis.
    pub logarithmic: bool,
}

impl Axis {
    /// An axis of equal steps.
    #[must_use]
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), logarithmic: false }
    }

    /// An axis of equal factors.
    #[must_use]
    pub fn logarithmic(label: impl Into<String>) -> Self {
        Self { label: label.into(), logarithmic: true }
    }
}

/// A named line of points, in the order of x.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// A row of a heat strip.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct HeatRow {
    /// What it is.
    pub name: String,
    /// A value for each column, where there is one.
    pub values: Vec<Option<f64>>,
}

/// A bar whose parts lie end to end.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct BarRow {
    /// What it is.
    pub name: String,
    /// How long each part is, from 0 on.
    pub values: Vec<f64>,
}

/// What a plot shows.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Drawing {
    /// Lines over common axes.
    Lines {
        /// Across.
        x: Axis,
        /// Upwards.
        y: Axis,
        /// At most four of them: more cannot be told apart.
        series: Vec<Series>,
    },
    /// Bars below each other.
    Bars {
        /// Across, from 0.
        x: Axis,
        /// What the parts of each bar are, at most four of them.
        parts: Vec<String>,
        /// The bars.
        rows: Vec<BarRow>,
    },
    /// Rows of cells, the darker the larger.
    Heat {
        /// Across: from the first column to the end of the last.
        x: Axis,
        /// Where the columns begin and end.
        from: f64,
        /// See `from`.
        to: f64,
        /// What a cell shows, with its unit.
        value: String,
        /// The value that is as light as nothing.
        light: f64,
        /// The value from which on a cell is as dark as it gets.
        dark: f64,
        /// The rows.
        rows: Vec<HeatRow>,
    },
}

/// A plot of a suite.
///
/// # Examples
///
/// ```
/// use inference_bench::report::{Axis, Drawing, Plot, Series};
///
/// let series = vec![Series { name: "all".to_owned(), points: vec![(1.0, 50.0), (10.0, 100.0)] }];
/// let (x, y) = (Axis::logarithmic("latency (ms)"), Axis::linear("requests (%)"));
/// let plot = Plot { title: "Latency".to_owned(), drawing: Drawing::Lines { x, y, series } };
/// assert!(!plot.is_empty());
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Plot {
    /// What it answers.
    pub title: String,
    /// What it shows.
    pub drawing: Drawing,
}

impl Plot {
    /// Whether there is nothing to draw.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.drawing {
            Drawing::Lines { series, .. } => series.iter().all(|series| series.points.len() < 2),
            Drawing::Bars { rows, .. } => rows.iter().all(|row| row.values.is_empty()),
            Drawing::Heat { rows, .. } => {
                rows.iter().all(|row| row.values.iter().all(Option::is_none))
            }
        }
    }
}
