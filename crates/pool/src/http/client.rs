//! Sends requests.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::connect::HttpConnector;

use super::body::Body;
use super::connection::HttpConnection;
use super::dial::Dial;
use super::error::Error;
use super::opener::Opener;
use super::origin::Origin;
use super::proxies::{Proxies, matcher};
use super::replay::{Replay, copy_of};
#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::error::GetError;
use crate::handle::Pool;
use crate::lease::Lease;
use crate::options::Options;
use crate::seam::within;

/// The longest head of a reply, by default.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The limits of a client.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Those of its pool. By default connections are idle for 4 s at most, below the 5 s of Node.js, the
    /// shortest time-out that is common among servers, and live for 9 to 10 minutes, so that the client
    /// follows a host to a new address.
    pub pool: Options,
    /// How long the head of a reply may take, from the moment a connection is there. 30 s by default: as
    /// long as people wait.
    pub head_timeout: Option<Duration>,
    /// How long the next part of a body may take. 30 s by default, too.
    pub body_timeout: Option<Duration>,
    /// How hyper speaks: buffer sizes, header limits and so on. By default the head of a reply may be
    /// 64 KiB long, a good deal more than servers send and less than hyper's 400 KiB.
    pub http1: http1::Builder,
    /// The proxies to go through; none by default.
    pub proxies: Proxies,
    /// TLS for `https`; none by default.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        let mut http1 = http1::Builder::new();
        http1.max_header_size(HEAD_BYTES_MAX);
        Self {
            pool: Options {
                idle_timeout: Some(Duration::from_secs(4)),
                lifetime_max: Some(Duration::from_secs(600)),
                lifetime_jitter: Duration::from_secs(60),
                ..Options::default()
            },
            head_timeout: Some(Duration::from_secs(30)),
            body_timeout: Some(Duration::from_secs(30)),
            http1,
            proxies: Proxies::default(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

/// Sends HTTP/1.1 requests over pooled connections.
///
/// A cheap handle: clones share the pool. `B` is the type of request bodies; the default serves requests
/// without a body, too.
///
/// # Examples
///
/// See the [module](crate::http).
pub struct Client<B: Replay = Full<Bytes>> {
    pool: Pool<Origin, HttpConnection<B>>,
    head_timeout: Option<Duration>,
    body_timeout: Option<Duration>,
    retries: Arc<AtomicU64>,
}

/// An exchange that failed before there was a reply.
struct Failed<B: Replay> {
    error: Error,
    lease: Lease<HttpConnection<B>>,
    /// The request, if nothing of it was sent.
    unsent: Option<Request<B>>,
    /// Whether the connection ended without a byte of a reply.
    silently: bool,
}

impl<B: Replay> Client<B> {
    /// Returns a client that connects over TCP, with happy eyeballs and the system's resolver.
    pub fn new(options: ClientOptions) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Self::with_connector(tcp, options)
    }

    /// Returns a client that connects by `dial`.
    pub fn with_connector(dial: impl Dial, options: ClientOptions) -> Self {
        let opener = Opener {
            dial,
            http1: options.http1,
            proxies: matcher(&options.proxies),
            #[cfg(feature = "tls")]
            tls: options.tls,
            body: PhantomData,
        };
        Self {
            pool: Pool::new(opener, options.pool),
            head_timeout: options.head_timeout,
            body_timeout: options.body_timeout,
            retries: Arc::default(),
        }
    }

    /// Sends a request and waits for the head of its reply; the body is read from what it returns.
    ///
    /// The URI must be absolute. `Host` is added unless the request has one. See the
    /// [module](crate::http) for when a request is sent a second time.
    ///
    /// # Errors
    ///
    /// [`Error`]. The connection is closed, except where the request was not sent at all.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection if the request was begun; whether the server saw it
    /// is not known.
    pub async fn send(&self, mut request: Request<B>) -> Result<Response<Body<B>>, Error> {
        if *request.method() == Method::CONNECT {
            return Err(Error::InvalidRequest("CONNECT is no request to an origin"));
        }
        let origin = Origin::of(request.uri()).map_err(Error::InvalidRequest)?;
        let lease = self.pool.get(&origin).await;
        let lease = lease.map_err(|source| no_connection(&origin, source))?;
        lease.0.address.write(&mut request);
        let copy = if lease.reused() { copy_of(&request) } else { None };

        let failed = match self.exchange(&origin, lease, request).await {
            Ok(reply) => return Ok(reply),
            Err(failed) => failed,
        };
        let (lease, request) = failed.again(copy)?;
        self.retries.fetch_add(1, Ordering::Relaxed);
        let lease = lease.renew().await.map_err(|source| no_connection(&origin, source))?;
        self.exchange(&origin, lease, request).await.map_err(|failed| failed.error)
    }

    /// The pool of its connections: for statistics, drain, caps, and close.
    pub fn pool(&self) -> &Pool<Origin, HttpConnection<B>> {
        &self.pool
    }

    /// How many requests were sent a second time.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    async fn exchange(
        &self,
        origin: &Origin,
        mut lease: Lease<HttpConnection<B>>,
        request: Request<B>,
    ) -> Result<Response<Body<B>>, Failed<B>> {
        let heard_before = lease.0.heard.bytes();
        let mut failure = match within(self.head_timeout, lease.exchange(request)).await {
            Some(Ok(reply)) => return Ok(self.reply(reply, lease)),
            Some(Err(failure)) => failure,
            None => {
                let after = self.head_timeout.unwrap_or_default();
                let error = Error::HeadTimedOut { origin: origin.clone(), after };
                return Err(Failed { error, lease, unsent: None, silently: false });
            }
        };
        let unsent = failure.take_message();
        let source = failure.into_error();
        let silently = lease.0.heard.bytes() == heard_before && !source.is_user();
        let error = Error::Exchange { origin: origin.clone(), source };
        Err(Failed { error, lease, unsent, silently })
    }

    fn reply(
        &self,
        reply: Response<hyper::body::Incoming>,
        lease: Lease<HttpConnection<B>>,
    ) -> Response<Body<B>> {
        let (mut head, incoming) = reply.into_parts();
        lease.extend(&mut head.extensions);
        Response::from_parts(head, Body::new(incoming, lease, self.body_timeout))
    }
}

impl<B: Replay> Failed<B> {
    /// Returns what is needed to send the request again if that is safe: the connection was used before,
    /// and the request was not sent or is a copy that may be.
    fn again(
        self,
        copy: Option<Request<B>>,
    ) -> Result<(Lease<HttpConnection<B>>, Request<B>), Error> {
        let request = self.unsent.or(copy.filter(|_| self.silently));
        match request.filter(|_| self.lease.reused()) {
            Some(request) => Ok((self.lease, request)),
            None => Err(self.error),
        }
    }
}

fn no_connection(origin: &Origin, source: GetError) -> Error {
    Error::NoConnection { origin: origin.clone(), source }
}

impl<B: Replay> Clone for Client<B> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            head_timeout: self.head_timeout,
            body_timeout: self.body_timeout,
            retries: self.retries.clone(),
        }
    }
}

impl<B: Replay> fmt::Debug for Client<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("pool", &self.pool)
            .field("retries", &self.retries())
            .finish_non_exhaustive()
    }
}
