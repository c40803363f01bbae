//! What was measured of a model: raw figures, as they come out of the process that measured them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::families::Family;
use super::picture::Content;
use super::zoo::Variant;

/// Failures whose words are kept.
const WORDS_MAX: usize = 8;

/// What is known of a model beforehand.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Facts {
    /// What it is called.
    pub name: String,
    /// Its size, where it is one of the zoo's.
    pub variant: Option<Variant>,
    /// Billions of operations of one inference, where they are known.
    pub gflops: Option<f64>,
    /// Whether its weights are drawn, not trained.
    pub is_synthetic: bool,
}

/// How long one picture took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Sample {
    /// Scaled, padded, normalized.
    pub before_ms: f64,
    /// The model.
    pub inference_ms: f64,
    /// Scores read, boxes thinned out.
    pub after_ms: f64,
}

impl Sample {
    /// All stages.
    #[must_use]
    pub fn total_ms(&self) -> f64 {
        self.before_ms + self.inference_ms + self.after_ms
    }
}

/// Pictures as fast as they go, as many at once as there are threads.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Batch {
    /// How many.
    pub pictures: u64,
    /// How long all of them took, in milliseconds.
    pub wall_ms: f64,
    /// How long each took, while others were on their way, in milliseconds.
    #[serde(default)]
    pub each_ms: Vec<f64>,
    /// The peak of resident memory above what was there before, in bytes.
    pub peak_bytes: Option<u64>,
}

impl Batch {
    /// Pictures a second; `None` without any.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        (0 < self.pictures).then(|| 1e3 * self.pictures as f64 / self.wall_ms)
    }
}

/// Pictures of one size and content.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct OfPicture {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// How much there is to see.
    pub content: Content,
    /// What that amounts to: see `Picture::entropy_bits`.
    pub entropy_bits: f64,
    /// How long they took.
    pub samples: Vec<Sample>,
}

/// What the memory held after each of many equal inferences.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Growth {
    /// Bytes on the heap, where they are counted.
    pub live_bytes: Vec<u64>,
    /// Resident memory of the process, in bytes.
    pub resident_bytes: Vec<u64>,
    /// The side of the pictures that the model took, in pixels.
    pub side: u64,
}

/// What loading and dropping leave behind.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Cleanup {
    /// Live or, where they are not counted, resident bytes before loading.
    pub before_bytes: u64,
    /// The same after loading, running and dropping, so many times.
    pub after_bytes: u64,
    /// How many times.
    pub cycles: u64,
}

/// All that was measured of a model.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Figures {
    /// What is known of it beforehand.
    pub facts: Facts,
    /// The engine, with its version.
    pub engine: String,
    /// Threads that share the work of an inference.
    pub threads: u64,
    /// The longer side of what the model takes, in pixels; 0 where that is not known.
    #[serde(default)]
    pub side: u64,
    /// Times from the file to a model that can run, in milliseconds.
    pub load_ms: Vec<f64>,
    /// Pictures one at a time, at full HD.
    pub single: Vec<Sample>,
    /// Many pictures.
    pub batch: Option<Batch>,
    /// The peak of resident memory above what was there before, for some inferences, in bytes.
    pub peak_bytes: Vec<u64>,
    /// Whether it grows.
    pub growth: Option<Growth>,
    /// Response times of requests that came at once, in milliseconds.
    pub concurrent_ms: Vec<f64>,
    /// How many came at once.
    pub at_once: u64,
    /// What stays behind.
    pub cleanup: Option<Cleanup>,
    /// By size and content.
    pub pictures: Vec<OfPicture>,
    /// Billions of operations per second of a plain matrix product on the same engine.
    pub reference_gflops_per_s: Option<f64>,
    /// Operations that were tried: loads and inferences.
    pub tried: u64,
    /// Those that failed.
    pub failed: u64,
    /// The words of the first failures.
    pub failures: Vec<String>,
    /// The families that came to their end.
    pub done: Vec<Family>,
    /// What the time of a family did not suffice for: how many of its operations.
    #[serde(default)]
    pub left_out: BTreeMap<Family, u64>,
}

impl Figures {
    /// Starts without any measurement.
    #[must_use]
    pub fn new(facts: Facts) -> Self {
        Self { facts, ..Self::default() }
    }

    /// Counts an operation, and keeps the words of its failure.
    pub fn count<T, E: std::fmt::Display>(&mut self, outcome: Result<T, E>) -> Option<T> {
        self.tried += 1;
        outcome.map_err(|error| self.fail(error.to_string())).ok()
    }

    fn fail(&mut self, words: String) {
        self.failed += 1;
        if self.failures.len() < WORDS_MAX {
            self.failures.push(words);
        }
    }

    /// Declares the whole model failed: its process died, so nothing that it did counts as done.
    pub fn lose(&mut self, words: String) {
        self.tried = self.tried.max(1);
        self.failed = self.tried;
        self.failures.insert(0, words);
        self.failures.truncate(WORDS_MAX);
    }
}
