//! An HTTP/1.1 server whose every virtue can be turned off.

mod body;
mod condition;
mod connection;
mod control;
mod gzip;
mod object;
mod plan;
mod range;
mod reply;
mod request;
mod rules;
mod send;
mod settings;
mod shared;
mod stats;
mod tempo;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;

use object::Shelf;
pub(crate) use object::{Content, Object};
pub(crate) use plan::Answer;
pub(crate) use reply::Reply;
pub(crate) use request::{Request, percent_decoded, percent_encoded};
pub use settings::{Settings, parse_share};
pub(crate) use settings::{duration as duration_of, object as json_object};
pub(crate) use shared::Handler;
use shared::Shared;
pub use stats::{ConnectionStats, PathStats, Stats};

use crate::Blob;
use crate::hub::{Cdn, Core, HubOptions, Routes};
use crate::link::{Carrier, LinkSettings};
use crate::service::{Service, StartError};
use crate::tokens::{Emitter, Lateness};

/// Where a hub's content network listens: some clients tell origins apart by their hosts alone.
const CDN_HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What an origin serves, and where.
///
/// # Examples
///
/// ```
/// use testkit::{Blob, Options};
///
/// let options = Options { blobs: vec![Blob::new("model.bin", 1 << 30, 7)], ..Options::default() };
/// assert!(options.listen.ip().is_loopback());
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// A loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Served at `/NAME`.
    pub blobs: Vec<Blob>,
    /// Bytes in memory, served at `/NAME`; a blob of the same name wins.
    pub bytes: BTreeMap<String, Vec<u8>>,
    /// A folder whose files are served at their paths below it, where no blob or bytes are. Symbolic
    /// links that lead out of it are not followed.
    pub root: Option<PathBuf>,
    /// A model hub to emulate; see [`Hub`](crate::Hub). Its content network listens on a free port of
    /// 127.0.0.2, and has the same settings at the start.
    pub hub: Option<HubOptions>,
    /// Whether the token routes are served; see [`TokenSource`](crate::TokenSource).
    pub tokens: bool,
    /// Where everything but the control routes is carried to instead of being answered: the origin is
    /// then a [`Link`](crate::Link) with control routes.
    pub link: Option<SocketAddr>,
    /// Seeds what is random: which requests fail, and the signatures of URLs.
    pub seed: u64,
    /// What can be changed later.
    pub settings: Settings,
}

impl Default for Options {
    /// A free port of 127.0.0.1, nothing to serve, and no faults.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            blobs: Vec::new(),
            bytes: BTreeMap::new(),
            root: None,
            hub: None,
            tokens: false,
            link: None,
            seed: 0,
            settings: Settings::default(),
        }
    }
}

/// An HTTP/1.1 server on loopback, on threads of its own; dropping it closes its connections.
///
/// Polite unless told otherwise: keep-alive, GET and HEAD, single ranges (a request for several gets
/// the whole object, RFC 9110, 14.2), If-Match, If-None-Match, If-Range, strong `ETag`s, 416 with
/// Content-Range, 4xx to malformed requests. One request of a connection is answered at a time. Files
/// are read as they are asked for; blobs are computed.
///
/// **Control routes**, on the same port, neither counted nor touched by faults: `GET /_stats`
/// ([`Stats`]), `POST /_reset`, `PUT` and `GET /_config` ([`Settings`]), `GET /_blobs` (by name: `size`,
/// `seed`, `etag`, `sha256`, `git_sha1`).
///
/// **Bandwidth** is kept on an absolute schedule to 1 % after the first 25 ms, up to what the machine
/// gives; **latency** to some 0.1 ms.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use testkit::{Blob, Options, Origin};
///
/// let origin = Origin::start(Options {
///     blobs: vec![Blob::new("model.bin", 1000, 7)],
///     ..Options::default()
/// })?;
/// origin.update(|settings| settings.faults = vec!["cut#1:at=10".parse().expect("a rule")]);
///
/// let mut connection = std::net::TcpStream::connect(origin.address())?;
/// connection.write_all(b"GET /model.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
/// let mut reply = Vec::new();
/// connection.read_to_end(&mut reply)?;
/// assert_eq!(10, origin.stats().sent_bytes);
/// assert_eq!(1, origin.stats().faults["cut#1:at=10"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Origin {
    // Dropped first: connections end before what they share.
    service: Service,
    shared: Arc<Shared>,
    /// The content network of a hub.
    cdn: Option<Box<Self>>,
}

impl Origin {
    /// Starts an origin.
    ///
    /// # Errors
    ///
    /// When the address is not of loopback or taken, the folder cannot be opened, two blobs have one name or
    /// one has that of a control route, a rule is none of a link's where it is one, or the system has no
    /// thread to give.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let shelf = Shelf {
            blobs: by_name(options.blobs).map_err(StartError::Setting)?,
            bytes: options.bytes.into_iter().map(|(name, bytes)| (name, bytes.into())).collect(),
            root: options.root.as_deref().map(open_root).transpose()?,
        };
        let mut shared = Shared::new(shelf, options.seed, options.settings.clone());
        let mut cdn = None;
        if let Some(hub) = options.hub {
            let wants_cdn = hub.cdn;
            let mut routes = Routes::new(hub, options.seed).map_err(StartError::Setting)?;
            if wants_cdn {
                let origin = Self::start_cdn(&routes.core, &options.settings)?;
                routes.cdn = Some(origin.url(""));
                cdn = Some(Box::new(origin));
            }
            shared.handlers.push(Box::new(routes));
        }
        if options.tokens {
            shared.emitter = Some(Emitter::start().map_err(StartError::Threads)?);
        }
        if let Some(target) = options.link {
            shared.link = Some((target, Carrier::new((&options.settings).into())));
        }
        shared.check(&options.settings).map_err(StartError::Setting)?;
        Self::listen(options.listen, shared, cdn)
    }

    fn start_cdn(core: &Arc<Core>, settings: &Settings) -> Result<Self, StartError> {
        let mut shared = Shared::new(Shelf::default(), 0, settings.clone());
        shared.handlers.push(Box::new(Cdn(Arc::clone(core))));
        Self::listen(SocketAddr::from((CDN_HOST, 0)), shared, None)
    }

    fn listen(
        address: SocketAddr,
        shared: Shared,
        cdn: Option<Box<Self>>,
    ) -> Result<Self, StartError> {
        let shared = Arc::new(shared);
        let for_service = Arc::clone(&shared);
        let service = Service::start("testkit-origin", address, move |stream| {
            serve(Arc::clone(&for_service), stream)
        })?;
        Ok(Self { service, shared, cdn })
    }

    /// Returns the content network of the hub, if this is one.
    #[must_use]
    pub fn cdn(&self) -> Option<&Self> {
        self.cdn.as_deref()
    }

    /// Returns the address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.service.address()
    }

    /// Returns the URL of the object of this name: `http://127.0.0.1:PORT/NAME`; of the origin itself,
    /// without a slash, if the name is empty.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        let slash = if name.is_empty() { "" } else { "/" };
        format!("http://{}{slash}{}", self.address(), name.trim_start_matches('/'))
    }

    /// Returns what it has seen and sent.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.counters.snapshot()
    }

    /// Zeroes the statistics, and the numbers of requests that rules count.
    pub fn reset(&self) {
        self.shared.reset();
    }

    /// Returns the settings at work.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.shared.live().settings.clone()
    }

    /// Puts other settings to work. Rules that stay go on counting.
    pub fn configure(&self, settings: Settings) {
        self.shared.configure(settings);
    }

    /// Changes some of the settings.
    pub fn update(&self, change: impl FnOnce(&mut Settings)) {
        self.shared.update(change);
    }

    /// Returns how well the token routes kept their deadlines; nothing if there are none.
    #[must_use]
    pub fn lateness(&self) -> Lateness {
        self.shared.emitter.as_ref().map_or_else(Lateness::default, Emitter::stats)
    }
}

fn by_name(blobs: Vec<Blob>) -> Result<BTreeMap<String, Blob>, String> {
    let mut by_name = BTreeMap::new();
    for blob in blobs {
        let name = blob.name().to_owned();
        if control::is_control(&format!("/{name}")) {
            return Err(format!("`/{name}` is a control route: nobody would get this blob"));
        }
        if by_name.insert(name.clone(), blob).is_some() {
            return Err(format!("two blobs are named `{name}`"));
        }
    }
    Ok(by_name)
}

fn open_root(path: &Path) -> Result<PathBuf, StartError> {
    let failed = |error| StartError::Root(path.to_owned(), error);
    let root = path.canonicalize().map_err(failed)?;
    match root.is_dir() {
        true => Ok(root),
        false => Err(failed(std::io::ErrorKind::NotADirectory.into())),
    }
}

/// Serves a connection, or carries it on if it does not want a control route.
async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    if let Some((target, carrier)) = &shared.link
        && !wants_control(&stream).await
    {
        return carrier.carry(&stream, *target).await;
    }
    connection::serve(shared, stream).await;
}

/// Looks at the first bytes without taking them. HTTP's clients speak first.
async fn wants_control(stream: &TcpStream) -> bool {
    let mut bytes = [0; control::START_BYTES_MAX];
    let mut seen = 0;
    loop {
        match stream.peek(&mut bytes).await {
            Ok(n) if seen < n => seen = n,
            // Nothing new to look at, or the client has left: let the target decide.
            _ => return false,
        }
        if let Some(wants) = control::wants(&bytes[..seen]) {
            return wants;
        }
    }
}

impl Shared {
    /// Checks that these settings can be put to work here.
    pub(crate) fn check(&self, settings: &Settings) -> Result<(), String> {
        match self.link {
            Some(_) if 0.0 < settings.error_rate => {
                Err("a link cannot answer with an error: leave `error_rate` out".to_owned())
            }
            Some(_) => LinkSettings::from(settings).check(),
            None => Ok(()),
        }
    }
}
