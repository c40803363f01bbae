//! Sends requests.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::connect::dns::GaiResolver;

use super::body::Body;
use super::connection::{BoxedOutcome, HttpConnection};
use super::dial::{Dial, tcp};
use super::error::Error;
use super::opener::Opener;
use super::origin::Origin;
use super::proxies::{Proxies, matcher};
use super::replay::{Replay, Spare};
#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::error::GetError;
use crate::handle::Pool;
use crate::lease::Lease;
use crate::options::Options;

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
    /// long as people wait. While the body of a request is under way that is longer than 64 KiB, or of unknown
    /// length, the time begins anew as often as it is over and the system took some of the body meanwhile.
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
    inner: Arc<Inner<B>>,
}

struct Inner<B: Replay> {
    pool: Pool<Origin, HttpConnection<B>>,
    head_timeout: Option<Duration>,
    body_timeout: Option<Duration>,
    retries: AtomicU64,
}

/// An exchange that failed before there was a reply.
struct Failed<B: Replay> {
    error: Error,
    lease: Lease<HttpConnection<B>>,
    /// The request if it may be sent once more over a connection of which that is known: nothing of it
    /// was sent, or this is a copy that may be, and not a byte of a reply came.
    request: Option<Request<B>>,
}

impl<B: Replay> Client<B> {
    /// Returns a client that connects over TCP, with happy eyeballs and the system's resolver. The addresses
    /// of a host share the time to connect, so that one that does not answer hides none of the others.
    pub fn new(options: ClientOptions) -> Self {
        let tcp = tcp(GaiResolver::new(), options.pool.connect_timeout);
        Self::with_connector(tcp, options)
    }

    /// Returns a client that connects by `dial`. Where that tries several addresses it should have a time-out
    /// of its own (`HttpConnector::set_connect_timeout`), or the first one can use up the pool's.
    pub fn with_connector(dial: impl Dial, options: ClientOptions) -> Self {
        let opener = Opener {
            dial,
            http1: options.http1,
            proxies: matcher(&options.proxies),
            #[cfg(feature = "tls")]
            tls: options.tls,
            body: PhantomData,
        };
        let inner = Inner {
            pool: Pool::new(opener, options.pool),
            head_timeout: options.head_timeout,
            body_timeout: options.body_timeout,
            retries: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
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
    pub fn send(
        &self,
        mut request: Request<B>,
    ) -> impl Future<Output = Result<Response<Body<B>>, Error>> + Send {
        // No `async fn`: that would keep the request twice, as its argument and as a variable.
        let origin = origin_of(&mut request);
        async move {
            let origin = origin?;
            let lease = self.inner.pool.get(&origin).await;
            let mut lease = lease.map_err(|source| no_connection(&origin, source))?;
            if lease.reused() {
                lease.keep_spare(&request);
            }
            let heard_before = lease.0.traffic.heard_bytes();
            let outcome = {
                let now = lease.lent_at();
                let mut begun = pin!(lease.begin(&origin, request, now));
                poll_fn(|cx| lease.poll_outcome(begun.as_mut(), self.inner.head_timeout, cx)).await
            };
            match self.reply(&origin, outcome, heard_before, lease) {
                Ok(reply) => Ok(reply),
                // On the heap, for it is rare: the future of every other request is smaller by as much.
                Err(failed) => Box::pin(self.send_again(&origin, failed)).await,
            }
        }
    }

    /// The pool of its connections: for statistics, drain, caps, and close.
    pub fn pool(&self) -> &Pool<Origin, HttpConnection<B>> {
        &self.inner.pool
    }

    /// How many requests were sent a second time.
    pub fn retries(&self) -> u64 {
        self.inner.retries.load(Ordering::Relaxed)
    }

    /// Sends a request a second time, over a new connection, if that is safe.
    async fn send_again(
        &self,
        origin: &Origin,
        failed: Box<Failed<B>>,
    ) -> Result<Response<Body<B>>, Error> {
        let (lease, request) = failed.again()?;
        self.inner.retries.fetch_add(1, Ordering::Relaxed);
        let mut lease = lease.renew().await.map_err(|source| no_connection(origin, source))?;
        let heard_before = lease.0.traffic.heard_bytes();
        let mut begun = pin!(lease.begin(origin, request, None));
        let outcome =
            poll_fn(|cx| lease.poll_outcome(begun.as_mut(), self.inner.head_timeout, cx)).await;
        self.reply(origin, outcome, heard_before, lease).map_err(|failed| failed.error)
    }

    /// Makes a reply of what became of a request, if it is one.
    fn reply(
        &self,
        origin: &Origin,
        outcome: Option<BoxedOutcome<B>>,
        heard_before: u64,
        mut lease: Lease<HttpConnection<B>>,
    ) -> Result<Response<Body<B>>, Box<Failed<B>>> {
        let mut failure = match outcome {
            Some(Ok(reply)) => {
                lease.0.spare = None;
                let (mut head, incoming) = reply.into_parts();
                lease.extend(&mut head.extensions);
                let body = Body::new(incoming, lease, self.inner.body_timeout);
                return Ok(Response::from_parts(head, body));
            }
            Some(Err(failure)) => failure,
            None => {
                lease.0.spare = None;
                let after = self.inner.head_timeout.unwrap_or_default();
                let error = Error::HeadTimedOut { origin: origin.clone(), after };
                return Err(Box::new(Failed { error, lease, request: None }));
            }
        };
        let spare = lease.0.spare.take();
        let unsent = failure.take_message();
        let source = failure.into_error();
        let silently = lease.0.traffic.heard_bytes() == heard_before && !source.is_user();
        let spare = spare.filter(|_| silently).map(Spare::into_request);
        let request = unsent.or(spare);
        let error = Error::Exchange { origin: origin.clone(), source };
        Err(Box::new(Failed { error, lease, request }))
    }
}

impl<B: Replay> Failed<B> {
    /// Returns what is needed to send the request again if that is safe.
    fn again(self) -> Result<(Lease<HttpConnection<B>>, Request<B>), Error> {
        match self.request.filter(|_| self.lease.reused()) {
            Some(request) => Ok((self.lease, request)),
            None => Err(self.error),
        }
    }
}

/// Takes the origin out of a request's URI, of which path and query are left.
fn origin_of<B>(request: &mut Request<B>) -> Result<Origin, Error> {
    if *request.method() == Method::CONNECT {
        return Err(Error::InvalidRequest("CONNECT is no request to an origin"));
    }
    Origin::split_off(request.uri_mut()).map_err(Error::InvalidRequest)
}

fn no_connection(origin: &Origin, source: GetError) -> Error {
    Error::NoConnection { origin: origin.clone(), source }
}

impl<B: Replay> Clone for Client<B> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<B: Replay> fmt::Debug for Client<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("pool", self.pool())
            .field("retries", &self.retries())
            .finish_non_exhaustive()
    }
}
