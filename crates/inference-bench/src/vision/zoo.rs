//! Models without downloads: graphs that are true to their architecture, with weights drawn from a seed.
//!
//! Parameters and operations are those of the published models, so speed and memory are, too: neither
//! depends on the values of weights. What such a model sees is nothing; no claim on accuracy is made.
//!
//! Source: the published layer tables and counts of Ultralytics YOLO11 (2024) and YOLO12 (2025).

mod blocks;
mod builder;
mod detect;
mod yolo;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::builder::Normalization;
use super::onnx::Graph;

/// The side of the square picture that published figures are for, in pixels.
pub const SIZE: u64 = 640;
/// The strides of the networks: sides are multiples of it.
const STRIDE: u64 = 32;
/// The largest side that is generated, in pixels.
const SIZE_MAX: u64 = 4096;

/// Sizes in which a family comes, as the targets of the founding suite name them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Variant {
    /// `n`.
    Nano,
    /// `s`.
    Small,
    /// `m`.
    Medium,
    /// `l`.
    Large,
    /// `x`.
    ExtraLarge,
}

impl Variant {
    /// All of them, the smallest first.
    pub const ALL: [Self; 5] =
        [Self::Nano, Self::Small, Self::Medium, Self::Large, Self::ExtraLarge];

    /// The word for it in targets.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Nano => "nano",
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
            Self::ExtraLarge => "extra_large",
        }
    }
}

/// A model of the zoo.
///
/// # Examples
///
/// ```
/// use inference_bench::vision::zoo::{self, Normalization};
///
/// let model = zoo::find("yolo11n").expect("it is there");
/// let graph = model.graph(640, 0, Normalization::Fused)?;
/// assert_eq!(2_616_248, graph.counts().parameters);
/// # Ok::<(), zoo::WrongSize>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Model {
    /// What `--model` calls it.
    pub name: &'static str,
    /// Its size within its family.
    pub variant: Variant,
    /// The published count of parameters, batch normalization apart.
    pub parameters: u64,
    /// The published billions of operations of one inference at 640 × 640.
    pub gflops: f64,
    family: Family,
}

/// The families that can be built.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Family {
    Yolo11,
    Yolo12,
}

/// How far a size is from the family's table.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scale {
    /// Times the repetitions of blocks.
    depth: f64,
    /// Times the channels of layers …
    width: f64,
    /// … which are cut to this before.
    channels_max: u64,
}

impl Scale {
    fn of(variant: Variant) -> Self {
        let (depth, width, channels_max) = match variant {
            Variant::Nano => (0.5, 0.25, 1024),
            Variant::Small => (0.5, 0.5, 1024),
            Variant::Medium => (0.5, 1.0, 512),
            Variant::Large => (1.0, 1.0, 512),
            Variant::ExtraLarge => (1.0, 1.5, 512),
        };
        Self { depth, width, channels_max }
    }

    /// The sizes that the tables treat as large: m, l and x.
    fn is_large(&self) -> bool {
        1.0 <= self.width
    }
}

/// What is to be built.
struct Sized<'a> {
    name: &'a str,
    scale: Scale,
    size: u64,
    seed: u64,
}

const fn model(
    name: &'static str,
    family: Family,
    variant: Variant,
    (parameters, gflops): (u64, f64),
) -> Model {
    Model { name, variant, parameters, gflops, family }
}

/// All models of the zoo.
pub const MODELS: &[Model] = &[
    model("yolo11n", Family::Yolo11, Variant::Nano, (2_624_080, 6.5)),
    model("yolo11s", Family::Yolo11, Variant::Small, (9_458_752, 21.5)),
    model("yolo11m", Family::Yolo11, Variant::Medium, (20_114_688, 68.0)),
    model("yolo11l", Family::Yolo11, Variant::Large, (25_372_160, 86.9)),
    model("yolo11x", Family::Yolo11, Variant::ExtraLarge, (56_966_176, 194.9)),
    model("yolo12n", Family::Yolo12, Variant::Nano, (2_602_288, 6.5)),
    model("yolo12s", Family::Yolo12, Variant::Small, (9_284_096, 21.4)),
    model("yolo12m", Family::Yolo12, Variant::Medium, (20_199_168, 67.5)),
    model("yolo12l", Family::Yolo12, Variant::Large, (26_450_784, 88.9)),
    model("yolo12x", Family::Yolo12, Variant::ExtraLarge, (59_210_784, 199.0)),
];

/// The model of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.name == name)
}

/// Why a model cannot be built for pictures of this size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WrongSize {
    /// What was asked for, in pixels.
    pub size: u64,
}

impl fmt::Display for WrongSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.size;
        write!(f, "a side of {size} pixels is no multiple of {STRIDE} up to {SIZE_MAX}")
    }
}

impl std::error::Error for WrongSize {}

impl Model {
    /// Builds its graph for square pictures of this side, in pixels.
    ///
    /// # Errors
    ///
    /// [`WrongSize`] when the side is no multiple of 32 from 32 to 4096.
    pub fn graph(
        &self,
        size: u64,
        seed: u64,
        normalization: Normalization,
    ) -> Result<Graph, WrongSize> {
        if !size.is_multiple_of(STRIDE) || !(STRIDE..=SIZE_MAX).contains(&size) {
            return Err(WrongSize { size });
        }
        let sized = Sized { name: self.name, scale: Scale::of(self.variant), size, seed };
        let mut graph = match self.family {
            Family::Yolo11 => yolo::yolo11(&sized, normalization),
            Family::Yolo12 => yolo::yolo12(&sized, normalization),
        };
        let about = [("weights", "synthetic".to_owned()), ("seed", seed.to_string())];
        graph.metadata.extend(about.map(|(key, value)| (key.to_owned(), value)));
        Ok(graph)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(name: &str, normalization: Normalization) -> crate::vision::onnx::Counts {
        find(name).unwrap().graph(SIZE, 0, normalization).unwrap().counts()
    }

    #[test]
    fn parameters_are_the_published_ones_exactly() {
        for model in MODELS {
            let counted = counts(model.name, Normalization::Apart).parameters;
            assert_eq!(model.parameters, counted, "{}", model.name);
        }
    }

    /// Counts of exported models.
    #[test]
    fn fused_parameters_are_those_of_deployed_models() {
        let fused = [
            ("yolo11n", 2_616_248),
            ("yolo11s", 9_443_760),
            ("yolo11m", 20_091_712),
            ("yolo11l", 25_340_992),
            ("yolo11x", 56_919_424),
        ];
        for (name, parameters) in fused {
            assert_eq!(parameters, counts(name, Normalization::Fused).parameters, "{name}");
        }
    }

    #[test]
    fn operations_are_within_two_percent_of_the_published() {
        for model in MODELS {
            let gflops = counts(model.name, Normalization::Fused).gflops_published();
            let off = gflops / model.gflops - 1.0;
            assert!(off.abs() < 0.02, "{}: {gflops} of {}", model.name, model.gflops);
        }
    }

    #[test]
    fn sides_are_multiples_of_the_stride() {
        let model = find("yolo11n").unwrap();
        for size in [0, 1, 31, 33, 100, 4128, u64::MAX] {
            assert!(model.graph(size, 0, Normalization::Fused).is_err(), "{size}");
        }
        assert!(model.graph(32, 0, Normalization::Fused).is_ok());
    }

    #[test]
    fn a_seed_decides_every_byte() {
        let file = |seed| {
            let mut file = Vec::new();
            let graph = find("yolo11n").unwrap().graph(32, seed, Normalization::Fused).unwrap();
            graph.write(&mut file).unwrap();
            assert_eq!(graph.file_bytes(), file.len() as u64);
            file
        };
        let first = file(7);
        assert!(first == file(7) && first != file(8));
    }
}
