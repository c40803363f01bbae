//! The conformance matrix: `download get`, and with `--peers` curl, aria2 and wget2, against each way in
//! which a server can be wrong.
//!
//! ```text
//! cargo test -p download --features cli --test matrix -- --peers
//! ```
//!
//! Prints a table in Markdown. Ours must be right or refuse, in each row; only where nobody can know
//! better without a digest may it publish, and then as `"verified":"length"`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use testkit::{Blob, Options, Origin};

/// A line on stdout, where the table belongs.
macro_rules! say {
    ($($text:tt)*) => {{
        // A reader that has gone needs no table.
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// A client that takes longer hangs.
const RUN_MAX: Duration = Duration::from_secs(20);
/// For a file that is interrupted half-way.
const RESUMED_BYTES: u64 = 24_000_000;
const BYTES: u64 = 4 << 20;

/// How the rows begin.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Start {
    /// From nothing.
    Fresh,
    /// After an honest first half.
    Resumed,
}

#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    start: Start,
    faults: &'static [&'static str],
    /// Without a digest nobody can tell that it is wrong.
    undecidable: bool,
}

const fn fresh(name: &'static str, faults: &'static [&'static str]) -> Row {
    Row { name, start: Start::Fresh, faults, undecidable: false }
}

const fn resumed(name: &'static str, faults: &'static [&'static str]) -> Row {
    Row { name, start: Start::Resumed, faults, undecidable: false }
}

const fn undecidable(row: Row) -> Row {
    Row { undecidable: true, ..row }
}

/// The rows of the field's published matrices.
const ROWS: &[Row] = &[
    fresh("honest", &[]),
    fresh("RST at 50 %", &["rst#1"]),
    fresh("FIN at 50 % with Content-Length", &["cut#1"]),
    fresh("FIN always", &["cut"]),
    undecidable(fresh("Content-Length too small", &["ignore-range", "short=1000"])),
    undecidable(fresh("no Content-Length, cut", &["ignore-range", "cut=close"])),
    fresh("Content-Length too large", &["long=1000#1"]),
    fresh("chunked, no last chunk", &["ignore-range", "cut=chunked"]),
    resumed("resumed: honest 206", &[]),
    resumed("resumed: range ignored (200)", &["ignore-range"]),
    resumed("resumed: replaced, If-Range honored", &["swap", "etag"]),
    resumed("resumed: replaced, 206 with a new ETag", &["swap", "etag=ignore"]),
    resumed("resumed: 206 begins a byte off", &["wrong-range=shift"]),
    undecidable(resumed("resumed: 206 begins a byte off and lies", &["wrong-range=lie"])),
    resumed("resumed: 206 with the whole file from 0", &["wrong-range=zero"]),
    resumed("resumed: 206 without Content-Range", &["wrong-range=none"]),
    resumed("resumed: `Content-Range: bytes=a-b/n`", &["wrong-range=equals"]),
    resumed("resumed: `Content-Range: bytes a-b/*`", &["wrong-range=star"]),
    resumed("resumed: Content-Range of another total", &["wrong-range=total"]),
    resumed("resumed: 206 shorter than asked (legal)", &["wrong-range=short#1..3"]),
    resumed("resumed: 416 inside of the file", &["wrong-range=416"]),
    resumed("resumed: weak ETag", &["swap", "etag=weak"]),
    resumed("resumed: a page with 200 (captive portal)", &["status=200"]),
    resumed("resumed: gzip body", &["gzip"]),
    fresh("206 to a request without Range", &["wrong-range=unasked"]),
    fresh("redirect loop", &["redirect-loop"]),
    fresh("503 + Retry-After: 1, twice", &["status=503#1..2", "retry-after=1#1..2"]),
    fresh("429 + Retry-After: date", &["retry-after=date+1s#1"]),
    fresh("gzip although identity was asked for", &["gzip"]),
    fresh("stall at 50 %", &["stall#1"]),
    undecidable(fresh("one bit flipped", &["flip"])),
    fresh("HTTP/1.0", &["http10"]),
    fresh("signed address ends", &["expire=200ms"]),
];

/// The row of a server of its own.
const LONG_HEADER: Row = fresh("1 MiB header", &[]);

/// What became of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Right,
    /// A wrong file, and success.
    Wrong,
    /// The same, but told as unverified.
    WrongUnverified,
    Failed(i32),
    Hung,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Right => f.write_str("ok"),
            Self::Wrong => f.write_str("**wrong, 0**"),
            Self::WrongUnverified => f.write_str("unverified"),
            Self::Failed(code) => write!(f, "refused, {code}"),
            Self::Hung => f.write_str("hangs"),
        }
    }
}

#[derive(Clone, Copy)]
enum Client {
    Ours,
    OursWithDigest,
    Curl,
    Aria2,
    Wget2,
}

impl Client {
    const OURS: [Self; 2] = [Self::Ours, Self::OursWithDigest];
    const PEERS: [Self; 3] = [Self::Curl, Self::Aria2, Self::Wget2];

    fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursWithDigest => "ours, `--sha256`",
            Self::Curl => "curl -C -",
            Self::Aria2 => "aria2 -c -x4",
            Self::Wget2 => "wget2 -c",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Ours | Self::OursWithDigest => env!("CARGO_BIN_EXE_download"),
            Self::Curl => "curl",
            Self::Aria2 => "aria2c",
            Self::Wget2 => "wget2",
        }
    }

    fn is_ours(self) -> bool {
        matches!(self, Self::Ours | Self::OursWithDigest)
    }

    fn command(self, url: &str, folder: &Path, sha256: &str) -> Command {
        let target = folder.join("file").display().to_string();
        let folder = folder.display().to_string();
        let ours = ["get", url, "-o", &target, "--json", "--no-history"];
        let patience = ["--stall-timeout", "1s", "--retries", "3"];
        let mut command = Command::new(self.program());
        match self {
            Self::Ours => command.args(ours).args(patience),
            Self::OursWithDigest => command.args(ours).args(patience).args(["--sha256", sha256]),
            Self::Curl => command.args([
                "-sfL", "-C", "-", "--retry", "3", "-y", "2", "-Y", "1000", "-o", &target, url,
            ]),
            Self::Aria2 => command
                .args(["-q", "-c", "-x4", "-s4", "-k1M", "--timeout=2", "-m3", "--retry-wait=1"])
                .args(["--auto-file-renaming=false", "-d", &folder, "-o", "file", url]),
            Self::Wget2 => {
                command.args(["-q", "-c", "--tries=3", "--read-timeout=2", "-O", &target, url])
            }
        };
        command.env_remove("HTTPS_PROXY").stderr(Stdio::null()).stdin(Stdio::null());
        command
    }
}

struct Stage {
    origin: Origin,
    blob: Blob,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new(start: Start) -> Self {
        let size = if start == Start::Fresh { BYTES } else { RESUMED_BYTES };
        let blob = Blob::new("model", size, 21);
        let origin = Origin::start(Options { blobs: vec![blob.clone()], ..Options::default() });
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { origin: origin.expect("a port on loopback"), blob, folder }
    }

    fn run(&self, client: Client, until: impl Fn() -> bool) -> Outcome {
        let address = self.origin.address();
        self.run_at(&format!("http://{address}/model"), client, until)
    }

    fn run_at(&self, url: &str, client: Client, until: impl Fn() -> bool) -> Outcome {
        let mut command = client.command(url, self.folder.path(), &self.blob.digests().sha256);
        let out = self.folder.path().join("stdout");
        command.stdout(std::fs::File::create(&out).expect("the folder is there"));
        let mut child = command.spawn().expect("the program is installed");
        let end = Instant::now() + RUN_MAX;
        let status = loop {
            if let Some(status) = child.try_wait().expect("it is our child") {
                break status;
            }
            if until() {
                let pid = nix::unistd::Pid::from_raw(child.id() as i32);
                // It may have ended just now.
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
                child.wait().expect("it is our child");
                return Outcome::Hung;
            }
            if end < Instant::now() {
                child.kill().expect("it is our child");
                child.wait().expect("it is our child");
                return Outcome::Hung;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        match status.code() {
            Some(0) if self.is_right() => Outcome::Right,
            Some(0) if client.is_ours() && told_unverified(&out) => Outcome::WrongUnverified,
            Some(0) => Outcome::Wrong,
            code => Outcome::Failed(code.unwrap_or(-1)),
        }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("file")
    }

    fn is_right(&self) -> bool {
        let Ok(bytes) = std::fs::read(self.target()) else { return false };
        let mut expected = vec![0; self.blob.size() as usize];
        self.blob.fill(0, &mut expected);
        bytes == expected || self.is_replacement(&bytes)
    }

    /// Whether these are the bytes that the origin serves now.
    fn is_replacement(&self, bytes: &[u8]) -> bool {
        let replaced =
            self.origin.settings().faults.iter().any(|fault| fault.to_string() == "swap");
        replaced && {
            self.origin.update(|settings| settings.faults.retain(|f| f.to_string() == "swap"));
            let url = format!("http://{}/model", self.origin.address());
            let probe = self.folder.path().join("replacement");
            let mut command = Command::new(Client::Ours.program());
            command
                .args(["get", "--no-history", &url, "-o"])
                .arg(&probe)
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
                && std::fs::read(probe).is_ok_and(|now| now == bytes)
        }
    }
}

fn told_unverified(out: &Path) -> bool {
    std::fs::read_to_string(out).is_ok_and(|text| text.contains(r#""verified":"length""#))
}

fn outcome(row: &Row, client: Client) -> Outcome {
    let stage = Stage::new(row.start);
    if row.start == Start::Resumed {
        stage.origin.update(|settings| settings.bandwidth = Some(40_000_000));
        stage.run(client, || RESUMED_BYTES / 2 < stage.origin.stats().sent_bytes);
        stage.origin.update(|settings| settings.bandwidth = None);
        stage.origin.reset();
    }
    stage.origin.update(|settings| {
        settings.faults = row.faults.iter().map(|rule| rule.parse().expect("a rule")).collect();
    });
    let outcome = stage.run(client, || false);
    let published = client.is_ours() && stage.target().exists();
    assert!(
        !published || matches!(outcome, Outcome::Right | Outcome::WrongUnverified),
        "{}: {outcome}, yet a file stands there",
        row.name
    );
    outcome
}

/// A server whose one header is a mebibyte long; right otherwise. No origin that keeps to the rules.
fn long_header(client: Client) -> Outcome {
    let stage = Stage::new(Start::Fresh);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
    let address = listener.local_addr().expect("it is bound");
    let blob = stage.blob.clone();
    // It ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that hangs up has read enough.
            let _ = answer_at_length(stream, &blob);
        }
    });
    stage.run_at(&format!("http://{address}/model"), client, || false)
}

fn answer_at_length(mut stream: TcpStream, blob: &Blob) -> std::io::Result<()> {
    let mut question = [0; 4096];
    let _ = stream.read(&mut question)?;
    let filler = "f".repeat(1 << 20);
    let size = blob.size();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nX-Filler: {filler}\r\n\r\n")?;
    let mut bytes = vec![0; size as usize];
    blob.fill(0, &mut bytes);
    stream.write_all(&bytes)
}

/// Whether ours did what it must.
fn is_as_it_must(row: &Row, client: Client, outcome: Outcome) -> bool {
    match outcome {
        Outcome::Right | Outcome::Failed(_) => true,
        Outcome::WrongUnverified => row.undecidable && matches!(client, Client::Ours),
        Outcome::Wrong | Outcome::Hung => false,
    }
}

fn main() -> ExitCode {
    let with_peers = std::env::args().any(|argument| argument == "--peers");
    let mut clients = Client::OURS.to_vec();
    if with_peers {
        let is_there = |client: &Client| {
            let found = Command::new("which").arg(client.program()).output();
            let found = found.is_ok_and(|output| output.status.success());
            if !found {
                say!("{} is left out: it is not installed", client.program());
            }
            found
        };
        clients.extend(Client::PEERS.into_iter().filter(is_there));
    }
    let names: Vec<_> = clients.iter().map(|client| client.name()).collect();
    say!("| fault | {} |\n|---{}|", names.join(" | "), "|---".repeat(names.len()));
    let mut offences = Vec::new();
    for row in ROWS.iter().chain([&LONG_HEADER]) {
        let mut cells = Vec::new();
        for &client in &clients {
            let is_long = row.name == LONG_HEADER.name;
            let outcome = if is_long { long_header(client) } else { outcome(row, client) };
            cells.push(outcome.to_string());
            if client.is_ours() && !is_as_it_must(row, client, outcome) {
                offences.push(format!("{}, {}: {outcome}", row.name, client.name()));
            }
        }
        say!("| {} | {} |", row.name, cells.join(" | "));
    }
    for offence in &offences {
        say!("OFFENCE: {offence}");
    }
    if offences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
