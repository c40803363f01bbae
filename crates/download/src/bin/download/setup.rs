//! From the command line to what a run needs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use download::{
    Cache, Downloader, FetchOptions, Hub, HubOptions, Models, ModelsOptions, Patience, Token, Url,
    told,
};
use limiter::{Burst, Limiter, Rate};
use memory::Budget;
use pool::http::{Client, ClientOptions, Proxies, Tls};

use crate::args::{self, CacheArgs, Chunk, HubArgs, Transfer};
use crate::{history, plan};

/// A frame is so long at most: fewer calls and wake-ups; longer ones cost memory and gain nothing
/// (feasibility prototypes).
const FRAME_BYTES: usize = 256 << 10;
/// Under a limit frames are shorter, so that bytes come evenly.
const FRAME_BYTES_LIMITED: usize = 32 << 10;
/// What a limit lets through at once.
const BURST: Duration = Duration::from_millis(50);
/// The least memory to work with: one file and one connection.
const MEMORY_BYTES_MIN: u64 = 2 << 20;
/// A file of `get` waits for its turn no longer, unless said.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(300);
/// Files of a model wait for their turn as long as its others take; models have the time-out.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// A token's file holds nothing else.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// How to fetch.
pub(crate) fn options(transfer: &Transfer) -> Result<FetchOptions, String> {
    if transfer.memory < MEMORY_BYTES_MIN {
        return Err(format!("--memory {} B is too little: give at least 2MiB", transfer.memory));
    }
    if let Some(path) = &transfer.metrics_file {
        plan::check_replaceable(path)?;
    }
    let patience = Patience { retries_max: transfer.retries, ..Patience::default() };
    Ok(FetchOptions {
        connections_max: transfer.connections,
        files_max: transfer.files,
        queue_timeout: transfer.queue_timeout.unwrap_or(QUEUE_TIMEOUT),
        timeout: transfer.timeout,
        part_bytes: match transfer.chunk_size {
            Chunk::Auto => None,
            Chunk::Bytes(bytes) => Some(bytes),
        },
        patience,
        limiter: limiter(transfer)?,
        memory: Budget::new(transfer.memory),
        history: history::read(transfer),
        ..FetchOptions::default()
    })
}

/// The models of a hub, and what fetches them.
pub(crate) struct ModelSetup {
    pub(crate) models: Models,
    pub(crate) downloader: Downloader,
    pub(crate) limiter: Option<Limiter>,
}

/// Everything that commands on models need. Nothing is asked or created yet.
pub(crate) fn models(hub: &HubArgs, transfer: &Transfer) -> Result<ModelSetup, String> {
    let options = FetchOptions { queue_timeout: NEVER, ..options(transfer)? };
    let endpoint: Url = match hub.endpoint.trim() {
        "" => return Err("--endpoint is empty".to_owned()),
        text => plan::parse_url(text).map_err(|what| format!("--endpoint: {what}"))?,
    };
    let client = client(transfer, endpoint.scheme() == "https", options.limiter.is_some())?;
    let limiter = options.limiter.clone();
    let downloader = Downloader::new(Client::new(client), options);
    let hub_options = HubOptions {
        endpoint,
        token: token(hub)?,
        headers: plan::read_headers(&transfer.headers)?,
        compression: !transfer.no_compression,
    };
    let hub_of = Hub::new(downloader.clone(), hub_options);
    let options = ModelsOptions { cache: cache(&hub.cache)?, offline: hub.offline };
    Ok(ModelSetup { models: Models::new(hub_of, options), downloader, limiter })
}

/// The cache: as told, else where the hub's libraries have theirs.
pub(crate) fn cache(args: &CacheArgs) -> Result<Cache, String> {
    if let Some(folder) = &args.cache_dir {
        return Ok(Cache::new(folder));
    }
    Ok(Cache::new(hub_home(args)?.join("hub")))
}

fn hub_home(args: &CacheArgs) -> Result<PathBuf, String> {
    if let Some(home) = &args.hf_home {
        return Ok(home.clone());
    }
    let home = std::env::home_dir().ok_or("there is no home folder: give --cache-dir")?;
    Ok(home.join(".cache").join("huggingface"))
}

/// The token: from a file, the environment, or where the hub's own login leaves it. Errors do not
/// repeat it.
fn token(hub: &HubArgs) -> Result<Option<Token>, String> {
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path)
            .map_err(|e| format!("cannot read the token in {}: {e}", path.display()))?;
        if TOKEN_BYTES_MAX < text.len() {
            return Err(format!("{} holds no token", path.display()));
        }
        Token::new(&text).map(Some).map_err(|error| format!("{}: {error}", path.display()))
    };
    if let Some(path) = &hub.token_file {
        return read(path);
    }
    if let Some(token) = hub.token.as_deref().filter(|token| !token.trim().is_empty()) {
        return Token::new(token).map(Some).map_err(|error| format!("HF_TOKEN: {error}"));
    }
    let login = hub_home(&hub.cache).map(|home| home.join("token"));
    Ok(login.ok().filter(|path| path.is_file()).and_then(|path| read(&path).ok().flatten()))
}

fn limiter(transfer: &Transfer) -> Result<Option<Limiter>, String> {
    let rate = match &transfer.limit_rate_file {
        Some(path) => Some(read_rate(path)?),
        None => transfer.limit_rate,
    };
    Ok(rate.map(|rate| Limiter::new(rate, Burst::lasting(BURST, rate))))
}

pub(crate) fn read_rate(path: &Path) -> Result<Rate, String> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {name}: {e}"))?;
    args::rate(&text).map_err(|error| format!("{name}: {error}"))
}

pub(crate) fn client(
    transfer: &Transfer,
    needs_tls: bool,
    limited: bool,
) -> Result<ClientOptions, String> {
    let mut client = ClientOptions::default();
    client.http1.max_buf_size(if limited { FRAME_BYTES_LIMITED } else { FRAME_BYTES });
    client.body_timeout = Some(transfer.stall_timeout);
    // A server may think before it answers.
    client.head_timeout = Some(2 * transfer.stall_timeout);
    client.pool.connections_max = transfer.connections;
    client.pool.connections_per_key_max = transfer.connections;
    if let Some(proxy) = &transfer.proxy {
        let proxy = proxy.parse().map_err(|_| "--proxy is no URL".to_owned())?;
        client.proxies = Proxies { http: Some(proxy), ..Proxies::default() };
        client.proxies.https.clone_from(&client.proxies.http);
        client.proxies.check().map_err(|error| format!("--proxy: {error}"))?;
    }
    let tls = match &transfer.ca_file {
        Some(path) => Some(Tls::with_ca_file(path).map_err(|error| told(&error))?),
        None if needs_tls => Some(Tls::new().map_err(|error| told(&error))?),
        // Redirects may lead to https; where the platform has no roots they are refused then.
        None => Tls::new().ok(),
    };
    client.tls = tls;
    Ok(client)
}

/// Puts another rate in force.
pub(crate) fn set_rate(limiter: &Limiter, rate: Rate) {
    limiter.set_rate(rate);
    limiter.set_burst(Burst::lasting(BURST, rate));
}
