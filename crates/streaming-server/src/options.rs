//! What a server is told at its start.

use std::time::Duration;

use crate::keys::Keys;

/// Limits and names of a [`Server`](crate::Server).
///
/// # Examples
///
/// ```
/// use streaming_server::Options;
///
/// let options = Options { models: vec!["tiny".to_owned()], running_max: 8, ..Options::default() };
/// assert_eq!(4096, options.queued_max);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// What the models are called; the first is taken where a request names none. `["test"]` unless
    /// set.
    pub models: Vec<String>,
    /// At most so many requests run at once; at least 1, or none ever does. 16 384 unless set: more connections than that, most
    /// systems do not allow a process.
    pub running_max: usize,
    /// At most so many requests wait to run; more are refused with 503. Where there are keys, half of
    /// the places are the keys' own, by weight. 4096 unless set.
    pub queued_max: usize,
    /// What runs at once has at most so many tokens, prompts and `max_tokens`; a request of more runs
    /// alone. No limit unless set.
    pub running_tokens_max: u64,
    /// What waits has at most so many tokens, shared like `queued_max`; a request of more waits where
    /// no other of its key does. No limit unless set.
    pub queued_tokens_max: u64,
    /// Whether the best number of running requests is sought, from 1 to `running_max`: the least that
    /// brings about as many tokens per second as any. For runners and upstreams that serve many no
    /// faster than few. Never unless set.
    pub adaptive: bool,
    /// After waiting so long a request counts as one class better. 10 s unless set.
    pub ageing: Duration,
    /// Who may ask. Everybody unless set.
    pub keys: Option<Keys>,
    /// The largest `max_tokens` of a request. 1 048 576 unless set.
    pub tokens_max: u64,
    /// The largest body of a request, in bytes. 8 MiB unless set.
    pub body_bytes_max: u64,
    /// What all bodies together may hold, and all replies that are not streamed, in bytes. 256 MiB
    /// unless set.
    pub held_bytes_max: u64,
    /// At most so many connections; more are answered 503 and closed. 16 384 unless set.
    pub connections_max: usize,
    /// How long a request may wait to run; then it is refused with 503. 60 s unless set.
    pub queue_timeout: Duration,
    /// How long a client may read nothing while something waits for it; then it is cut. 30 s unless
    /// set.
    pub stall_timeout: Duration,
    /// How long the head of a request may take, and a connection be idle. 30 s unless set.
    pub header_timeout: Duration,
    /// How long the body of a request may take. 30 s unless set.
    pub body_timeout: Duration,
    /// How long running streams may take to finish once the server is told to stop; then they get an
    /// error event. 30 s unless set.
    pub drain_timeout: Duration,
    /// After so much silence a stream gets a comment, so that nobody on the way takes it for dead.
    /// 15 s unless set.
    pub keep_alive: Duration,
    /// A runner that takes so long for a step is given up: its requests fail, another is started. An
    /// upstream that says nothing for so long has failed, unless it generates a reply that is not streamed
    /// ([`RelayOptions::reply_timeout`]). 30 s unless set.
    pub runner_timeout: Duration,
    /// What a stream may hold for a client that does not read: text and 32 bytes for each token.
    /// The runner's sequence pauses then. Exceeded by one token at most. 64 KiB unless set.
    pub backlog_bytes_max: usize,
    /// Origins whose pages may read replies, as browsers write them (`https://example.com`); `*` stands
    /// for every one. Never with credentials: keys are sent as a field, and pages have to know them.
    /// None unless set.
    pub cors_origins: Vec<String>,
    /// Names that requests may have as their `Host`, without port; others are refused, which is what
    /// keeps pages out that made a name of theirs point here. Every one unless set.
    pub allowed_hosts: Vec<String>,
    /// Whether requests may ask for faults (`x-fault`). Never unless set. A relay passes the field on, and
    /// heeds it never.
    pub faults: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            models: vec!["test".to_owned()],
            running_max: 16_384,
            queued_max: 4096,
            running_tokens_max: u64::MAX,
            queued_tokens_max: u64::MAX,
            adaptive: false,
            ageing: Duration::from_secs(10),
            keys: None,
            tokens_max: 1 << 20,
            body_bytes_max: 8 << 20,
            held_bytes_max: 256 << 20,
            connections_max: 16_384,
            queue_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            runner_timeout: Duration::from_secs(30),
            backlog_bytes_max: 64 << 10,
            cors_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            faults: false,
        }
    }
}

/// Where a relay passes requests on to.
///
/// # Examples
///
/// ```
/// use streaming_server::{Options, RelayOptions, Server};
///
/// let relay = RelayOptions {
///     upstreams: vec!["http://10.0.0.1:8000".to_owned(), "http://10.0.0.2:8000/v1".to_owned()],
///     ..RelayOptions::default()
/// };
/// let options = Options { models: Vec::new(), ..Options::default() };
/// let server = Server::relay(options, &relay)?;
/// # Ok::<(), streaming_server::StartError>(())
/// ```
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// URLs; `/v1` at their end is the same as nothing. `https` needs the feature `tls`.
    pub upstreams: Vec<String>,
    /// How often an upstream is asked how it is. 2 s unless set.
    pub health_interval: Duration,
    /// How long a reply that is not streamed may take: nothing is heard of it until it is there as a
    /// whole. 600 s unless set, as long as OpenAI's clients wait; [`Options::runner_timeout`] where that
    /// is longer.
    pub reply_timeout: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            upstreams: Vec::new(),
            health_interval: Duration::from_secs(2),
            reply_timeout: Duration::from_secs(600),
        }
    }
}
