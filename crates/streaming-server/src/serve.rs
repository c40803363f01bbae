//! The server: what is shared by all its connections, from start to drain.

mod accept;
mod admit;
mod collect;
mod connection;
mod generate;
mod generation;
mod keeper;
mod relayed;
mod route;
mod socket;
mod turn;
mod upload;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use memory::Budget;
use tokio::sync::Semaphore;

use self::accept::Acceptor;
pub(crate) use self::connection::Connection;
pub(crate) use self::generation::{Generation, Sent};
pub(crate) use self::relayed::Relayed;
use crate::admission::Admission;
use crate::cors::Cors;
use crate::engine::{Engine, Factory};
use crate::metrics::Metrics;
use crate::options::{Options, RelayOptions};
use crate::relay::Relay;
use crate::runner::Runner;
use crate::seam::{self, Clock, Listener};
use crate::sync::{AtomicU64, Ordering};
use crate::tenants::Tenants;

/// How often it is looked whether there is a runner yet.
const READY_PERIOD: Duration = Duration::from_millis(1);

/// Serves the tokens of a runner.
///
/// A cheap handle: clones are the same server. Dropping the last one, with everything that it serves,
/// ends the runner's thread.
///
/// # Examples
///
/// See the [front page](crate).
#[derive(Clone, Debug)]
pub struct Server {
    core: Arc<Core>,
}

/// Where tokens come from.
#[derive(Debug)]
pub(crate) enum Source {
    Runner(Box<Engine>),
    Relay(Arc<Relay>),
}

impl Source {
    /// Whether it makes sense to ask for tokens.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::Runner(engine) => engine.is_ready(),
            Self::Relay(relay) => relay.is_ready(),
        }
    }
}

/// What every connection has to do with.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) source: Source,
    pub(crate) admission: Arc<Admission>,
    pub(crate) tenants: Tenants,
    pub(crate) cors: Cors,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    /// Bodies of requests, and replies that are not streamed.
    pub(crate) held: Budget,
    /// Turns at reading large bodies into fields.
    pub(crate) parses: Arc<Semaphore>,
    /// The models' names, as sequences have them.
    pub(crate) models: Vec<Arc<str>>,
    /// What ids of this server's requests begin with.
    instance: u64,
    /// Counts requests.
    drawn: AtomicU64,
    pub(crate) started_unix_s: u64,
}

impl Core {
    /// A number that no other request of this server has.
    pub(crate) fn draw(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::Relaxed)
    }

    /// What `GET /metrics` says.
    fn metrics_text(&self) -> String {
        let counts = self.admission.counts();
        let model = self.options.models.first().map_or("", String::as_str);
        let mut text = self.metrics.to_text(model, counts, &self.tenants);
        if let Source::Relay(relay) = &self.source {
            relay.write(&mut text);
        }
        text.into_string()
    }

    /// The name of a request, among those of all servers.
    pub(crate) fn id_of(&self, request: u64) -> String {
        format!("{:016x}{request:08x}", self.instance)
    }
}

/// Why a server cannot start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// [`Options::models`] is empty.
    NoModel,
    /// There is no thread for the runner.
    Thread(io::Error),
    /// What is wrong with the upstreams.
    Upstream(String),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoModel => f.write_str("no model is named; give at least one"),
            Self::Thread(_) => f.write_str("the system has no thread for the runner"),
            Self::Upstream(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoModel | Self::Upstream(_) => None,
            Self::Thread(error) => Some(error),
        }
    }
}

/// How a server's service ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Requests that ran when it was told to stop, and finished.
    pub finished: u64,
    /// Those that did not finish in time: streams got an error event.
    pub cut: u64,
}

impl Server {
    /// Starts a runner on a thread of its own. `runner` is called there, and again whenever the
    /// runner before has failed.
    ///
    /// # Errors
    ///
    /// [`StartError`] when no model is named or there is no thread.
    pub fn start<R: Runner + 'static>(
        options: Options,
        runner: impl Fn() -> R + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        if options.models.is_empty() {
            return Err(StartError::NoModel);
        }
        let clock = Clock::start();
        let metrics = Arc::new(Metrics::default());
        let factory: Factory = Arc::new(move || Box::new(runner()));
        let engine = Engine::start(factory, clock, &metrics).map_err(StartError::Thread)?;
        Ok(Self::new(options, Source::Runner(Box::new(engine)), clock, metrics))
    }

    /// Passes requests on to upstreams instead of a runner, and their replies back as they come. Where
    /// no model is named, each is passed on.
    ///
    /// # Errors
    ///
    /// [`StartError::Upstream`] when an upstream is none, or there is none.
    pub fn relay(options: Options, relay: &RelayOptions) -> Result<Self, StartError> {
        let clock = Clock::start();
        let relay = Relay::new(&options, relay, clock).map_err(StartError::Upstream)?;
        Ok(Self::new(options, Source::Relay(Arc::new(relay)), clock, Arc::default()))
    }

    fn new(options: Options, source: Source, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let tenants = Tenants::new(options.keys.as_ref());
        let core = Core {
            source,
            admission: Arc::new(Admission::new(&options, &tenants, clock)),
            tenants,
            cors: Cors::new(&options.cors_origins),
            metrics,
            clock,
            held: Budget::new(options.held_bytes_max),
            parses: Arc::new(Semaphore::new(generate::PARSES_MAX)),
            models: options.models.iter().map(|name| Arc::from(name.as_str())).collect(),
            instance: seam::random_number(),
            drawn: AtomicU64::new(0),
            started_unix_s: seam::unix_seconds(),
            options,
        };
        Self { core: Arc::new(core) }
    }

    /// Waits until there is a runner, or an upstream, to take requests. They may come before: they wait.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn ready(&self) {
        while !self.core.source.is_ready() {
            tokio::time::sleep(READY_PERIOD).await;
        }
    }

    /// Accepts connections until `stop` ends, whatever its result, then lets running requests finish
    /// for [`Options::drain_timeout`], refusing new ones with 503; what is left gets an error event.
    ///
    /// All tasks run on the caller's runtime. One thread is best: `current_thread`. For several, call
    /// this once on each, with listeners of their own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes every connection at once.
    pub async fn serve(&self, listener: Listener, stop: impl Future) -> Ended {
        Acceptor::new(&self.core, listener).run(stop).await
    }

    /// What `GET /metrics` says.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.core.metrics_text()
    }
}
