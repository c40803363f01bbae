//! From a picture to boxes: prepared, inferred, read; each stage timed by itself.

mod layout;
mod letterbox;
mod suppress;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::engine::{Engine, InferError, Tensor};
use super::picture::Picture;

pub use self::layout::Layout;
pub use self::letterbox::{Letterbox, Order, Place, Preparation};
pub use self::suppress::suppress;

/// The score from which on something counts as seen.
pub const SCORE_MIN: f32 = 0.25;
/// Two boxes of one class that share more than this are one (the customary 0.45 of detectors).
pub const OVERLAP_MAX: f32 = 0.45;
/// Boxes that are kept of one picture, the surest first.
pub const DETECTIONS_MAX: usize = 300;

/// Something seen: a box in pixels of the picture.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Detection {
    /// Which class, counted from 0.
    pub class: usize,
    /// How sure the model is, from 0 to 1.
    pub score: f32,
    /// The left side, in pixels from the picture's.
    pub left: f32,
    /// The upper side.
    pub top: f32,
    /// The right side.
    pub right: f32,
    /// The lower side.
    pub bottom: f32,
}

/// How long each stage of one picture took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stages {
    /// Scaled, padded, normalized.
    pub before: Duration,
    /// The model.
    pub inference: Duration,
    /// Scores read, boxes thinned out.
    pub after: Duration,
}

impl Stages {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.before + self.inference + self.after
    }
}

/// What came of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// What was seen, the surest first.
    pub detections: Vec<Detection>,
    /// How long it took.
    pub stages: Stages,
}

/// A model with all that stands around it.
///
/// # Examples
///
/// ```
/// use inference_bench::vision::engine::RtenEngine;
/// use inference_bench::vision::picture::{Content, Picture};
/// use inference_bench::vision::pipeline::Pipeline;
/// use inference_bench::vision::zoo::{self, Normalization};
///
/// let file = tempfile::NamedTempFile::new()?;
/// let model = zoo::find("yolo11n").expect("it is in the zoo");
/// model.graph(32, 0, Normalization::Fused)?.write(&mut file.as_file())?;
///
/// let pipeline = Pipeline::new(Box::new(RtenEngine::load(file.path(), 1)?), 640)?;
/// let seen = pipeline.see(&Picture::generate(50, 40, Content::Medium, 1))?;
/// assert!(seen.stages.inference < seen.stages.total());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pipeline {
    engine: Box<dyn Engine>,
    preparation: Preparation,
    layout: Layout,
    /// Width and height of what the model takes.
    size: (usize, usize),
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut pipeline = f.debug_struct("Pipeline");
        pipeline.field("model", self.engine.describe()).field("layout", &self.layout);
        pipeline.finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Looks at what the model takes and gives. Where it leaves the sides of pictures open they are
    /// `side`, a multiple of 32.
    ///
    /// The model runs once here, on a gray picture: what it gives is not always written in its file.
    ///
    /// # Errors
    ///
    /// [`InferError`] when it does not take pictures, or cannot run.
    pub fn new(engine: Box<dyn Engine>, side: usize) -> Result<Self, InferError> {
        let described = engine.describe();
        let input = described.inputs.first().map(|port| port.dims.clone()).unwrap_or_default();
        let [batch, Some(3) | None, height, width] = input[..] else {
            let what = format!("the model takes {input:?}, no picture of three colors");
            return Err(InferError::new(what));
        };
        let size = (width.unwrap_or(side), height.unwrap_or(side));
        let batch = batch.unwrap_or(1);
        if batch != 1 || [size.0, size.1].iter().any(|side| !(1..=4096).contains(side)) {
            let what =
                format!("the model takes {input:?}; one picture of sides up to 4096 is given");
            return Err(InferError::new(what));
        }
        let outputs = engine.infer(&gray(size))?;
        let layout = Layout::of(&outputs, size);
        Ok(Self { engine, preparation: layout.preparation(), layout, size })
    }

    /// The engine under it.
    #[must_use]
    pub fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    /// How its outputs are read.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Width and height of what the model takes, in pixels.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        self.size
    }

    /// What the model would be given.
    #[must_use]
    pub fn prepare(&self, picture: &Picture) -> Tensor {
        Letterbox::new(picture.width(), picture.height(), self.size, self.preparation.place)
            .apply(picture, &self.preparation)
    }

    /// Runs all stages.
    ///
    /// # Errors
    ///
    /// [`InferError`] when the model fails, or gives something that is no number.
    pub fn see(&self, picture: &Picture) -> Result<Seen, InferError> {
        let start = Instant::now();
        let place = self.preparation.place;
        let letterbox = Letterbox::new(picture.width(), picture.height(), self.size, place);
        let input = letterbox.apply(picture, &self.preparation);
        let prepared = Instant::now();
        let outputs = self.engine.infer(&input)?;
        let inferred = Instant::now();
        let found = self.layout.read(&outputs, self.size)?;
        let mut detections = suppress(found, OVERLAP_MAX, DETECTIONS_MAX);
        detections.iter_mut().for_each(|detection| letterbox.undo(detection));
        let stages = Stages {
            before: prepared - start,
            inference: inferred - prepared,
            after: inferred.elapsed(),
        };
        Ok(Seen { detections, stages })
    }
}

fn gray((width, height): (usize, usize)) -> Tensor {
    Tensor { dims: vec![1, 3, height, width], values: vec![0.5; 3 * height * width] }
}
