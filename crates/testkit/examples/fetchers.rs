//! Fetches one blob of 1 GiB from `origin` with every downloader that is installed, compares digests with
//! `/_blobs`, and sets the speed beside nginx serving the same bytes from memory.
//!
//! ```sh
//! cargo build --release -p testkit --features cli
//! cargo run --release -p testkit --features cli --example fetchers -- target/release/origin
//! ```
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Blob, measure};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SIZE: u64 = 1 << 30;
const SEED: u64 = 7;
const LIMIT: Duration = Duration::from_secs(120);
/// Runs of each pair, interleaved.
const ROUNDS: usize = 5;

/// A server that ends with the program.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> Result<()> {
    let origin = std::env::args().nth(1).ok_or("give the path of the program `origin`")?;
    let folder = tempfile::Builder::new().prefix("fetchers").tempdir_in("/dev/shm")?;
    let blob = format!("blob={SIZE}@{SEED}");
    let mut child = Command::new(origin).args(["--blob", &blob]).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
    let origin = Server(child);
    let url = line.trim_end().trim_start_matches("listening on ").to_owned();

    let digest = digest_of(&url)?;
    say(&format!("/_blobs: sha256 {digest}"));
    for (tool, arguments) in TOOLS {
        fetch(tool, arguments, &format!("{url}/blob"), folder.path(), &digest)?;
    }
    say(&format!("origin: peak of {} KiB resident", peak_kib(origin.0.id())?));
    beside_nginx(&format!("{url}/blob"), folder.path())
}

const TOOLS: [(&str, &[&str]); 4] = [
    ("curl", &["-s", "-S", "-f", "-o", "out"]),
    ("wget2", &["-q", "-O", "out"]),
    ("aria2c", &["-q", "--allow-overwrite=true", "-x1", "-o", "out"]),
    ("aria2c", &["-q", "--allow-overwrite=true", "-x4", "-s4", "-o", "out"]),
];

fn digest_of(url: &str) -> Result<String> {
    let output = Command::new("curl").args(["-s", "-f", &format!("{url}/_blobs")]).output()?;
    let json: Value = serde_json::from_slice(&output.stdout)?;
    Ok(json["blob"]["sha256"].as_str().ok_or("no digest")?.to_owned())
}

fn fetch(tool: &str, arguments: &[&str], url: &str, folder: &Path, digest: &str) -> Result<()> {
    let mut command = Command::new(tool);
    command.args(arguments).arg(url).current_dir(folder).stdout(Stdio::null());
    let Ok(measured) = measure(&mut command, LIMIT) else {
        say(&format!("{tool}: not installed"));
        return Ok(());
    };
    let out = folder.join("out");
    let sum = Command::new("sha256sum").arg(&out).output()?;
    let right = String::from_utf8(sum.stdout)?.starts_with(digest);
    fs::remove_file(&out)?;
    let rate = SIZE as f64 / measured.wall.as_secs_f64() / 1e9;
    let name = format!(
        "{tool} {}",
        arguments.iter().filter(|a| a.starts_with("-x")).copied().collect::<String>()
    );
    say(&format!("{name:<11} {} {rate:.2} GB/s, digest equal: {right}", measured.status));
    if right { Ok(()) } else { Err("the digests differ".into()) }
}

/// One connection's rate from us and from nginx, in turn.
fn beside_nginx(url: &str, folder: &Path) -> Result<()> {
    write_file(&folder.join("blob"))?;
    let port = free_port()?;
    let config = folder.join("nginx.conf");
    let at = folder.display();
    fs::write(
        &config,
        format!(
            "daemon off; worker_processes 1; pid {at}/pid; error_log {at}/error.log;\n\
             events {{}}\nhttp {{ access_log off; sendfile on; tcp_nopush on;\n\
             client_body_temp_path {at}/a; proxy_temp_path {at}/b; fastcgi_temp_path {at}/c;\n\
             uwsgi_temp_path {at}/d; scgi_temp_path {at}/e;\n\
             server {{ listen 127.0.0.1:{port}; root {at}; }} }}\n"
        ),
    )?;
    let nginx =
        Command::new("nginx").arg("-c").arg(&config).arg("-e").arg(folder.join("e.log")).spawn();
    let Ok(nginx) = nginx else {
        say("nginx: not installed");
        return Ok(());
    };
    let nginx = Server(nginx);
    wait_for(port)?;
    let theirs = format!("http://127.0.0.1:{port}/blob");
    let (mut us, mut them) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        us.push(drain(url)?);
        them.push(drain(&theirs)?);
    }
    us.sort_by(f64::total_cmp);
    them.sort_by(f64::total_cmp);
    let show = |rates: &[f64]| {
        format!("{:.2} GB/s ({:.2}–{:.2})", rates[ROUNDS / 2], rates[0], rates[ROUNDS - 1])
    };
    say(&format!("one connection to a reader that throws the bytes away, median of {ROUNDS}:"));
    say(&format!(
        "origin {}, nginx {}, ratio {:.2}",
        show(&us),
        show(&them),
        us[ROUNDS / 2] / them[ROUNDS / 2]
    ));
    stop(&nginx)
}

/// Lets nginx end its worker too.
fn stop(nginx: &Server) -> Result<()> {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(nginx.0.id())?);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT)?;
    thread::sleep(Duration::from_millis(200));
    Ok(())
}

fn write_file(path: &Path) -> Result<()> {
    let blob = Blob::new("blob", SIZE, SEED);
    let mut file = File::create(path)?;
    let mut buffer = vec![0; 1 << 20];
    for offset in (0..SIZE).step_by(buffer.len()) {
        blob.fill(offset, &mut buffer);
        file.write_all(&buffer)?;
    }
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn wait_for(port: u16) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if until < Instant::now() {
            return Err("nginx does not listen".into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Reads a URL to its end and returns GB/s.
fn drain(url: &str) -> Result<f64> {
    let (address, path) =
        url.trim_start_matches("http://").split_once('/').ok_or("a URL has a path")?;
    let mut stream = TcpStream::connect(address)?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let start = Instant::now();
    stream.write_all(request.as_bytes())?;
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            n => bytes += n as u64,
        }
    }
    if bytes < SIZE {
        return Err(format!("{bytes} bytes only").into());
    }
    Ok(bytes as f64 / start.elapsed().as_secs_f64() / 1e9)
}

fn peak_kib(pid: u32) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").to_owned())
}

fn say(line: &str) {
    // A closed stdout is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{line}");
}
