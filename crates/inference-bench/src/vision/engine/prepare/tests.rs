use proptest::prelude::*;

use super::*;
use crate::stats::Random;
use crate::vision::engine::{Engine, RtenEngine, Tensor};
use crate::vision::onnx::{Graph, Value};
use crate::vision::zoo::{self, Normalization};

/// A graph from an input to an output of one node.
struct Case {
    graph: Graph,
    node: Node,
}

impl Case {
    fn new(op: &'static str, dims: &[u64], attributes: Vec<(&'static str, Attribute)>) -> Self {
        let input = Value { name: "input".to_owned(), dims: dims.to_vec() };
        let graph = Graph::new("case", vec![input]);
        let (inputs, outputs) = (vec!["input".to_owned()], vec!["output".to_owned()]);
        Self { graph, node: Node { name: "the_node".to_owned(), op, inputs, outputs, attributes } }
    }

    /// A convolution that moves by one.
    fn conv(dims: &[u64], weight: [u64; 4], groups: u64, pads: [u64; 4]) -> Self {
        let attributes = vec![
            ("dilations", ints(&[1, 1])),
            ("group", Attribute::Int(groups.cast_signed())),
            ("pads", ints(&pads)),
            ("strides", ints(&[1, 1])),
        ];
        Self::new("Conv", dims, attributes).with("weight", &weight, noise(1))
    }

    fn with(mut self, name: &str, dims: &[u64], fill: Fill) -> Self {
        let weight =
            Weight { name: name.to_owned(), dims: dims.to_vec(), fill, is_parameter: true };
        self.graph.push_weight(weight);
        self.node.inputs.push(name.to_owned());
        self
    }

    fn and(mut self, attribute: &'static str, value: Attribute) -> Self {
        self.node.attributes.retain(|(name, _)| *name != attribute);
        self.node.attributes.push((attribute, value));
        self
    }

    fn file(mut self, output: &[u64]) -> Vec<u8> {
        self.graph.push(self.node, vec![output.to_vec()]);
        self.graph.outputs.push("output".to_owned());
        written(&self.graph)
    }
}

fn noise(seed: u64) -> Fill {
    Fill::Noise { seed, center: 0.1, bound: 1.0 }
}

fn written(graph: &Graph) -> Vec<u8> {
    let mut file = Vec::new();
    graph.write(&mut file).unwrap();
    file
}

/// Both ways through rten, on noise.
fn both(file: &[u8]) -> [Vec<Tensor>; 2] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, file).unwrap();
    let engines =
        [RtenEngine::load(&path, 1).unwrap(), RtenEngine::load_as_it_is(&path, 1).unwrap()];
    let dims: Vec<usize> =
        engines[0].describe().inputs[0].dims.iter().map(|dim| dim.unwrap()).collect();
    let mut input = Tensor::zeros(&dims);
    let mut random = Random::new(7);
    input.values.iter_mut().for_each(|value| *value = random.unit() as f32 * 4.0 - 2.0);
    engines.map(|engine| engine.infer(&input).unwrap())
}

/// The prepared file has this operator, and gives the same.
#[track_caller]
fn check(file: &[u8], operator: &str) {
    let prepared = prepare(file).expect("there is something to do");
    let draft = Draft::read(&prepared).unwrap();
    assert!(draft.nodes().iter().any(|node| node.op == operator), "{:?}", draft.nodes());
    assert_eq!(Ok(()), crate::vision::onnx::check(&prepared));
    let [ours, theirs] = both(file);
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours.dims, theirs.dims);
        for (a, b) in ours.values.iter().zip(&theirs.values) {
            assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{a} {b}");
        }
    }
}

/// Nothing is done.
#[track_caller]
fn check_left(file: &[u8]) {
    assert!(prepare(file).is_none());
}

fn out(side: u64, kernel: u64, pads: [u64; 2]) -> u64 {
    side + pads[0] + pads[1] + 1 - kernel
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn depthwise_convolutions_give_the_same(
        (batch, channels) in (1..3_u64, 2..6_u64),
        (rows, columns) in (prop::sample::select(vec![1_u64, 3, 5, 7]), prop::sample::select(vec![3_u64, 5, 7])),
        (height, width) in (7..24_u64, 7..21_u64),
        pads in prop::array::uniform4(0..3_u64),
        has_bias in any::<bool>(),
    ) {
        let pads = [pads[0] % rows, pads[1] % columns, pads[2] % rows, pads[3] % columns];
        let case = Case::conv(&[batch, channels, height, width], [channels, 1, rows, columns], channels, pads);
        let case = if has_bias { case.with("bias", &[channels], noise(2)) } else { case };
        let sides = [out(height, rows, [pads[0], pads[2]]), out(width, columns, [pads[1], pads[3]])];
        let file = case.file(&[batch, channels, sides[0], sides[1]]);
        prop_assume!(sides[1].max(width) <= 7 * columns);
        check(&file, "Gather");
    }

    #[test]
    fn dense_convolutions_give_the_same(
        (batch, outs, more) in (1..3_u64, 1..5_u64, 0..3_u64),
        (rows, columns) in (1..5_u64, 2..6_u64),
        (height, width) in (5..12_u64, 6..12_u64),
        pads in prop::array::uniform4(0..4_u64),
        has_bias in any::<bool>(),
    ) {
        let pads = [pads[0] % rows, pads[1] % columns, pads[2] % rows, pads[3] % columns];
        let ins = outs + more;
        let case = Case::conv(&[batch, ins, height, width], [outs, ins, rows, columns], 1, pads);
        let case = if has_bias { case.with("bias", &[outs], noise(2)) } else { case };
        let sides = [out(height, rows, [pads[0], pads[2]]), out(width, columns, [pads[1], pads[3]])];
        let file = case.file(&[batch, outs, sides[0], sides[1]]);
        check(&file, "ConvTranspose");
        let has_rows = Draft::read(&prepare(&file).unwrap()).unwrap().nodes().iter().any(|node| node.op == "Gather");
        prop_assert_eq!(has_rows, more == 0 && 1 < rows);
    }

    /// Whatever a byte is changed to: another model, the same, or nothing.
    #[test]
    fn a_damaged_file_is_no_panic(at in 0..100_000_usize, byte in any::<u8>(), end in 0..100_000_usize) {
        let mut file = Case::conv(&[1, 3, 8, 8], [3, 1, 3, 3], 3, [1; 4]).file(&[1, 3, 8, 8]);
        let (at, end) = (at % file.len(), end % file.len());
        file[at] = byte;
        let _ = (prepare(&file), prepare(&file[..end]));
    }
}

#[test]
fn softmax_gives_the_same_along_each_axis() {
    for axis in [1, 3, -1] {
        let case = Case::new("Softmax", &[1, 16, 8, 160], vec![("axis", Attribute::Int(axis))]);
        check(&case.file(&[1, 16, 8, 160]), "Exp");
    }
    // Lanes of 8 and of 160 along axes in the middle: one is cut into slices, one left.
    let case = Case::new("Softmax", &[1, 160, 8, 16], vec![("axis", Attribute::Int(2))]);
    check(&case.file(&[1, 160, 8, 16]), "Split");
    let case = Case::new("Softmax", &[1, 160, 8, 16], vec![("axis", Attribute::Int(1))]);
    check_left(&case.file(&[1, 160, 8, 16]));
}

#[test]
fn the_largest_in_a_square_is_the_same() {
    let attributes = vec![
        ("kernel_shape", ints(&[5, 7])),
        ("pads", ints(&[2, 3, 4, 1])),
        ("strides", ints(&[1, 1])),
    ];
    check(&Case::new("MaxPool", &[2, 3, 9, 8], attributes).file(&[2, 3, 11, 6]), "MaxPool");
}

fn resize() -> Case {
    let attributes = [
        ("coordinate_transformation_mode", "asymmetric"),
        ("mode", "nearest"),
        ("nearest_mode", "floor"),
    ];
    let attributes = attributes.map(|(name, text)| (name, Attribute::Text(text))).to_vec();
    let mut case = Case::new("Resize", &[2, 3, 5, 6], attributes);
    case.node.inputs.push(String::new());
    case.with("scales", &[4], Fill::Floats(vec![1.0, 1.0, 2.0, 2.0]))
}

#[test]
fn a_picture_twice_as_large_is_the_same() {
    check(&resize().file(&[2, 3, 10, 12]), "MatMul");
}

#[test]
fn what_is_not_understood_is_left_as_it_is() {
    let depthwise = || Case::conv(&[1, 4, 9, 9], [4, 1, 3, 3], 4, [1; 4]);
    let dense = || Case::conv(&[1, 4, 9, 9], [4, 4, 3, 3], 1, [1; 4]);
    let same = [1, 4, 9, 9];
    for case in [depthwise, dense] {
        check_left(&case().and("strides", ints(&[2, 2])).file(&[1, 4, 5, 5]));
        check_left(&case().and("dilations", ints(&[2, 2])).file(&[1, 4, 7, 7]));
        check_left(&case().and("auto_pad", Attribute::Text("SAME_UPPER")).file(&same));
        check_left(&case().and("pads", ints(&[3; 4])).file(&[1, 4, 13, 13]));
        check_left(&case().and("kernel_shape", ints(&[5, 5])).file(&same));
        check_left(&case().and("group", Attribute::Int(2)).file(&same));
    }
    // More channels than go in; rows that are too long for a band; a kernel of one pixel.
    check_left(&Case::conv(&[1, 4, 9, 9], [5, 4, 3, 3], 1, [1; 4]).file(&[1, 5, 9, 9]));
    check_left(&Case::conv(&[1, 4, 9, 22], [4, 1, 3, 3], 4, [1; 4]).file(&[1, 4, 9, 22]));
    check_left(&Case::conv(&[1, 4, 9, 9], [4, 4, 1, 1], 1, [0; 4]).file(&same));
    check_left(&resize().and("mode", Attribute::Text("linear")).file(&[2, 3, 10, 12]));
    let pool = Case::new("MaxPool", &[1, 3, 9, 9], vec![("kernel_shape", ints(&[3, 3]))]);
    check_left(&pool.file(&[1, 3, 7, 7]));
}

/// A weight that two nodes share would be there twice; one that an output shows would be missing.
#[test]
fn shared_weights_are_left_alone() {
    let conv = || Case::conv(&[1, 4, 9, 9], [4, 4, 3, 3], 1, [1; 4]);
    let mut shared = conv();
    let mut second = shared.node.clone();
    second.outputs = vec!["second".to_owned()];
    shared.graph.push(second, vec![vec![1, 4, 9, 9]]);
    check_left(&shared.file(&[1, 4, 9, 9]));
    let mut shown = conv();
    shown.graph.outputs.push("weight".to_owned());
    check_left(&shown.file(&[1, 4, 9, 9]));
}

#[test]
fn a_name_that_is_taken_leaves_the_file_as_it_is() {
    let mut case = Case::conv(&[1, 4, 9, 9], [4, 4, 3, 3], 1, [1; 4]);
    assert!(
        prepare(&Case::conv(&[1, 4, 9, 9], [4, 4, 3, 3], 1, [1; 4]).file(&[1, 4, 9, 9])).is_some()
    );
    let name = "output/prepared/weight".to_owned();
    let weight = Weight { name, dims: vec![1], fill: noise(3), is_parameter: false };
    case.graph.push_weight(weight);
    check_left(&case.file(&[1, 4, 9, 9]));
}

#[test]
fn constants_grow_to_a_limit() {
    // 48 MiB each: one fits.
    let dims = [1, 6144, 16, 16];
    let mut case = Case::conv(&dims, [6144, 1, 8, 16], 6144, [3, 7, 4, 8]);
    let mut second = case.node.clone();
    second.inputs[0] = "output".to_owned();
    second.outputs = vec!["second".to_owned()];
    let first = std::mem::replace(&mut case.node, second);
    case.graph.push(first, vec![dims.to_vec()]);
    case.graph.push(case.node, vec![dims.to_vec()]);
    case.graph.outputs.push("second".to_owned());
    let file = written(&case.graph);
    let prepared = prepare(&file).unwrap();
    assert!((prepared.len() - file.len()) as u64 <= GROWTH_BYTES_MAX);
    let draft = Draft::read(&prepared).unwrap();
    assert_eq!(1, draft.nodes().iter().filter(|node| node.op == "Conv").count());
}

/// How often each rule is followed in a model of the zoo.
#[test]
fn models_of_the_zoo_are_prepared() {
    let counts = |name| {
        let graph = zoo::find(name).unwrap().graph(640, 1, Normalization::Fused).unwrap();
        let prepared = prepare(&written(&graph)).unwrap();
        let draft = Draft::read(&prepared).unwrap();
        let count = |op| draft.nodes().iter().filter(|node| node.op == op).count();
        ["ConvTranspose", "Gather", "Exp", "MaxPool", "Resize"].map(count)
    };
    assert_eq!([23, 19, 2, 6, 0], counts("yolo11n"));
    assert_eq!([24, 30, 9, 0, 0], counts("yolo12n"));
}

/// Normalization apart leaves convolutions without biases; what an output shows keeps its name.
#[test]
fn a_whole_model_gives_the_same_wherever_it_is_looked_at() {
    let model = zoo::find("yolo12n").unwrap();
    for normalization in [Normalization::Fused, Normalization::Apart] {
        let mut graph = model.graph(128, 1, normalization).unwrap();
        let shown =
            graph.nodes.iter().filter(|node| matches!(node.op, "Conv" | "Softmax" | "Resize"));
        let shown: Vec<_> = shown.step_by(3).map(|node| node.outputs[0].clone()).collect();
        graph.outputs.extend(shown);
        check(&written(&graph), "Gather");
    }
}
