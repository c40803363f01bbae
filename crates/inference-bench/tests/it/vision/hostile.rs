//! Files that are no models, or want to be too much: each ends with words, none with a panic.

use std::path::Path;

use inference_bench::vision::engine::RtenEngine;
use inference_bench::vision::onnx::{Attribute, Fill, Graph, Node, Value, Weight};
use inference_bench::vision::pipeline::Pipeline;
use proptest::prelude::*;

use super::{generate, program, text};

fn write(path: &Path, graph: &Graph) {
    graph.write(&mut std::fs::File::create(path).unwrap()).unwrap();
}

/// One node between a picture and an output, with one constant beside.
fn graph(op: &'static str, constant: Fill, dims: Vec<u64>, output: Vec<u64>) -> Graph {
    let image = Value { name: "image".to_owned(), dims: vec![1, 3, 8, 8] };
    let mut graph = Graph::new("hostile", vec![image]);
    let fill = constant;
    graph.push_weight(Weight { name: "constant".to_owned(), dims, fill, is_parameter: false });
    let node = Node {
        name: "the_culprit".to_owned(),
        op,
        inputs: vec!["image".to_owned(), "constant".to_owned()],
        outputs: vec!["output".to_owned()],
        attributes: vec![("axis", Attribute::Int(1))],
    };
    graph.push(node, vec![output]);
    graph.outputs.push("output".to_owned());
    graph
}

/// Loads and runs a file, and returns the words of its failure.
#[track_caller]
fn failure(path: &Path) -> String {
    let engine = match RtenEngine::load(path, 1) {
        Ok(engine) => engine,
        Err(error) => {
            assert_eq!(path, error.file());
            return error.to_string();
        }
    };
    match Pipeline::new(Box::new(engine), 32) {
        Ok(_) => panic!("{} runs", path.display()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn wrong_graphs_are_told_with_their_node() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.onnx");
    let cases = [
        // An operator that nobody knows.
        graph("NoSuchOperator", Fill::Constant(0.0), vec![1], vec![1]),
        // 192 elements do not become 7.
        graph("Reshape", Fill::Ints(vec![7]), vec![1], vec![7]),
        // Eight columns do not meet five rows.
        graph("MatMul", Fill::Constant(1.0), vec![5, 5], vec![1, 3, 8, 5]),
        // Three channels are not five.
        graph("Add", Fill::Constant(1.0), vec![1, 5, 1, 1], vec![1, 5, 8, 8]),
    ];
    for graph in cases {
        write(&path, &graph);
        let words = failure(&path);
        assert!(words.contains("the_culprit"), "{}: {words}", graph.nodes[0].op);
    }
}

#[test]
fn files_that_are_no_models_are_told_by_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no_model.onnx");
    for bytes in [&b""[..], b"\0", b"GIF89a", &[0xFF; 4096], b"\x3a\xff\xff\xff\xff\x7f"] {
        std::fs::write(&path, bytes).unwrap();
        assert!(failure(&path).contains("no_model.onnx"), "{bytes:?}");
    }
    assert!(failure(&folder.path().join("missing.onnx")).contains("missing.onnx"));
}

#[test]
fn a_model_torn_anywhere_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(generate(&folder, "yolo11n", 32)).unwrap();
    let path = folder.path().join("torn.onnx");
    for part in 0..40 {
        std::fs::write(&path, &whole[..whole.len() * part / 40]).unwrap();
        failure(&path);
    }
}

/// A constant that says it is a million by a million is refused, and not allocated.
#[test]
fn a_weight_that_claims_more_than_it_has_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    graph("Add", Fill::Constant(1.0), vec![1, 3, 1, 64], vec![1, 3, 8, 64])
        .write(&mut bytes)
        .unwrap();
    // The dimensions are fields of one byte each: tag 8, value.
    let dims = [8, 1, 8, 3, 8, 1, 8, 64];
    let at = bytes.windows(8).position(|window| window == dims).unwrap();
    bytes[at + 7] = 127;
    let path = folder.path().join("claims.onnx");
    std::fs::write(&path, bytes).unwrap();
    failure(&path);
}

/// What no check in this process can stop ends a worker, not the program.
#[test]
fn an_allocation_beyond_all_measure_ends_one_process_with_clear_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.onnx");
    let huge = Fill::Ints(vec![1 << 12, 3, 1 << 12, 1 << 12]);
    write(&path, &graph("Expand", huge, vec![4], vec![1 << 12, 3, 1 << 12, 1 << 12]));
    let arguments = [
        "vision",
        "--model",
        text(&path),
        "--family",
        "load",
        "--memory-limit",
        "512MiB",
        "--noisy",
    ];
    let (code, stdout, stderr) = program(&arguments);
    assert_eq!(1, code, "{stdout}{stderr}");
    assert!(stderr.contains("bomb"), "{stderr}");
}

#[test]
fn what_takes_no_picture_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words.onnx");
    let input = Value { name: "words".to_owned(), dims: vec![1, 77] };
    let mut graph = Graph::new("words", vec![input]);
    let node = Node {
        name: "relu".to_owned(),
        op: "Relu",
        inputs: vec!["words".to_owned()],
        outputs: vec!["output".to_owned()],
        attributes: Vec::new(),
    };
    graph.push(node, vec![vec![1, 77]]);
    graph.outputs.push("output".to_owned());
    write(&path, &graph);
    assert!(failure(&path).contains("no picture of three colors"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A byte changed anywhere gives another model or an error. A model may also take more memory than
    /// there is, which no test in this process could survive: dimensions are left alone here.
    #[test]
    fn a_damaged_file_is_no_panic(at in 0..1500_usize, byte in any::<u8>()) {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = Vec::new();
        let graph = graph("Add", Fill::Constant(1.0), vec![1, 3, 1, 1], vec![1, 3, 8, 8]);
        graph.write(&mut bytes).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        let path = folder.path().join("damaged.onnx");
        std::fs::write(&path, bytes).unwrap();
        if let Ok(engine) = RtenEngine::load(&path, 1) {
            let _ = Pipeline::new(Box::new(engine), 32);
        }
    }
}
