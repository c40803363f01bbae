//! The command line.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Arg, ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use download::ModelSpec;
use limiter::{Burst, Rate};

const EXAMPLES: &str = "\
Examples:
  download get https://example.org/model.safetensors --sha256 HEX
  download get https://example.org/a.bin https://example.org/b.bin -d models
  download get --input list.txt -d models --limit-rate 20MB/s --json
  download model org/name                    into the hub's cache, where its libraries look
  download model org/name@v1 --local-dir here --include '*.json'
  download sync models.toml                  all models of a list
  download verify org/name --repair
  download list
  download gc --max-age 30d --dry-run

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
Run again, the same command goes on where it was. A file that is here already is left as it is if its
SHA-256 is given; of another nobody can tell, and it is fetched anew.";

/// Fetches files: verified, resumable, as fast as the link.
#[derive(Debug, Parser)]
#[command(name = "download", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// Reads the command line and the environment, in which an empty variable is none.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let matches = without_empty_variables(Self::command()).try_get_matches()?;
        Self::from_arg_matches(&matches)
    }
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let argument = |arg: Arg| {
        if arg.get_env().is_some_and(is_empty) { arg.env(None::<&str>) } else { arg }
    };
    command.mut_args(argument).mut_subcommands(without_empty_variables)
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetches files from web servers.
    Get(Box<Get>),
    /// Fetches a model from a hub, for the hub's libraries or into a folder.
    Model(Box<Model>),
    /// Fetches all models of a list that are not here.
    Sync(Box<Sync>),
    /// Reads models and compares them with what they should be.
    Verify(Box<Verify>),
    /// Lists the models that are here.
    List(List),
    /// Takes away what no model needs, and old models.
    Gc(Gc),
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
    /// Path of the one file; it takes the place of a regular file or of a link, of nothing else
    #[arg(short, long, value_name = "FILE", conflicts_with = "dir")]
    pub(crate) output: Option<PathBuf>,
    /// Folder for the files, created if need be; they are named as their URLs end [default: .]
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

const MODEL_EXAMPLES: &str = "\
Examples:
  download model org/name
  download model org/name@v1.0 --include '*.safetensors' --include '*.json'
  download model org/name --local-dir here          files by their names in a folder of yours
  download model org/name --dry-run
  download model org/name --write-lock model.lock   and later, to the byte: --locked model.lock
  download model org/name --offline                 exit code 8 if it is not here

Prints the folder in which the files are. Other forms of weights that are there as safetensors are
left out (--all-formats), and so is what can run code when it is loaded (--allow-pickle).
Exit codes: 0 done, 1 other, 3 not found, 4 not allowed, 5 integrity, 6 disk, 7 network, 8 offline
and absent, 64 usage, 130 interrupted, 143 terminated. Run again, it goes on where it was.";

const SYNC_EXAMPLES: &str = "\
Examples:
  download sync models.toml
  download sync models.toml --jobs 2 --limit-rate 50MB/s --json

models.toml:
  [defaults]
  exclude = [\"*.md\"]

  [[model]]
  repo = \"org/name\"            or: url = \"https://...\", files = [{path, size, sha256}]
  revision = \"v1.0\"            a branch, a tag or a commit; main unless said
  priority = \"high\"            high, normal or low
  include = [\"*.json\"]
  target = \"models/name\"       a folder of its own, in place of the cache

Killed at any instant and run again, it goes on where it was.";

const KEEP_EXAMPLES: &str = "\
Examples:
  download verify org/name
  download verify ~/.cache/huggingface/hub --repair
  download list --json
  download gc --dry-run
  download gc --max-size 200GB";

#[derive(Args, Debug)]
#[command(after_help = MODEL_EXAMPLES)]
pub(crate) struct Model {
    /// Which model: ORGANIZATION/NAME, and after an @ a branch, a tag or a commit
    #[arg(value_name = "ORG/NAME[@REV]")]
    pub(crate) model: ModelSpec,
    /// Only files that match, such as '*.json'; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub(crate) include: Vec<String>,
    /// No files that match
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Also the other forms of weights that are there as safetensors
    #[arg(long)]
    pub(crate) all_formats: bool,
    /// Also files that can run code when they are loaded
    #[arg(long)]
    pub(crate) allow_pickle: bool,
    /// Folder for the files, by their names, in place of the cache
    #[arg(long, value_name = "DIR")]
    pub(crate) local_dir: Option<PathBuf>,
    /// Fetch exactly what this lock file says, whatever a branch stands for by now
    #[arg(long, value_name = "FILE")]
    pub(crate) locked: Option<PathBuf>,
    /// Write what was fetched into this lock file
    #[arg(long, value_name = "FILE")]
    pub(crate) write_lock: Option<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) hub: HubArgs,
    #[command(flatten)]
    pub(crate) transfer: Transfer,
}

#[derive(Args, Debug)]
#[command(after_help = SYNC_EXAMPLES)]
pub(crate) struct Sync {
    /// The list of models
    #[arg(value_name = "models.toml")]
    pub(crate) list: PathBuf,
    /// Models at once, at most
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = count)]
    pub(crate) jobs: usize,
    #[command(flatten)]
    pub(crate) hub: HubArgs,
    #[command(flatten)]
    pub(crate) transfer: Transfer,
}

#[derive(Args, Debug)]
#[command(after_help = KEEP_EXAMPLES)]
pub(crate) struct Verify {
    /// What to read: a model's folder, a cache, a file in one, or a model's name
    #[arg(value_name = "PATH|ORG/NAME")]
    pub(crate) what: String,
    /// Fetch again what is wrong, and nothing else
    #[arg(long)]
    pub(crate) repair: bool,
    #[command(flatten)]
    pub(crate) hub: HubArgs,
    #[command(flatten)]
    pub(crate) transfer: Transfer,
}

#[derive(Args, Debug)]
#[command(after_help = KEEP_EXAMPLES)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
    /// Events as NDJSON on stdout, and nothing else there
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
#[command(after_help = KEEP_EXAMPLES)]
pub(crate) struct Gc {
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
    /// Say what would be taken away, and take nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also models that nobody has read for so long, such as 30d
    #[arg(long, value_name = "D", value_parser = age)]
    pub(crate) max_age: Option<Duration>,
    /// Also models and remains of transfers, the longest unused first, until the cache has no more than this
    #[arg(long, value_name = "S", value_parser = size)]
    pub(crate) max_size: Option<u64>,
    /// Bytes that no model refers to are kept for so long after they were written
    #[arg(long, value_name = "D", default_value = "10min", value_parser = age)]
    pub(crate) grace: Duration,
    /// Events as NDJSON on stdout, and nothing else there
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where the cache is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cache")]
pub(crate) struct CacheArgs {
    /// The cache; the hub's own unless said
    #[arg(long, value_name = "DIR", env = "HF_HUB_CACHE")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Folder of the hub's own libraries, in which their cache is
    #[arg(long, value_name = "DIR", env = "HF_HOME", hide = true)]
    pub(crate) hf_home: Option<PathBuf>,
}

/// Which hub, as whom.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Hub")]
pub(crate) struct HubArgs {
    /// Address of the hub
    #[arg(long, value_name = "URL", env = "HF_ENDPOINT", default_value = "https://huggingface.co")]
    pub(crate) endpoint: String,
    /// File that holds the token; it is told to the hub alone
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The token; from the environment, since `ps` shows what stands here
    #[arg(long, value_name = "TOKEN", env = "HF_TOKEN", hide = true, hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Ask nobody: what is here is enough, or it is an error
    #[arg(long, env = "HF_HUB_OFFLINE", value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    pub(crate) offline: bool,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
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
    /// A file of `get`, or a model of `sync`, whose turn does not come in this time is given up; files
    /// after five minutes, models never, unless said
    #[arg(long, value_name = "D", value_parser = duration)]
    pub(crate) queue_timeout: Option<Duration>,
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
    /// Ask for listings of models uncompressed; files are never compressed
    #[arg(long)]
    pub(crate) no_compression: bool,
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

/// A time that may be none.
fn age(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "write a time such as 30d or 10min".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).ok().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "write a time such as 250ms or 15s".to_owned())
}
