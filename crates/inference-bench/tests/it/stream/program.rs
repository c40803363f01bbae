//! `inference-bench stream` as a script sees it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output};
use std::time::Duration;

use inference_bench::stream::{Figures, RequestRecord};
use serde_json::Value;
use testkit::{Schedule, TokenSource};

use super::server::{Then, answer, stream};

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inference-bench")).args(arguments).output().unwrap()
}

/// Runs `stream` without calibration: these tests are about words and codes.
fn stream_command(url: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut all = vec!["stream", "--url", url, "--calibration", "0s", "--timeout", "5s"];
    all.extend(arguments);
    let output = program(&all);
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), stdout, stderr)
}

#[track_caller]
fn check(url: &str, arguments: &[&str], code: i32, last_line: &str) -> String {
    let (told, stdout, stderr) = stream_command(url, arguments);
    assert_eq!(code, told, "{stdout}{stderr}");
    assert_eq!(Some(last_line), stdout.lines().last(), "{stdout}{stderr}");
    stdout
}

fn source(interval: Duration) -> TokenSource {
    TokenSource::start(Schedule { interval, ..Schedule::default() }).unwrap()
}

const TWO_MS: Duration = Duration::from_millis(2);

#[test]
fn what_keeps_its_targets_passes() {
    let source = source(10 * TWO_MS);
    let arguments =
        ["--streams", "3", "--tokens", "30", "--expect-interval", "20ms", "--max-overhead", "50ms"];
    let stdout = check(&source.url(), &arguments, 0, "verdict: pass");
    assert!(stdout.contains("tokens/lost") && stdout.contains("overhead"), "{stdout}");
}

#[test]
fn each_way_to_fail_has_its_code() {
    let source = source(TWO_MS);
    let url = source.url();
    // An overhead that cannot be kept: tokens are made every 2 ms, not every 1 ms.
    let missed = ["--tokens", "30", "--expect-interval", "1ms", "--max-overhead", "500us"];
    check(&url, &missed, 5, "verdict: fail");
    check("http://127.0.0.1:1", &[], 1, "verdict: fail");
    check(&url, &["--slo", "ttft=1us", "--requests", "5"], 2, "verdict: fail");
    let cut = answer(stream("data: {\"choices\":[{\"text\":\"token_0\"}]}\n\n"), Then::Close);
    let stdout = check(&cut, &[], 1, "verdict: fail");
    assert!(stdout.contains("1 no_done"), "{stdout}");
}

#[test]
fn a_wrong_command_line_is_64() {
    for arguments in [
        &["--streams", "0"][..],
        &["--sweep", "1.5"],
        &["--sweep", "2,3,2"],
        &["--rate", "1", "--sweep", "1.0001,1.0002"],
        &["--search", "rate"],
        &["--max-overhead", "3ms"],
        &["--rate", "-1"],
        &["--rate", "1e300"],
        &["--rate", "1000", "--duration", "1000h"],
        &["--rate", "1", "--arrival", "gamma", "--burstiness", "1e-300"],
        &["--rate", "1", "--max-in-flight", "9223372036854775808"],
        &["--streams", "9223372036854775807"],
        &["--sweep", "1,1000000000"],
        &["--requests", "18446744073709551615"],
        &["--rate", "1", "--workers", "1000000"],
        &["--requests", "0"],
        &["--tokens", "0"],
        &["--workers", "0"],
        &["--rate", "1", "--max-in-flight", "0"],
        &["--duration", "0s"],
        &["--timeout", "0s"],
        &["--expect-interval", "0s"],
        &["--slo", "ttft=5"],
        &["--metrics-as", "wrk"],
        &["--api-key-file", "/no/such/file"],
    ] {
        assert_eq!(64, stream_command("http://127.0.0.1:1", arguments).0, "{arguments:?}");
    }
    assert_eq!(64, stream_command("no url", &[]).0);
    assert_eq!(64, stream_command("ftp://a", &[]).0);
}

#[test]
fn with_json_stdout_holds_ndjson_and_nothing_else() {
    let source = source(TWO_MS);
    let (code, stdout, stderr) = stream_command(&source.url(), &["--sweep", "1,2", "--json"]);
    assert_eq!(0, code, "{stderr}");
    let events: Vec<Value> = stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(events.iter().all(|event| event["event"].is_string() && event["t_ms"].is_u64()));
    let end = events.last().unwrap();
    assert_eq!(("end", "pass"), (end["event"].as_str().unwrap(), end["verdict"].as_str().unwrap()));
    assert_eq!(2, end["results_by_model"]["test @ streams=2"]["requests"]["ok"]);
    assert!(stderr.ends_with("verdict: pass\n"));
}

#[test]
fn a_search_in_which_no_load_holds_does_not_pass() {
    let searched = |url: &str, slo: &str, code| {
        let load = ["--search", "rate", "--rate", "40", "--arrival", "constant"];
        let arguments = [&load[..], &["--duration", "100ms", "--slo", slo]].concat();
        let stdout = check(url, &arguments, code, "verdict: fail");
        assert!(stdout.contains("no load that was tried held"), "{stdout}");
    };
    searched("http://127.0.0.1:1", "ttft=1s", 1);
    searched(&source(TWO_MS).url(), "ttft=1us", 2);
}

#[test]
fn a_search_tells_the_load_that_held_and_its_figures() {
    let source = source(TWO_MS);
    let arguments = ["--search", "streams", "--requests", "4", "--slo", "e2e=5s", "--json"];
    let (code, stdout, stderr) = stream_command(&source.url(), &arguments);
    assert_eq!(0, code, "{stderr}");
    let end: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    // Doubled nine times, for everything holds.
    assert_eq!(Some(512.0), end["search"]["holds"].as_f64(), "{end}");
    assert_eq!(4, end["results_by_model"]["test @ streams=512"]["requests"]["ok"], "{end}");
}

fn read_report(folder: &std::path::Path) -> (Value, String, Vec<RequestRecord>) {
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let report = serde_json::from_str(&text("report.json")).unwrap();
    let records = text("records.ndjson");
    let records = records.lines().map(|line| RequestRecord::from_line(line).unwrap()).collect();
    (report, text("report.html"), records)
}

#[test]
fn the_folder_holds_every_form_and_the_records_give_the_figures_again() {
    let source = source(5 * TWO_MS);
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    let arguments = ["--rate", "200", "--duration", "300ms", "--tokens", "20", "-o", output];
    check(&source.url(), &arguments, 0, "verdict: pass");
    for name in ["report.md", "report.csv", "junit.xml"] {
        assert!(0 < folder.path().join(name).metadata().unwrap().len(), "{name}");
    }
    let (report, html, records) = read_report(folder.path());
    let results = &report["results_by_model"]["test"];
    let again = Figures::of(&records, Default::default(), None);
    assert_eq!(again.requests.planned, results["requests"]["planned"]);
    assert_eq!(again.streaming.received_token_count, results["received_token_count"]);
    // Both by way of a text: the parser may be wrong in the last digit, but in the same way.
    let itl: Value = serde_json::from_str(&serde_json::to_string(&again.itl).unwrap()).unwrap();
    assert_eq!(itl, results["itl_ms"]);
    assert_eq!("kernel", report["measurement"]["stamp"]);
    for title in ["Latency: first token", "Gaps over time", "How late", "Stalls:"] {
        assert!(html.contains(title), "{title}");
    }
    assert!(!html.contains("http:") || !html.contains("src="));
}

#[test]
fn another_tool_s_words_change_the_figures() {
    let source = source(TWO_MS);
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    let arguments = ["--metrics-as", "mlperf", "--tokens", "20", "-o", output];
    check(&source.url(), &arguments, 0, "verdict: pass");
    let results = read_report(folder.path()).0["results_by_model"]["test"].clone();
    assert_eq!(
        ("mlperf", 0),
        (results["metrics_as"].as_str().unwrap(), results["itl_ms"]["n"].as_i64().unwrap())
    );
}

/// The server's words, the model's name and the key, in every form.
#[test]
fn hostile_words_stay_words_and_the_key_is_told_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "s3cret-key\n").unwrap();
    let words = "<script>alert(1)</script>|=1+1,\"\u{1b}[31m s3cret";
    let body = serde_json::json!({ "error": words }).to_string();
    let length = body.len();
    let reply = format!("HTTP/1.1 500 No\r\ncontent-length: {length}\r\n\r\n{body}");
    let url = answer(vec![reply.into_bytes()], Then::Close).replace("://", "://user:s3cret-key@");
    let output = folder.path().join("out");
    let arguments = [
        "--model",
        "<script>m</script>,=1",
        "--api-key-file",
        key.to_str().unwrap(),
        "-o",
        output.to_str().unwrap(),
    ];
    // Credentials in a URL are refused …
    assert_eq!(64, stream_command(&url, &arguments).0);
    // … and the key in its file goes to the server alone.
    let url = url.replace("user:s3cret-key@", "");
    let (code, stdout, stderr) = stream_command(&url, &arguments);
    assert_eq!(1, code, "{stdout}{stderr}");
    assert!(!stdout.contains('\u{1b}'), "{stdout}");
    for entry in output.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("s3cret-key"), "{path:?}");
        let is_data = path.extension().is_some_and(|e| e == "json" || e == "ndjson" || e == "csv");
        assert!(is_data || !text.contains("<script"), "{path:?}");
    }
    assert!(!stdout.contains("s3cret-key") && !stderr.contains("s3cret-key"));
}

/// Some servers repeat the key that they refuse.
#[test]
fn a_key_that_the_server_repeats_is_told_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "s3cret-key\n").unwrap();
    let body = r#"{"error":"no key s3cret-key is known"}"#;
    let head = "HTTP/1.1 401 No\r\ncontent-length:";
    let reply = format!("{head} {}\r\n\r\n{body}", body.len());
    let url = answer(vec![reply.into_bytes()], Then::Close);
    let output = folder.path().join("out");
    let arguments = ["--api-key-file", key.to_str().unwrap(), "-o", output.to_str().unwrap()];
    let (code, stdout, stderr) = stream_command(&url, &arguments);
    assert_eq!(1, code, "{stdout}{stderr}");
    assert!(stdout.contains("no key … is known"), "{stdout}");
    assert!(!stdout.contains("s3cret") && !stderr.contains("s3cret"));
    for entry in output.read_dir().unwrap() {
        let path = entry.unwrap().path();
        assert!(!std::fs::read_to_string(&path).unwrap().contains("s3cret"), "{path:?}");
    }
}

#[test]
fn a_server_that_is_not_there_is_told_by_its_address() {
    let stdout = check("http://127.0.0.1:1", &[], 1, "verdict: fail");
    assert!(stdout.contains("1 connect; the first: no connection"), "{stdout}");
    assert!(stdout.contains("is the server running there?"), "{stdout}");
    let (_, _, stderr) = stream_command("127.0.0.1:8000", &[]);
    assert!(stderr.contains("it begins with http://"), "{stderr}");
}

#[test]
fn a_worse_latency_than_before_is_a_regression() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("baseline.json");
    let baseline = path.to_str().unwrap();
    let fast = source(3 * TWO_MS);
    let (tokens, streams) = (["--tokens", "60"], ["--streams", "2"]);
    let run = |url: &str, more: &[&str]| {
        let arguments: Vec<&str> = tokens.iter().chain(&streams).chain(more).copied().collect();
        stream_command(url, &arguments)
    };
    assert_eq!(0, run(&fast.url(), &["--save-baseline", baseline]).0);
    let slow = source(10 * TWO_MS);
    let (code, stdout, _) = run(&slow.url(), &["--baseline", baseline]);
    assert!(code == 3 && stdout.contains("measure both again, in turn"), "{code} {stdout}");
    // Two streams of 60, and once more.
    assert_eq!(2 * 120, slow.lateness().tokens);
}

#[test]
fn a_baseline_that_cannot_be_compared_with_is_refused_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let baseline = folder.path().join("baseline.json");
    let path = baseline.to_str().unwrap();
    let source = source(TWO_MS);
    let url = source.url();
    check(&url, &["--streams", "2", "--tokens", "60", "--save-baseline", path], 0, "verdict: pass");
    let tokens_before = source.lateness().tokens;
    let other_load = ["--streams", "3", "--tokens", "60", "--baseline", path];
    let stdout = check(&url, &other_load, 4, "verdict: invalid");
    assert!(stdout.contains("load: streams=2 there, streams=3 here"), "{stdout}");
    let stdout = check(&url, &["--baseline", "/no/such/baseline"], 4, "verdict: invalid");
    assert!(stdout.contains("cannot compare with /no/such/baseline"), "{stdout}");
    assert_eq!(tokens_before, source.lateness().tokens);
}

#[track_caller]
fn check_interrupted(signal: &str, code: i32) {
    let source = source(Duration::from_millis(100));
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    let baseline = folder.path().join("baseline.json");
    std::fs::write(&baseline, "of a whole run").unwrap();
    let url = source.url();
    let child = Command::new(env!("CARGO_BIN_EXE_inference-bench"))
        .args(["stream", "--url", &url, "--tokens", "100000", "--calibration", "0s", "-o", output])
        .args(["--save-baseline", baseline.to_str().unwrap()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Once tokens flow, the run is under way.
    while source.lateness().tokens < 3 {
        std::thread::yield_now();
    }
    Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(Some(code), ended.status.code());
    assert!(String::from_utf8_lossy(&ended.stdout).ends_with("verdict: interrupted\n"));
    let (report, _, records) = read_report(folder.path());
    let summary = &report["summary"];
    assert_eq!((Some("interrupted"), 1), (summary["verdict"].as_str(), records.len()));
    assert_eq!(Some(i64::from(code)), summary["exit_code"].as_i64());
    assert_eq!(1, report["results_by_model"]["test"]["requests"]["abandoned"]);
    assert_eq!("of a whole run", std::fs::read_to_string(&baseline).unwrap());
}

#[test]
fn an_interrupted_run_leaves_a_valid_report_and_the_baseline_as_it_was() {
    check_interrupted("-INT", 130);
    check_interrupted("-TERM", 143);
}

#[test]
fn a_run_in_which_most_failed_leaves_the_baseline_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let baseline = folder.path().join("baseline.json");
    let path = baseline.to_str().unwrap();
    check("http://127.0.0.1:1", &["--save-baseline", path], 1, "verdict: fail");
    assert!(!baseline.exists());
}

#[test]
fn what_cannot_be_written_is_invalid_and_ends_with_the_verdict() {
    let source = source(TWO_MS);
    for place in [["-o", "/proc/no/report"], ["--save-baseline", "/no/such/folder/baseline"]] {
        let stdout = check(&source.url(), &place, 4, "verdict: invalid");
        assert!(stdout.contains("requests/ok"), "{stdout}");
        check("http://127.0.0.1:1", &place, 1, "verdict: fail");
    }
}

/// The emitter as a program, with these options; it ends with this.
pub(crate) struct Emit {
    child: std::process::Child,
    pub(crate) url: String,
}

impl Emit {
    pub(crate) fn start(options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_inference-bench"))
            .args(["emit", "--until-stdin-closes"])
            .args(options)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, url }
    }
}

impl Drop for Emit {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The errors table: kinds and counts on stdout and in the report, and exit code 1.
#[test]
fn errors_are_told_by_kind_and_count() {
    for (fault, kind) in [
        ("status=429", "status"),
        ("broken@2", "broken_stream"),
        ("no-done@2", "no_done"),
        ("cut@2", "cut_off"),
        ("error@2", "error_event"),
        ("hang@2", "timed_out"),
        ("endless@2", "too_long"),
    ] {
        let emit = Emit::start(&["--interval", "2ms", "--fault", &format!("{fault}/2")]);
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().to_str().unwrap();
        let arguments = ["--streams", "6", "--tokens", "5", "-o", output];
        let stdout = check(&emit.url, &arguments, 1, "verdict: fail");
        assert!(stdout.contains(&format!("3 {kind}")), "{stdout}");
        let results = read_report(folder.path()).0["results_by_model"]["test"].clone();
        assert_eq!(serde_json::json!({ kind: 3 }), results["errors"], "{fault}");
        assert_eq!(
            (Some(3), Some(15)),
            (results["requests"]["ok"].as_u64(), results["tokens"]["received"].as_u64(),)
        );
    }
}

#[test]
fn a_wrong_fault_is_told_with_the_right_ones() {
    let told = program(&["emit", "--fault", "explode"]);
    let words = String::from_utf8_lossy(&told.stderr).into_owned();
    assert_eq!(Some(64), told.status.code());
    assert!(words.contains("no fault `explode`") && words.contains("endless"), "{words}");
}

#[test]
fn a_canary_sings_beside_the_load() {
    let emit = Emit::start(&["--interval", "20ms"]);
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["stream", "--url", &emit.url, "--tokens", "30", "--calibration", "500ms"];
    let output = ["-o", folder.path().to_str().unwrap()];
    program(&[&arguments[..], &output[..]].concat());
    let measurement = read_report(folder.path()).0["measurement"].clone();
    assert!(measurement["canary_err_us"]["p50"].is_f64(), "{measurement}");
    assert!(measurement["foreign_cpu_pct"].is_f64(), "{measurement}");
    assert!(measurement["icl_err_us"]["p50"].is_f64(), "{measurement}");
}

#[test]
fn the_emitter_ends_with_whoever_started_it() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_inference-bench"))
        .args(["emit", "--until-stdin-closes"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.starts_with("listening on http://127.0.0.1:"),
        "{stdout}"
    );
}

#[test]
fn help_names_its_codes() {
    let help = program(&["stream", "--help"]);
    let text = String::from_utf8_lossy(&help.stdout);
    assert!(help.status.success() && text.contains("Exit codes:"), "{text}");
    assert!(program(&["calibrate", "--help"]).status.success());
}
