//! How far the outputs of both engines are apart.
//!
//! What a model of the zoo gives hardly depends on its picture: with weights that nobody trained, most of it
//! is carried by the biases. So an engine that spoiled the first layers would be right in the end. That is
//! why values from all over the graph are held against each other, and what the picture adds to them, too.

use std::fmt;
use std::path::{Path, PathBuf};

use inference_bench::vision::engine::{Engine, OrtEngine, RtenEngine, Tensor};
use inference_bench::vision::picture::{Content, Picture};
use inference_bench::vision::pipeline::{Letterbox, Place, Preparation};
use inference_bench::vision::zoo::{self, Normalization};

/// The most that any value may be apart.
const MOST: f64 = 1e-3;
/// The same for all values of a tensor together. Rounding was at most 3.7e-6 in all ten models; one weight
/// of one depthwise kernel of `YOLO12n` that is wrong by a twentieth is 5.1e-5.
const MOST_NORM: f64 = 2e-5;
/// The same for what the picture adds: it may be so little that both engines' rounding is up to 4e-3 of it.
/// An engine that misses something there is apart by about 1.
const MOST_ADDED: f64 = 1e-2;
/// Every which convolution's output is looked at.
const EVERY: usize = 8;
/// Boxes come first, scores then.
const BOXES: usize = 4;

#[derive(Clone, Copy, Debug, Default)]
struct Apart {
    /// The largest distance of a value from its like, in units of the like, or of 1 if that is more.
    worst: f64,
    /// The distance of all values together (Euclidean), in units of their length.
    norm: f64,
}

impl Apart {
    fn between(ours: &[f32], theirs: &[f32]) -> Self {
        let pairs = || ours.iter().zip(theirs).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let worst = pairs().map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, larger);
        let length =
            |part: fn((f64, f64)) -> f64| pairs().map(part).map(|x| x * x).sum::<f64>().sqrt();
        Self { worst, norm: length(|(a, b)| a - b) / length(|(_, b)| b) }
    }

    /// Both at their worst.
    fn or_worse(self, other: Self) -> Self {
        Self { worst: larger(self.worst, other.worst), norm: larger(self.norm, other.norm) }
    }
}

/// What is no number is as bad as can be; `f64::max` would pass over it.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

impl fmt::Display for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1e} at worst, {:.1e} in norm", self.worst, self.norm)
    }
}

/// Runs a model of the zoo with both engines, on a picture and on plain gray; returns how far they are apart.
#[track_caller]
pub(super) fn check(name: &str, side: u64, library: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = generate(&folder, name, side);
    let frame = (side as usize, side as usize);
    let picture = Picture::generate(1920, 1080, Content::Complex, 5);
    let letterbox = Letterbox::new(1920, 1080, frame, Place::Center);
    let input = letterbox.apply(&picture, &Preparation::UNIT);
    let gray = Tensor { dims: input.dims.clone(), values: vec![0.45; input.values.len()] };
    let ours = RtenEngine::load(&file, 2).unwrap();
    let theirs = OrtEngine::load(&file, library, 2).unwrap();
    assert_eq!(ours.describe().inputs, theirs.describe().inputs);
    let run =
        |engine: &dyn Engine| [&input, &gray].map(|input| parts(engine.infer(input).unwrap()));
    let ([ours, our_gray], [theirs, their_gray]) = (run(&ours), run(&theirs));
    let (mut all, mut added) = (Apart::default(), Apart::default());
    for (at, (a, b)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(a.len(), b.len());
        all = all.or_worse(Apart::between(a, b));
        added =
            added.or_worse(Apart::between(&minus(a, &our_gray[at]), &minus(b, &their_gray[at])));
    }
    let told = format!(
        "{name} at {side}, the worst of {} tensors: {all}; of what the picture adds {:.1e} in norm",
        ours.len(),
        added.norm
    );
    assert!(all.worst < MOST && all.norm < MOST_NORM && added.norm < MOST_ADDED, "{told}");
    told
}

fn minus(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// Boxes, scores, then what was in between.
fn parts(outputs: Vec<Tensor>) -> Vec<Vec<f32>> {
    let mut outputs = outputs.into_iter();
    let last = outputs.next().unwrap();
    let (boxes, scores) = last.values.split_at(BOXES * last.dims[2]);
    let between = outputs.map(|tensor| tensor.values);
    [boxes.to_vec(), scores.to_vec()].into_iter().chain(between).collect()
}

/// A model that tells what is within it, too.
fn generate(folder: &tempfile::TempDir, name: &str, side: u64) -> PathBuf {
    let path = folder.path().join("model.onnx");
    let mut graph = zoo::find(name).unwrap().graph(side, 1, Normalization::Fused).unwrap();
    let convolutions = graph.nodes.iter().filter(|node| node.op == "Conv").step_by(EVERY);
    let between: Vec<_> = convolutions.map(|node| node.outputs[0].clone()).collect();
    graph.outputs.extend(between);
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    graph.write(&mut file).unwrap();
    std::io::Write::flush(&mut file).unwrap();
    path
}
