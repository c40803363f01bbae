//! `inference-bench vision` and `models` as a script sees them.

use inference_bench::vision::picture::{Content, Picture};
use inference_bench::vision::{Figures, Mode, Plan};
use serde_json::Value;

use super::{SIDE, generate, program, text};

/// Runs `vision` on the smallest model of the zoo, whatever else this machine does.
fn vision(arguments: &[&str]) -> (i32, String, String) {
    let all = [&["vision", "--model", "yolo11n", "--size", "64", "--noisy"], arguments].concat();
    program(&all)
}

#[track_caller]
fn check(arguments: &[&str], code: i32, last_line: &str, words: &[&str]) -> String {
    let (told, stdout, stderr) = vision(arguments);
    let both = format!("{stdout}{stderr}");
    assert_eq!((code, Some(last_line)), (told, stdout.lines().last()), "{both}");
    for words in words {
        assert!(both.contains(words), "{words} is not in:\n{both}");
    }
    both
}

/// Targets that any machine meets with this model.
fn lenient(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("targets.json");
    std::fs::write(&path, r#"{"throughput":{},"real_time_ms":60000,"concurrent_ms":60000}"#)
        .unwrap();
    text(&path).to_owned()
}

/// The program's, which has all threads.
fn looks_of_a_batch() -> u64 {
    let plan = Plan::new(Mode::Quick);
    plan.batch_warmups() + plan.batch
}

#[test]
fn a_model_that_meets_its_targets_passes_and_tells_all_families() {
    let folder = tempfile::tempdir().unwrap();
    let (targets, report) = (lenient(&folder), folder.path().join("report"));
    let names = ["yolo11n/load", "yolo11n/real_time", "yolo11n/batch_memory", "yolo11n/concurrent"];
    let told = check(&["--targets", &targets, "-o", text(&report)], 0, "verdict: pass", &names);
    let looks = looks_of_a_batch();
    assert!(told.contains(&format!("batch: {looks} of {looks}")), "{told}");
    let read = |name: &str| std::fs::read_to_string(report.join(name)).unwrap();
    crate::schema::check_text(&read("report.json"));
    let json: Value = serde_json::from_str(&read("report.json")).unwrap();
    for key in ["summary", "performance_targets", "results_by_model", "recommendations"] {
        assert!(!json[key].is_null(), "{key}");
    }
    let targets = &json["performance_targets"];
    assert_eq!(Some(60_000.0), targets["real_time_target_ms"].as_f64());
    assert_eq!(Some(1024.0), targets["max_memory_per_inference_mb"].as_f64());
    let summary = &json["summary"];
    assert_eq!(
        (Some(100.0), Some(100.0)),
        (summary["success_rate"].as_f64(), summary["real_time_compliance_rate"].as_f64(),)
    );
    assert!(
        json["environment"]["notes"]["weights"].as_str().unwrap().contains("synthetic weights")
    );
    let figures: Figures =
        serde_json::from_value(json["results_by_model"]["yolo11n"].clone()).unwrap();
    assert_eq!(
        (12, 50, 8),
        (
            figures.single.len(),
            figures.growth.as_ref().unwrap().live_bytes.len(),
            figures.done.len(),
        )
    );
    assert!(figures.peak_bytes.iter().all(|&bytes| 100_000 < bytes), "{:?}", figures.peak_bytes);
    let lines = read("records.ndjson");
    assert_eq!(figures, serde_json::from_str::<Figures>(&lines).unwrap());
}

#[test]
fn each_way_to_fail_has_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let strict = folder.path().join("strict.json");
    std::fs::write(&strict, r#"{"real_time_ms":25}"#).unwrap();
    let slow = ["--family", "real-time", "--fault", "delay=40", "--targets", text(&strict)];
    check(&slow, 2, "verdict: fail", &["the model itself takes", "the limit 25 ms"]);
    let crash = ["--family", "real-time", "--fault", "crash=5"];
    check(&crash, 1, "verdict: fail", &["died of signal 6", "mend what failed first"]);
    let errors = ["--family", "real-time", "--fault", "error=3"];
    check(&errors, 1, "verdict: fail", &["injected in inference 3"]);
    std::fs::write(&strict, r#"{"load_ms":{"nano":0.001}}"#).unwrap();
    let late = ["--family", "load", "--family", "real-time", "--targets", text(&strict)];
    check(&late, 5, "verdict: fail", &["load it before the first request"]);
}

/// By half, which no mood of a machine takes back; that a tenth is enough is told beside the comparison.
#[test]
fn what_is_slower_than_the_baseline_is_a_regression() {
    let folder = tempfile::tempdir().unwrap();
    let (targets, baseline) = (lenient(&folder), folder.path().join("baseline.json"));
    let common = ["--family", "real-time", "--targets", &targets];
    let run = |own: &[&str], code, last_line| check(&[&common, own].concat(), code, last_line, &[]);
    run(&["--fault", "delay=100", "--save-baseline", text(&baseline)], 0, "verdict: pass");
    run(&["--fault", "delay=150", "--baseline", text(&baseline)], 3, "verdict: regression");
    run(&["--fault", "delay=90", "--baseline", text(&baseline)], 0, "verdict: pass");
    let other = ["--threads", "64", "--baseline", text(&baseline)];
    let told = check(&[&common, &other[..]].concat(), 4, "verdict: invalid", &["another load"]);
    assert!(!told.contains("yolo11n/real_time"), "{told}");
}

#[test]
fn sixty_four_bytes_of_each_inference_are_found() {
    let leaks = ["--family", "leak", "--family", "real-time", "--fault", "leak=64"];
    check(&leaks, 5, "verdict: fail", &["yolo11n/leak", "64 B/inference", "MiB a day"]);
}

#[test]
fn too_much_memory_and_too_much_time_end_with_clear_words() {
    let limit = ["--family", "real-time", "--memory-limit", "8MiB"];
    check(&limit, 1, "verdict: fail", &["out of memory under the limit of 8 MiB"]);
    let late = ["--family", "real-time", "--fault", "delay=60000", "--timeout", "300ms"];
    check(&late, 1, "verdict: fail", &["killed after 0.3 s: --timeout"]);
}

#[test]
fn a_wrong_command_line_is_64() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let unknown = file("unknown.json", r#"{"throughput":{"yolo11z":1}}"#);
    let list = file("list.json", "[]");
    let wrong: [&[&str]; 12] = [
        &["--model", "no-such-model"],
        &["--family", "no-such-family"],
        &["--engine", "ort"],
        &["--engine", "ort", "--ort-lib", "/nowhere/libonnxruntime.so"],
        &["--size", "33"],
        &["--threads", "0"],
        &["--threads", "1025"],
        &["--targets", "/nowhere"],
        &["--targets", &unknown],
        &["--targets", &list],
        &["--picture", "/nowhere.png"],
        &["--fault", "nonsense"],
    ];
    for arguments in wrong {
        let (code, stdout, stderr) = program(&[&["vision"], arguments].concat());
        assert_eq!(64, code, "{arguments:?}: {stdout}{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

#[test]
fn with_json_stdout_holds_ndjson_and_each_picture_of_a_batch_is_told() {
    let (code, stdout, _) = vision(&["--family", "batch", "--json"]);
    assert!(code == 0 || code == 5, "the throughput is this machine's");
    let events: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
    let batch: Vec<u64> = events
        .iter()
        .filter(|event| event["event"] == "progress" && event["family"] == "batch")
        .map(|event| event["done"].as_u64().unwrap())
        .collect();
    assert_eq!((1..=looks_of_a_batch()).collect::<Vec<_>>(), batch);
    assert_eq!("end", events.last().unwrap()["event"]);
}

#[test]
fn boxes_are_drawn_over_given_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("picture.png");
    let before = Picture::generate(120, 90, Content::Complex, 2);
    std::fs::write(&picture, before.to_png().unwrap()).unwrap();
    let draw = folder.path().join("drawn");
    let arguments = ["--picture", text(&picture), "--draw", text(&draw), "--family", "real-time"];
    let (_, stdout, stderr) = vision(&arguments);
    assert!(stderr.contains("drawn: "), "{stdout}{stderr}");
    let drawn = Picture::read(&std::fs::read(draw.join("yolo11n-0.png")).unwrap()).unwrap();
    assert_eq!((120, 90), (drawn.width(), drawn.height()));
}

/// What was measured stands, and a file needs no folder to be generated in.
#[test]
fn what_cannot_be_drawn_is_invalid_and_tells_where() {
    let folder = tempfile::tempdir().unwrap();
    let file = generate(&folder, "yolo11n", SIDE);
    let told = std::process::Command::new(env!("CARGO_BIN_EXE_inference-bench"))
        .env("TMPDIR", "/no/such/folder")
        .args(["vision", "--family", "load", "--noisy", "--model", text(&file)])
        .args(["--draw", "/proc/no/pictures"])
        .output()
        .unwrap();
    let stdout = String::from_utf8(told.stdout).unwrap();
    assert_eq!((Some(4), Some("verdict: invalid")), (told.status.code(), stdout.lines().last()));
    for words in ["100.0 %         n 3        pass", "cannot draw into /proc/no/pictures"] {
        assert!(stdout.contains(words), "{words} is not in:\n{stdout}");
    }
}

#[test]
fn models_are_generated_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let size = SIDE.to_string();
    let arguments =
        ["models", "generate", "yolo12n", "-o", text(&path), "--size", &size, "--seed", "1"];
    let (code, stdout, stderr) = program(&arguments);
    assert_eq!((0, text(&path)), (code, stdout.trim_end()), "{stderr}");
    assert!(stderr.contains("2590824 parameters"), "{stderr}");
    let same = std::fs::read(generate(&folder, "yolo12n", SIDE)).unwrap();
    assert!(same == std::fs::read(&path).unwrap());
    assert_eq!(64, program(&["models", "generate", "nothing", "-o", "x"]).0);
    let (_, list, _) = program(&["models", "list"]);
    assert!(list.contains("yolo12x") && list.contains("59210784"), "{list}");
}
