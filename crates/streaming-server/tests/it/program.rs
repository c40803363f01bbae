//! The program, by its contract.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::TempDir;

use crate::helpers::{Reply, request, texts, tokens};

const PROGRAM: &str = env!("CARGO_BIN_EXE_streaming-server");

/// A running program, and where it listens.
fn start(args: &[&str]) -> (Child, String) {
    let mut child = Command::new(PROGRAM)
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().to_owned())
}

/// A running program that ends with its test.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: String,
}

pub(crate) fn start_program(args: &[&str]) -> Program {
    let (child, line) = start(args);
    let address = line.strip_prefix("listening on http://").unwrap().to_owned();
    Program { child, address }
}

impl Program {
    /// Its resident memory.
    pub(crate) fn rss_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

fn open(address: &str, tokens: u64) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let body = format!(r#"{{"prompt":"a","max_tokens":{tokens},"stream":true}}"#);
    stream.write_all(&request("/v1/completions", &body, "Connection: close\r\n")).unwrap();
    stream.read_exact(&mut [0; 64]).unwrap();
    stream
}

fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_first_line_says_where_and_a_drain_ends_with_0() {
    let (mut child, line) = start(&["--interval", "2ms"]);
    let address = line.strip_prefix("listening on http://").unwrap().to_owned();
    let streams: Vec<_> = (0..100).map(|_| open(&address, 100)).collect();
    signal(&child, Signal::SIGTERM);
    for stream in streams {
        assert!(rest(stream).ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"));
    }
    assert_eq!(Some(0), child.wait().unwrap().code());
}

#[test]
fn a_drain_that_cuts_ends_with_1() {
    let (mut child, line) = start(&["--json", "--drain-timeout", "100ms"]);
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!("listening", event["event"]);
    let address = event["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let stream = open(address, 100_000);
    signal(&child, Signal::SIGTERM);
    assert!(rest(stream).contains("\"type\":\"draining\""));
    assert_eq!(Some(1), child.wait().unwrap().code());
}

#[test]
fn an_interrupt_ends_at_once_with_130() {
    let (mut child, line) = start(&[]);
    let stream = open(line.strip_prefix("listening on http://").unwrap(), 100_000);
    signal(&child, Signal::SIGINT);
    assert_eq!(Some(130), child.wait().unwrap().code());
    drop(stream);
}

#[test]
fn options_are_heeded() {
    let (mut child, line) = start(&["--interval=1ms", "--model=a", "--model=b", "--max-tokens=5"]);
    let address = line.strip_prefix("listening on http://").unwrap();
    let ask = |body: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&request("/v1/completions", body, "Connection: close\r\n")).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        Reply::parse(&reply)
    };
    assert_eq!(400, ask(r#"{"prompt":"a","max_tokens":6}"#).status);
    let events = ask(r#"{"prompt":"a","model":"b","max_tokens":5,"stream":true}"#).events();
    assert_eq!(tokens(5), texts(&events, 0));
    signal(&child, Signal::SIGTERM);
    assert_eq!(Some(0), child.wait().unwrap().code());
}

fn run(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().unwrap()
}

#[test]
fn wrong_usage_is_64_and_help_has_examples() {
    assert_eq!(Some(64), run(&["--interval", "soon"]).status.code());
    assert_eq!(Some(64), run(&["--no-such-option"]).status.code());
    for (args, named) in [
        (&["--upstream", "http://127.0.0.1:1"][..], "--runner upstream"),
        (&["--runner=upstream", "--upstream=http://a", "--enable-faults"], "--runner test"),
    ] {
        let output = run(args);
        assert!(String::from_utf8(output.stderr).unwrap().contains(named));
        assert_eq!(Some(64), output.status.code());
    }
    let help = run(&["--help"]);
    assert_eq!(Some(0), help.status.code());
    assert!(String::from_utf8(help.stdout).unwrap().contains("Examples:"));
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    assert_eq!(format!("streaming-server {}\n", env!("CARGO_PKG_VERSION")), version);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert_eq!(Some(1), run(&["--listen", &address]).status.code());
}

/// With these no request would be served, or it would do nothing.
#[test]
fn options_that_cannot_be_meant_are_refused() {
    // Whatever is not refused ends there.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("--listen={}", taken.local_addr().unwrap());
    for option in [
        "--max-running=0",
        "--max-tokens=0",
        "--max-connections=0",
        "--max-body=0",
        "--allowed-host=a:80",
        "--allowed-host=",
        "--cors-origin=https://a/",
        "--cors-origin=a",
    ] {
        assert_eq!(Some(64), run(&[&listen, option]).status.code(), "{option}");
    }
    for option in [
        "--interval=1ms",
        "--ttft=1ms",
        "--jitter=1ms",
        "--prefill=1ms",
        "--batch-slope=1ms",
        "--seed=1",
        "--aligned",
    ] {
        let upstream = ["--runner=upstream", "--upstream=http://127.0.0.1:1"];
        let output = run(&[&listen, upstream[0], upstream[1], option]);
        assert_eq!(Some(64), output.status.code(), "{option}");
        let told = String::from_utf8(output.stderr).unwrap();
        let named = format!("'{}", option.split('=').next().unwrap());
        assert!(told.contains(&named), "{told}");
    }
}

/// What a client on a socket in the file system is answered.
fn ask_unix(path: &Path, request: &[u8]) -> Reply {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(request).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    Reply::parse(&reply)
}

#[test]
fn a_socket_in_the_file_system_serves_and_goes_with_the_server() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("serve.sock");
    // One that was left over is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listen = format!("unix:{}", path.display());
    let (mut child, line) = start(&["--listen", &listen, "--interval", "1ms"]);
    assert_eq!(format!("listening on {listen}"), line);
    let body = r#"{"prompt":"a","max_tokens":20,"stream":true}"#;
    let reply = ask_unix(&path, &request("/v1/completions", body, "Connection: close\r\n"));
    assert_eq!(tokens(20), texts(&reply.events(), 0));
    signal(&child, Signal::SIGTERM);
    assert_eq!(Some(0), child.wait().unwrap().code());
    assert!(!path.exists());
}

#[test]
fn keys_are_read_from_a_file_and_a_wrong_one_is_not_shown() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("keys");
    let name = file.to_str().unwrap();
    std::fs::write(&file, "a:sekret1\nb: sekret2\n").unwrap();
    let output = Command::new(PROGRAM).args(["--api-keys", name]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("line 2") && !told.contains("sekret"), "{told}");
    assert_eq!(Some(1), output.status.code());
    std::fs::write(&file, "a:sekret1 weight=2\n").unwrap();
    let (mut child, line) = start(&["--api-keys", name, "--cors-origin=*", "--interval=1ms"]);
    let address = line.strip_prefix("listening on http://").unwrap();
    let ask = |headers: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        let headers = format!("{headers}Origin: https://a\r\nConnection: close\r\n");
        let raw = request("/v1/completions", r#"{"prompt":"a","max_tokens":1}"#, &headers);
        stream.write_all(&raw).unwrap();
        Reply::parse(rest(stream).as_bytes())
    };
    let (with, without) = (ask("Authorization: Bearer sekret1\r\n"), ask(""));
    assert_eq!((200, 401), (with.status, without.status));
    for reply in [with, without] {
        assert!(reply.has("access-control-allow-origin: *"), "{}", reply.head);
        assert!(!reply.head.contains("allow-credentials"));
    }
    signal(&child, Signal::SIGTERM);
    assert_eq!(Some(0), child.wait().unwrap().code());
}

#[test]
fn every_event_says_when_it_was() {
    let mut child = Command::new(PROGRAM).args(["--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut event =
        || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let listening = event();
    signal(&child, Signal::SIGTERM);
    let end = event();
    assert_eq!(
        ("listening", "end"),
        (listening["event"].as_str().unwrap(), end["event"].as_str().unwrap())
    );
    assert!(listening["t_ms"].as_u64().unwrap() <= end["t_ms"].as_u64().unwrap());
    assert_eq!(Some(0), child.wait().unwrap().code());
}
