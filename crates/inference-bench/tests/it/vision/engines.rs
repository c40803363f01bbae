//! Engines on models of the zoo.

use inference_bench::vision::engine::RtenEngine;
use inference_bench::vision::picture::{Content, Picture};
use inference_bench::vision::pipeline::{Layout, Pipeline};

#[cfg(feature = "ort")]
use super::agreement;
use super::{SIDE, generate};

/// Activations through all layers stay finite and of a size: the output of a model whose weights are drawn
/// wrongly is not a number, or one and the same everywhere.
#[test]
fn synthetic_weights_keep_activations_finite_and_alive() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["yolo11n", "yolo12n"] {
        let engine = RtenEngine::load(&generate(&folder, name, SIDE), 1).unwrap();
        let pipeline = Pipeline::new(Box::new(engine), 640).unwrap();
        assert_eq!(Layout::Yolo { classes: 80 }, pipeline.layout());
        let input = pipeline.prepare(&Picture::generate(640, 480, Content::Complex, 1));
        let outputs = pipeline.engine().infer(&input).unwrap();
        let scores = &outputs[0].values[4 * 84..];
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)), "{name}");
        let (least, most) =
            scores.iter().fold((1.0_f32, 0.0_f32), |(a, b), &s| (a.min(s), b.max(s)));
        assert!(1e-6 < least && 3.0 * least < most && most < 0.999, "{name}: {least} to {most}");
    }
}

#[test]
fn the_same_picture_gives_the_same_boxes_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let file = generate(&folder, "yolo11n", SIDE);
    let picture = Picture::generate(200, 100, Content::Medium, 3);
    let seen = |threads| {
        let engine = RtenEngine::load(&file, threads).unwrap();
        Pipeline::new(Box::new(engine), 640).unwrap().see(&picture).unwrap().detections
    };
    let one = seen(1);
    assert_eq!(one.len(), seen(2).len());
    for (a, b) in one.iter().zip(seen(2)) {
        assert!(a.class == b.class && (a.score - b.score).abs() < 1e-3, "{a:?} {b:?}");
        assert!(0.0 <= a.left && a.right <= 200.0 && 0.0 <= a.top && a.bottom <= 100.0);
    }
}

/// Where `ORT_LIB` names the library of ONNX Runtime, both engines have to agree on every value. With
/// `ORT_FULL=1` besides, on all models at the size that they are published for: two minutes, and 2 GiB.
#[cfg(feature = "ort")]
#[test]
fn both_engines_agree() {
    use inference_bench::vision::zoo;

    let Some(library) = std::env::var_os("ORT_LIB") else {
        eprintln!("skipped: ORT_LIB names no library of ONNX Runtime");
        return;
    };
    let few = || vec![("yolo11n", SIDE), ("yolo12n", SIDE), ("yolo11s", SIDE)];
    let all = |_| zoo::MODELS.iter().map(|model| (model.name, zoo::SIZE)).collect();
    for (name, side) in std::env::var_os("ORT_FULL").map_or_else(few, all) {
        eprintln!("{}", agreement::check(name, side, library.as_ref()));
    }
}

#[cfg(feature = "ort")]
#[test]
fn a_missing_or_wrong_library_is_an_error_that_names_it() {
    use inference_bench::vision::engine::OrtEngine;

    let folder = tempfile::tempdir().unwrap();
    let file = generate(&folder, "yolo11n", 32);
    let library = folder.path().join("libnothing.so");
    std::fs::write(&library, b"no library").unwrap();
    // A process of its own: the first library that is tried is the last.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_inference-bench"))
        .args(["vision", "--engine", "ort", "--family", "load"])
        .args([std::ffi::OsStr::new("--ort-lib"), library.as_os_str()])
        .args([std::ffi::OsStr::new("--model"), file.as_os_str()])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(Some(1), output.status.code(), "{stderr}");
    assert!(stderr.contains("libnothing.so") && !stderr.contains("panicked"), "{stderr}");
    let missing = std::path::Path::new("/nowhere/libonnxruntime.so");
    if std::env::var_os("ORT_LIB").is_none() {
        let error = OrtEngine::load(&file, missing, 1).unwrap_err();
        assert_eq!(missing, error.file());
    }
}
