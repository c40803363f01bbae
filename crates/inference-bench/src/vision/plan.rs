//! How much is measured, and of what.

use std::path::PathBuf;
use std::time::Duration;

use super::families::Family;
use super::fault::Fault;
use super::figures::Facts;
use super::picture::{Content, Picture};

/// How thorough a run is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Mode {
    /// A few models, the fewest repetitions that say anything.
    #[default]
    Quick,
    /// All of the zoo, 45 seconds each at most.
    Comprehensive,
    /// As long as it takes.
    Stress,
}

/// Which engine runs the model.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum EngineKind {
    /// The one written in Rust.
    #[default]
    Rten,
    /// ONNX Runtime, whose library lies here.
    #[cfg(feature = "ort")]
    Ort(PathBuf),
}

/// A model to be measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subject {
    /// What is known of it.
    pub facts: Facts,
    /// The model.
    pub file: PathBuf,
    /// The same for the smallest pictures, where it can be had: repeating it shows a leak sooner.
    pub small_file: Option<PathBuf>,
    /// The side of pictures, in pixels, where the model leaves it open: a multiple of 32.
    pub side: usize,
}

/// What is measured, and how often.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// Which families.
    pub families: Vec<Family>,
    /// How often the model is loaded.
    pub loads: u64,
    /// Single pictures.
    pub singles: u64,
    /// Pictures of a batch, after [`batch_warmups`](Self::batch_warmups).
    pub batch: u64,
    /// Inferences whose peak is taken.
    pub peaks: u64,
    /// Requests at once.
    pub at_once: u64,
    /// How often so many come.
    pub waves: u64,
    /// Inferences before growth is looked at: caches fill first.
    pub warmups: u64,
    /// Equal inferences after which memory is read.
    pub repeats: u64,
    /// How often the model is loaded, run and dropped.
    pub cycles: u64,
    /// Pictures of each size and content.
    pub of_each: u64,
    /// Their sizes and contents.
    pub pictures: Vec<(u32, u32, Content)>,
    /// How long one family may take; what is not done by then is left out.
    pub family_time_max: Duration,
    /// Threads that share the work of one inference.
    pub threads: usize,
    /// What goes wrong in each inference.
    pub fault: Option<Fault>,
    /// Decides the pictures that are made up.
    pub seed: u64,
    /// Pictures for single looks, instead of made-up ones.
    pub given: Vec<Picture>,
}

/// The size of single pictures: full HD.
const SINGLE: (u32, u32) = (1920, 1080);
/// How many of them take turns.
const MADE_UP: u64 = 4;
/// Sizes from the smallest to full HD, and shapes that are nearly lines.
const SIZES: [(u32, u32); 6] =
    [(64, 64), (320, 240), (640, 640), (1920, 1080), (4000, 40), (24, 3000)];

impl Plan {
    /// The plan of a mode, for all families.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let of_sizes = |contents: &[Content]| {
            let kinds = SIZES.iter().flat_map(|&(w, h)| contents.iter().map(move |&c| (w, h, c)));
            kinds.collect::<Vec<_>>()
        };
        // All sizes with one content, and one size with the others.
        let others =
            [Content::Simple, Content::Complex].map(|content| (SINGLE.0, SINGLE.1, content));
        let few = [of_sizes(&[Content::Medium]), others.to_vec()].concat();
        let quick = Self {
            families: Family::ALL.to_vec(),
            loads: 3,
            singles: 12,
            batch: 24,
            peaks: 3,
            at_once: 10,
            waves: 1,
            warmups: 10,
            repeats: 50,
            cycles: 5,
            of_each: 1,
            pictures: few,
            family_time_max: Duration::from_secs(10),
            threads,
            fault: None,
            seed: 1,
            given: Vec::new(),
        };
        match mode {
            Mode::Quick => quick,
            Mode::Comprehensive => Self {
                loads: 5,
                singles: 64,
                batch: 32,
                peaks: 10,
                waves: 3,
                of_each: 3,
                pictures: of_sizes(&Content::ALL),
                family_time_max: Duration::from_secs(5),
                ..quick
            },
            Mode::Stress => Self {
                loads: 10,
                singles: 700,
                batch: 200,
                peaks: 50,
                waves: 10,
                repeats: 200,
                cycles: 20,
                of_each: 12,
                pictures: of_sizes(&Content::ALL),
                family_time_max: Duration::from_secs(1800),
                ..quick
            },
        }
    }

    /// Looks before a batch's time counts: they touch memory that later ones find warm.
    ///
    /// The first look has all threads to itself, so each thread has had one of its own after two for each.
    #[must_use]
    pub fn batch_warmups(&self) -> u64 {
        2 * self.threads.max(1) as u64
    }

    /// The pictures of the family of real time: those given, or four that are made up, in full HD.
    #[must_use]
    pub fn single_pictures(&self) -> Vec<Picture> {
        if !self.given.is_empty() {
            return self.given.clone();
        }
        let make = |number| {
            Picture::generate(SINGLE.0, SINGLE.1, Content::Medium, self.seed.wrapping_add(number))
        };
        (0..MADE_UP).map(make).collect()
    }
}
