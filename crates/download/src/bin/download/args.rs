//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use limiter::{Burst, Rate};

const EXAMPLES: &str = "\
Examples:
  download get https://example.org/model.safetensors --sha256 HEX
  download get https://example.org/a.bin https://example.org/b.bin -d models
  download get --input list.txt -d models --limit-rate 20MB/s --json
  download get https://127.0.0.1:8443/a.whl -o a.whl --ca-file ca.pem

Interrupted, killed or cut off, it goes on where it was when the same command is run again.";

const GET_EXAMPLES: &str = "\
Examples:
  download get https://example.org/model.safetensors --sha256 HEX
  download get https://example.org/a.bin https://example.org/b.bin -d models
  download get --input list.txt -d models      lines of: URL [SHA-256]
  download get https://example.org/a -H 'Authorization: Bearer ...'
  download get https://example.org/a -H @headers.txt      headers that `ps` does not show

Exit codes: 0 done, 1 other, 3 not found, 4 not allowed, 5 integrity, 6 disk, 7 network, 64 usage,
130 interrupted, 143 terminated; of several failures the first of 5, 6, 4, 3, 7, 1.
Run again, the same command goes on where it was.";

/// Fetches files: verified, resumable, as fast as the link.
#[derive(Debug, Parser)]
#[command(name = "download", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetches files from web servers.
    Get(Box<Get>),
}

#[derive(Args, Debug)]
#[command(after_help = GET_EXAMPLES)]
pub(crate) struct Get {
    /// What to fetch: http or https
    #[arg(value_name = "URL", required_unless_present = "input")]
    pub(crate) urls: Vec<String>,
    /// File with more: on each line a URL and, after a space, its SHA-256 if known; `-` for stdin
    #[arg(short, long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Path of the one file
    #[arg(short, long, value_name = "FILE", conflicts_with = "dir")]
    pub(crate) output: Option<PathBuf>,
    /// Folder for the files, created if need be; they are named as their URLs end
    #[arg(short, long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// SHA-256 of the one file, 64 hexadecimal digits
    #[arg(long, value_name = "HEX")]
    pub(crate) sha256: Option<String>,
    /// Publish nothing of which no digest is known
    #[arg(long)]
    pub(crate) require_digest: bool,
    #[command(flatten)]
    pub(crate) transfer: Transfer,
}

/// The options of all transfers.
#[derive(Args, Debug)]
#[command(next_help_heading = "Transfers")]
pub(crate) struct Transfer {
    /// Connections at once, at most; how many serve best is found out
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = count)]
    pub(crate) connections: usize,
    /// Files at once, at most
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = count)]
    pub(crate) files: usize,
    /// Bytes of a part, or `auto`
    #[arg(long, value_name = "auto|SIZE", default_value = "auto", value_parser = chunk)]
    pub(crate) chunk_size: Chunk,
    /// Bytes per second of all together, such as 10MB/s
    #[arg(long, visible_alias = "rate", value_name = "RATE", value_parser = rate)]
    pub(crate) limit_rate: Option<Rate>,
    /// File that holds the rate; it is read again on SIGHUP
    #[arg(long, value_name = "FILE", conflicts_with = "limit_rate")]
    pub(crate) limit_rate_file: Option<PathBuf>,
    /// Memory for what is under way, at least 2MiB
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub(crate) memory: u64,
    /// A file that is not here after this long is given up; none by default
    #[arg(long, value_name = "D", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// A connection over which nothing comes for this long is given up
    #[arg(long, value_name = "D", default_value = "15s", value_parser = duration)]
    pub(crate) stall_timeout: Duration,
    /// A file whose turn does not come in this time is given up
    #[arg(long, value_name = "D", default_value = "300s", value_parser = duration)]
    pub(crate) queue_timeout: Duration,
    /// Attempts after a failure; bytes that come renew them
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) retries: u32,
    /// Proxy to go through: an http URL
    #[arg(long, value_name = "URL", env = "HTTPS_PROXY", hide_env_values = true)]
    pub(crate) proxy: Option<String>,
    /// Certificate authorities to trust beside the platform's, as PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Header for the servers of the URLs alone; `@FILE` for a file of them, one a line
    #[arg(short = 'H', long = "header", value_name = "K:V")]
    pub(crate) headers: Vec<String>,
    /// Keep nothing of what is learnt about servers, and use nothing of it
    #[arg(long)]
    pub(crate) no_history: bool,
    /// Folder under which it is kept, as `download/history`; ~/.cache by default
    #[arg(long, value_name = "DIR", env = "XDG_CACHE_HOME")]
    pub(crate) cache_home: Option<PathBuf>,
    /// The user's folder
    #[arg(long, value_name = "DIR", env = "HOME", hide = true)]
    pub(crate) home: Option<PathBuf>,
    /// File for Prometheus' text format, written at the end and every five seconds before
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics_file: Option<PathBuf>,
    /// Events as NDJSON on stdout, and nothing else there
    #[arg(long)]
    pub(crate) json: bool,
}

/// The size of parts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Chunk {
    Auto,
    Bytes(u64),
}

fn count(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=1024).contains(number));
    number.ok_or_else(|| "write a number from 1 to 1024".to_owned())
}

fn size(text: &str) -> Result<u64, String> {
    let size: Burst = text.parse().map_err(|_| "write a size such as 64MiB".to_owned())?;
    Ok(size.tokens())
}

fn chunk(text: &str) -> Result<Chunk, String> {
    if text == "auto" {
        return Ok(Chunk::Auto);
    }
    let bytes = size(text)?;
    let fits = (64 << 10..=1 << 30).contains(&bytes);
    fits.then_some(Chunk::Bytes(bytes)).ok_or_else(|| "write auto, or 64KiB to 1GiB".to_owned())
}

pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    text.trim().parse().map_err(|_| "write a rate such as 10MB/s, or unlimited".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).ok().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "write a time such as 250ms or 15s".to_owned())
}
