//! The sender: nginx over files whose digest is known.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::steps::Failure;

/// Bytes of a small file.
pub(super) const SMALL_BYTES: u64 = 4 << 10;
/// Bytes that are made and written at a time.
const PIECE_BYTES: usize = 1 << 20;
/// How long nginx may take to start.
const START_MAX: Duration = Duration::from_secs(10);
const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// A folder that goes with all that lies in it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A folder with files, and nginx in front of it. Dropping it ends the one and removes the other.
pub(super) struct Site {
    nginx: Child,
    folder: Folder,
    port: u16,
    pub(super) files: usize,
    /// Of the large file.
    pub(super) sha256: String,
    pub(super) bytes: u64,
}

impl Site {
    pub(super) fn start(folder: &Path, bytes: u64, files: usize) -> Result<Self, Failure> {
        // From here on it goes again, whatever is missing: a disk that is full, or nginx.
        let folder = Folder(folder.join(format!("peers-{}", std::process::id())));
        let path = &folder.0;
        let told = |error: io::Error| format!("cannot prepare {}: {error}", path.display());
        let sha256 = fill(path, bytes, files).map_err(told)?;
        // Free now; whoever takes it before nginx does makes nginx say so.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.map_err(told)?.port();
        fs::write(path.join("nginx.conf"), conf(path, port)).map_err(told)?;
        let nginx = Command::new("nginx")
            .args(["-p".as_ref(), path.as_os_str(), "-c".as_ref(), "nginx.conf".as_ref()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start nginx: {error}"))?;
        let site = Self { folder, nginx, port, files, sha256, bytes };
        site.wait()?;
        Ok(site)
    }

    fn wait(&self) -> Result<(), Failure> {
        let end = Instant::now() + START_MAX;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if end < Instant::now() {
                return Err(format!("nginx does not listen on port {}", self.port));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    pub(super) fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    /// Where files are fetched to.
    pub(super) fn target(&self) -> PathBuf {
        self.folder.0.join("fetched")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    /// An empty folder for what is fetched next.
    pub(super) fn clear(&self) -> Result<(), Failure> {
        let target = self.target();
        let told = |error: io::Error| format!("cannot clear {}: {error}", target.display());
        if target.exists() {
            fs::remove_dir_all(&target).map_err(told)?;
        }
        fs::create_dir(&target).map_err(told)
    }

    /// Whether what should have been fetched is there in full.
    pub(super) fn is_fetched(&self) -> bool {
        let len = |path: PathBuf| fs::metadata(path).map(|metadata| metadata.len()).ok();
        if 0 < self.bytes {
            return len(self.target().join("large")) == Some(self.bytes);
        }
        (0..self.files).all(|k| len(self.target().join(format!("f{k}"))) == Some(SMALL_BYTES))
    }

    /// How long SHA-256 takes over so many bytes that are in the cache of the core.
    pub(super) fn hash_alone(&self) -> f64 {
        let piece = vec![7_u8; PIECE_BYTES];
        let start = Instant::now();
        let mut hash = Sha256::new();
        for _ in 0..self.bytes / PIECE_BYTES as u64 {
            hash.update(&piece);
        }
        std::hint::black_box(hash.finalize());
        start.elapsed().as_secs_f64()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Its master ends its workers on SIGTERM; killed, it would leave them.
        let _ = Command::new("kill").arg(self.nginx.id().to_string()).status();
        let _ = self.nginx.wait();
    }
}

/// Makes the files; returns the digest of the large one.
fn fill(folder: &Path, bytes: u64, files: usize) -> io::Result<String> {
    let root = folder.join("root");
    fs::create_dir_all(&root)?;
    // nginx's workers are another user.
    let mut state = 1_u64;
    let mut hash = Sha256::new();
    let mut large = fs::File::create(root.join("large"))?;
    let mut left = bytes;
    while 0 < left {
        let piece = piece(&mut state, left.min(PIECE_BYTES as u64) as usize);
        hash.update(&piece);
        large.write_all(&piece)?;
        left -= piece.len() as u64;
    }
    let (mut list, mut config) = (String::new(), String::new());
    for k in 0..files {
        fs::write(root.join(format!("f{k}")), piece(&mut state, SMALL_BYTES as usize))?;
        // Writing to a string cannot fail.
        let _ = writeln!(list, "URL/f{k}");
        let _ = writeln!(config, "url = \"URL/f{k}\"\noutput = \"f{k}\"");
    }
    fs::write(folder.join("list"), list)?;
    fs::write(folder.join("curl.conf"), config)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Bytes that do not compress (xorshift64*).
fn piece(state: &mut u64, len: usize) -> Vec<u8> {
    let mut piece = Vec::with_capacity(len + 8);
    while piece.len() < len {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        piece.extend(state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    piece.truncate(len);
    piece
}

fn conf(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors crit;\n\
         user root;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;\n\
         client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;\n\
         fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;\n\
         server {{ listen 127.0.0.1:{port} backlog=1024; root {folder}/root; }} }}\n"
    )
}

/// The machine's congestion control; put back when this is dropped.
pub(super) struct Congestion {
    name: String,
    before: Option<String>,
}

impl Congestion {
    pub(super) fn set(name: Option<&str>) -> Result<Self, Failure> {
        let now = fs::read_to_string(CONGESTION).unwrap_or_default().trim().to_owned();
        let Some(name) = name else { return Ok(Self { name: now, before: None }) };
        fs::write(CONGESTION, name)
            .map_err(|error| format!("cannot set {name} in {CONGESTION}: {error}"))?;
        Ok(Self { name: name.to_owned(), before: Some(now) })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Congestion {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = fs::write(CONGESTION, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As on a disk that is full: the folder is there, and cannot be filled.
    #[test]
    fn a_site_that_cannot_be_filled_leaves_nothing_behind() {
        let folder = std::env::temp_dir().join(format!("site-{}", std::process::id()));
        let site = folder.join(format!("peers-{}", std::process::id()));
        fs::create_dir_all(site.join("root/large")).unwrap();
        assert!(Site::start(&folder, 1, 0).is_err());
        assert!(!site.exists());
        fs::remove_dir(folder).unwrap();
    }
}
