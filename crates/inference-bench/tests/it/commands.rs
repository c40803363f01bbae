//! `inference-bench` with its commands `ab`, `calibrate` and `compare` in real processes.

use std::process::{Command, Output};

fn inference_bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inference-bench")).args(arguments).output().unwrap()
}

/// A command that prints this metric and does nothing else.
fn prints(value: i32) -> String {
    format!("echo '{{\"ns\":{value}}}'")
}

#[track_caller]
fn check(arguments: &[&str], code: i32, last_line: &str) {
    let output = inference_bench(arguments);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(Some(code), output.status.code(), "{stdout}{stderr}");
    assert_eq!(Some(last_line), stdout.lines().last(), "{stdout}{stderr}");
}

#[test]
fn equals_pass() {
    check(&["ab", "--a", &prints(5), "--b", &prints(5), "--metric", "ns"], 0, "verdict: pass");
}

#[test]
fn ten_percent_more_is_a_regression() {
    let (a, b) = (prints(100), prints(110));
    check(&["ab", "--a", &a, "--b", &b, "--metric", "ns"], 3, "verdict: regression");
}

#[test]
fn a_command_that_fails_invalidates_the_comparison() {
    check(&["ab", "--a", "true", "--b", "false"], 4, "verdict: invalid");
    check(&["ab", "--a", "true", "--b", "no-such-program-here"], 4, "verdict: invalid");
}

#[test]
fn a_metric_that_is_not_there_invalidates_the_comparison() {
    check(&["ab", "--a", &prints(1), "--b", "echo 1", "--metric", "ns"], 4, "verdict: invalid");
}

/// A ratio would call what fell from -1 to -2 twice as slow, and nothing what rose from 0.
#[test]
fn what_has_no_ratio_invalidates_the_comparison() {
    let compared = |a, b, code, last_line| {
        let (a, b) = (prints(a), prints(b));
        check(&["ab", "--a", &a, "--b", &b, "--metric", "ns"], code, last_line);
    };
    for (a, b) in [(0, 1), (0, 0), (-1, -2), (1, -1)] {
        compared(a, b, 4, "verdict: invalid");
    }
    compared(1, 0, 0, "verdict: pass");
}

#[test]
fn a_wrong_command_line_is_64() {
    for arguments in [
        &["ab"][..],
        &["ab", "--a", "true", "--b", "'open"],
        &["no-such-command"],
        &["calibrate", "--streams", "0"],
        &["calibrate", "--streams", "1000000"],
        &["calibrate", "--runs", "0"],
        &["calibrate", "--duration", "0s"],
    ] {
        assert_eq!(Some(64), inference_bench(arguments).status.code(), "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    let commands = ["ab", "calibrate", "compare", "models", "stream", "vision"];
    let all = commands.map(|command| vec![command, "--help"]);
    for arguments in all.into_iter().chain([vec!["--help"]]) {
        let help = inference_bench(&arguments);
        let text = String::from_utf8_lossy(&help.stdout);
        assert!(help.status.success() && text.contains("Examples:"), "{arguments:?}");
    }
    let version = inference_bench(&["--version"]);
    let expected = concat!("inference-bench ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(expected, String::from_utf8_lossy(&version.stdout));
}

#[test]
fn with_json_stdout_holds_ndjson_and_nothing_else() {
    let (a, b) = (prints(7), prints(7));
    let output = inference_bench(&["ab", "--a", &a, "--b", &b, "--metric", "ns", "--json"]);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let events: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
    assert!(events.iter().all(|event| event["event"].is_string() && event["t_ms"].is_u64()));
    let end = events.last().unwrap();
    assert_eq!(("end", "pass"), (end["event"].as_str().unwrap(), end["verdict"].as_str().unwrap()));
    assert!(String::from_utf8_lossy(&output.stderr).ends_with("verdict: pass\n"));
}

#[test]
fn the_folder_holds_every_form_of_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/report");
    let (a, b) = (prints(7), prints(7));
    let output = path.to_str().unwrap();
    check(&["ab", "--a", &a, "--b", &b, "--metric", "ns", "-o", output], 0, "verdict: pass");
    for name in ["report.json", "report.md", "report.html", "junit.xml", "records.ndjson"] {
        assert!(0 < path.join(name).metadata().unwrap().len(), "{name}");
    }
}

#[test]
fn what_cannot_be_written_is_invalid_and_ends_with_the_verdict() {
    let same = prints(5);
    let ab = ["ab", "--a", &same, "--b", &same, "--metric", "ns", "-o", "/proc/no/report"];
    let calibrate = [&BRIEF[..], &["-o", "/proc/no/report"]].concat();
    for arguments in [&ab[..], &calibrate] {
        check(arguments, 4, "verdict: invalid");
        let told = inference_bench(&[arguments, &["--json"]].concat());
        let stdout = String::from_utf8(told.stdout).unwrap();
        let end: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
        assert_eq!(
            ("end", 4),
            (end["event"].as_str().unwrap(), end["exit_code"].as_u64().unwrap())
        );
    }
}

/// Two streams of ten tokens: 18 gaps at most.
const BRIEF: [&str; 7] =
    ["calibrate", "--streams", "2", "--interval", "10ms", "--duration", "100ms"];

#[test]
fn a_calibration_tells_no_percentile_of_too_few_gaps() {
    let told = inference_bench(&[&BRIEF[..], &["--max-error", "1h"]].concat());
    let stdout = String::from_utf8(told.stdout).unwrap();
    assert_eq!(Some(4), told.status.code(), "{stdout}");
    for words in ["p99 –, p99.9 –, max", "first token p50 –", "p99 needs 662 samples"] {
        assert!(stdout.contains(words), "{words} is not in {stdout}");
    }
}

/// The arguments of the compared commands may hold secrets.
#[test]
fn arguments_are_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "sh -c 'true s3cret-token'";
    let output = folder.path().to_str().unwrap();
    inference_bench(&["ab", "--a", secret, "--b", secret, "-o", output]);
    for entry in folder.path().read_dir().unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("s3cret-token"));
    }
}

#[test]
fn two_reports_stand_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let report = |name: &str, value: i32| {
        let path = folder.path().join(name).to_str().unwrap().to_owned();
        let arguments =
            ["ab", "--a", "true", "--b", &prints(value), "--metric", "wall", "-o", &path];
        inference_bench(&arguments);
        format!("{path}/report.json")
    };
    let (a, b) = (report("a", 1), report("b", 2));
    let told = inference_bench(&["compare", &a, &b]);
    let stdout = String::from_utf8(told.stdout).unwrap();
    assert_eq!(Some(0), told.status.code(), "{stdout}");
    assert!(stdout.contains("ratio"), "{stdout}");
    assert!(stdout.lines().last().unwrap().starts_with("advice only"), "{stdout}");

    let told = inference_bench(&["compare", &a, &b, "--json"]);
    let stdout = String::from_utf8(told.stdout).unwrap();
    assert!(stdout.lines().all(|line| line.contains("\"event\":\"case\"")), "{stdout}");
    for wrong in [&["compare", &a, "/nowhere.json"][..], &["compare", "/etc/passwd", &b]] {
        let told = inference_bench(wrong);
        assert_eq!(Some(4), told.status.code(), "{wrong:?}");
        assert!(String::from_utf8(told.stderr).unwrap().contains("cannot use"), "{wrong:?}");
    }
}
