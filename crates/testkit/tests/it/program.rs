//! The program `origin`, as scripts see it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use testkit::temp_dir;

use crate::wire::request;

struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
    first_line: String,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_origin"));
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first_line = String::new();
        stdout.read_line(&mut first_line).unwrap();
        Self { child, stdout, first_line }
    }

    fn address(&self) -> SocketAddr {
        let url = self.first_line.trim_end().strip_prefix("listening on http://").unwrap();
        url.parse().unwrap()
    }

    /// Sends a signal and returns the exit code and the rest of stdout.
    fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program leaves that ends by itself.
fn output(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_origin")).args(arguments).output().unwrap()
}

#[test]
fn the_first_line_tells_the_address() {
    let program = Program::start(&["--blob", "m=1KiB@3", "--fault", "cut@m#1:at=7"]);
    assert!(program.first_line.starts_with("listening on http://127.0.0.1:"));
    let address = program.address();
    assert_eq!(7, request(address, "GET", "/m", &[], "").body.len());
    assert_eq!(1024, request(address, "GET", "/m", &[], "").body.len());
    let stats = request(address, "GET", "/_stats", &[], "");
    let stats: Value = serde_json::from_slice(&stats.body).unwrap();
    assert_eq!(1, stats["faults"]["cut@m#1:at=7"]);
    assert_eq!((Some(130), String::new()), program.end(Signal::SIGINT));
}

#[test]
fn with_json_stdout_holds_json_alone() {
    let program = Program::start(&["--json", "--tokens"]);
    let event: Value = serde_json::from_str(&program.first_line).unwrap();
    assert_eq!("listening", event["event"]);
    assert!(event["t_ms"].is_u64() && event["url"].as_str().unwrap().starts_with("http://127."));
    assert_eq!((Some(143), String::new()), program.end(Signal::SIGTERM));
}

#[test]
fn a_link_is_run_from_the_command_line() {
    let origin = Program::start(&["--blob", "m=1KiB"]);
    let target = origin.address().to_string();
    let link = Program::start(&["--link", &target, "--latency", "1ms", "--window", "64KiB"]);
    assert_eq!(1024, request(link.address(), "GET", "/m", &[], "").body.len());
}

#[test]
fn version_and_help_are_there() {
    let version = output(&["--version"]);
    assert_eq!(Some(0), version.status.code());
    let expected = format!("origin {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(expected, String::from_utf8(version.stdout).unwrap());
    let help = String::from_utf8(output(&["--help"]).stdout).unwrap();
    assert!(help.contains("Examples:") && help.contains("half-close"), "{help}");
}

#[test]
fn a_hub_is_described_by_a_file() {
    let commit = "0".repeat(40);
    let hub = format!(
        r#"{{"repos": [{{"id": "org/a", "revisions": {{"main": "{commit}"}},
            "files": [{{"path": "config.json", "text": "{{}}"}}]}}]}}"#
    );
    let folder = temp_dir(&[("hub.json", &hub)]);
    let file = folder.path().join("hub.json");
    let program = Program::start(&["--hub", file.to_str().unwrap()]);
    let about = request(program.address(), "GET", "/api/models/org/a", &[], "");
    assert!(about.text().contains(&commit), "{}", about.text());
    let (_, rest) = program.end(Signal::SIGTERM);
    assert!(rest.starts_with("content network on http://127.0.0.2:"), "{rest}");
}

#[test]
fn errors_of_usage_end_with_64() {
    let cases: [(&[&str], &str); 9] = [
        (&["--fault", "explode"], "no kind `explode`"),
        (&["--blob", "m"], "write NAME=SIZE"),
        (&["--blob", "m=1", "--blob", "/m=2"], "two blobs are named `m`"),
        (&["--blob", "_stats=1"], "`/_stats` is a control route"),
        (&["--latency", "5"], "write it like 250ms"),
        (&["--error-rate", "2"], "no share from 0 to 1"),
        (&["--hub", "/nowhere.json"], "No such file"),
        (&["--link", "127.0.0.1:1", "--tokens"], "cannot be used with"),
        (&["--link", "127.0.0.1:1", "--error-rate", "10%"], "leave `error_rate` out"),
    ];
    for (arguments, expected) in cases {
        let output = output(arguments);
        assert_eq!(Some(64), output.status.code(), "{arguments:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn what_cannot_start_ends_with_1() {
    let output = output(&["--listen", "0.0.0.0:0"]);
    assert_eq!(Some(1), output.status.code());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("origin: 0.0.0.0:0 is not a loopback address"), "{stderr}");
}
