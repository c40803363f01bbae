//! One question to a server: redirects followed, the answer held against the question.

mod judge;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::{Either, join_all, select};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use pool::http::{Body, Client, Origin};
use tokio::sync::Mutex;
use url::Url;

use self::judge::judge;
use crate::error::{Error, ErrorKind, says_nonsense};
use crate::hub::Refusal;
use crate::job::{Event, Tell};
use crate::range::ByteRange;
use crate::redirect::{Route, origin};
use crate::retry::{Quota, retry_after};
use crate::seam::{self, Clock};
use crate::site::{Site, Sites};
use crate::traffic::Counters;
use crate::validator::{Changed, Validator};

/// What servers are told about us, unless the user tells them something else.
const USER_AGENT: &str = concat!("download/", env!("CARGO_PKG_VERSION"));

/// An answer that takes longer comes from so far that the next connections should be under way meanwhile.
const FAR: Duration = Duration::from_millis(25);

/// How often in a row one question looks up where redirects lead.
const RENEWALS_MAX: usize = 3;

/// What comes beside a redirect or a refusal is read as far as this, and for so long: of more, or of less that
/// does not come, a new connection is cheaper.
const ASIDE_BYTES_MAX: u64 = 64 << 10;
const ASIDE_TIME_MAX: Duration = Duration::from_millis(250);

/// An answer that may be used.
pub(crate) enum Answer {
    /// The whole object from its first byte on: the server does not know ranges, or was not asked for one.
    Whole { body: Body, validator: Validator },
    /// Bytes of it.
    Part { body: Body, range: ByteRange, validator: Validator },
    /// There are no bytes in the object.
    Empty { validator: Validator },
}

/// An answer that may not.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Worth another attempt, perhaps after the time that the server asks for.
    Transient { wish: Option<Duration>, error: Error },
    /// It lacks the mark that the object had: somebody else's, or the server has none any more. Worth another
    /// attempt, and worth beginning anew when it stays so.
    Unmarked(Error),
    /// It is another object than before.
    Changed(Changed),
    /// The server answers ranges wrongly: what was asked for has to be asked for without them.
    BadRange(Error),
    /// Not worth another attempt.
    Fatal(Error),
}

impl Failure {
    fn transient(error: Error) -> Self {
        Self::Transient { wish: None, error }
    }
}

/// Asks for bytes of one object.
pub(crate) struct Asker<'a> {
    client: Client,
    url: Url,
    /// Headers of the user, which may be secrets: they go to the origin of `url` alone.
    headers: HeaderMap,
    sites: Arc<Sites>,
    counters: Arc<Counters>,
    tell: Tell<'a>,
    /// Where redirects have led, often to a signed address that ends some day. One request finds the way,
    /// the others wait for it.
    way: Mutex<Option<Arc<Route>>>,
    /// The quickest answer so far, in nanoseconds: about a round trip.
    quickest: AtomicU64,
}

impl<'a> Asker<'a> {
    pub(crate) fn new(
        client: Client,
        (url, headers): (Url, HeaderMap),
        (sites, counters): (Arc<Sites>, Arc<Counters>),
        tell: Tell<'a>,
    ) -> Self {
        let (way, quickest) = (Mutex::default(), AtomicU64::new(u64::MAX));
        Self { client, url, headers, sites, counters, tell, way, quickest }
    }

    /// The address without its query and credentials: what may be told and kept.
    pub(crate) fn address(&self) -> String {
        format!("{}{}", origin(&self.url), self.url.path())
    }

    /// The origin of the address that was given.
    pub(crate) fn site(&self) -> Arc<Site> {
        self.sites.of(&origin(&self.url))
    }

    /// How long an answer takes at least, from the question to its head.
    pub(crate) fn round_trip(&self) -> Duration {
        Duration::from_nanos(self.quickest.load(Ordering::Relaxed))
    }

    /// Asks for a range, or for all; `known` guards what is here already.
    ///
    /// An address that redirects have led to and that is refused now is looked up again: signed addresses
    /// end, and the one that was given first knows the next.
    pub(crate) async fn ask(
        &self,
        range: Option<ByteRange>,
        known: &Validator,
    ) -> Result<Answer, Failure> {
        for _ in 0..RENEWALS_MAX {
            let mut way = self.way.lock().await;
            let Some(known_way) = way.clone() else {
                let (found, reply) = self.follow(range, known).await?;
                *way = Some(Arc::new(found));
                drop(way);
                return judge(reply, range, known);
            };
            drop(way);
            let reply = self.send(&known_way, range, known).await?;
            let ended = known_way.is_redirected() && may_have_ended(reply.status());
            if !ended && !is_redirect(reply.status()) {
                return judge(reply, range, known);
            }
            let mut way = self.way.lock().await;
            if way.as_ref().is_some_and(|way| Arc::ptr_eq(way, &known_way)) {
                *way = None;
            }
        }
        let message = "the address that the server redirects to ends before it can be used";
        Err(Failure::transient(Error::new(ErrorKind::Network, message)))
    }

    /// Asks at the address that was given and follows where it leads.
    async fn follow(
        &self,
        range: Option<ByteRange>,
        known: &Validator,
    ) -> Result<(Route, Response<Body>), Failure> {
        let mut route = Route::new(self.url.clone());
        loop {
            let reply = self.send(&route, range, known).await?;
            if !is_redirect(reply.status()) {
                return Ok((route, reply));
            }
            let location = text(reply.headers(), header::LOCATION);
            route.follow(location).map_err(|error| Failure::Fatal(error.into()))?;
        }
    }

    /// Sends one request, when its server may be asked, and heeds what that says about the next ones.
    async fn send(
        &self,
        route: &Route,
        range: Option<ByteRange>,
        known: &Validator,
    ) -> Result<Response<Body>, Failure> {
        let request = self.request(route, range, known).map_err(Failure::Fatal)?;
        let site = self.sites.of(&origin(route.url()));
        let question = site.turn(|wait| (self.tell)(Event::Held { wait })).await;
        self.counters.requests.add(1);
        let clock = Clock::start();
        let mut reply = self.reply(request, &site).await.map_err(no_reply)?;
        let nanos = u64::try_from(clock.now().as_nanos()).unwrap_or(u64::MAX);
        self.quickest.fetch_min(nanos, Ordering::Relaxed);
        site.answered(self.round_trip());
        question.answered(quota(&reply), wanted_pause(&reply));
        read_aside(&mut reply).await;
        Ok(reply)
    }

    /// Waits for the head of a reply. While the first one of a site is on its long way, so are the connections
    /// that will be wanted next: to open one takes as long.
    async fn reply(
        &self,
        request: Request<Full<Bytes>>,
        site: &Site,
    ) -> Result<Response<Body>, pool::http::Error> {
        let origin = Origin::of(request.uri()).ok().filter(|_| site.ask_first());
        let mut sending = pin!(self.client.send(request));
        let Some(origin) = origin else { return sending.await };
        if let Ok(reply) = tokio::time::timeout(FAR, sending.as_mut()).await {
            return reply;
        }
        let (pool, spares) = (self.client.pool(), site.found_far());
        // All at once: one that is given back would be lent again. Those still under way when the reply is there
        // go on without us.
        let opening = join_all((0..spares).map(|_| pool.get(&origin)));
        match select(sending, opening).await {
            Either::Left((reply, _)) => reply,
            Either::Right((opened, sending)) => {
                drop(opened);
                sending.await
            }
        }
    }

    fn request(
        &self,
        route: &Route,
        range: Option<ByteRange>,
        known: &Validator,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::get(route.url().as_str())
            .body(Full::default())
            .map_err(|e| Error::new(ErrorKind::Other, "the address cannot be asked").because(e))?;
        let headers = request.headers_mut();
        if route.keeps_credentials() {
            headers.clone_from(&self.headers);
        }
        introduce(headers);
        // Ranges of an encoded body would be ranges of something else.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(range) = range {
            headers.insert(header::RANGE, value(&range.header())?);
            // Some stores know only the one, some only the other; every 206 is compared anyway.
            if let Some(guard) = known.guard() {
                headers.insert(header::IF_RANGE, value(guard)?);
                headers.insert(header::IF_MATCH, value(guard)?);
            }
        }
        Ok(request)
    }
}

/// Says who asks, unless the user has said so.
pub(crate) fn introduce(headers: &mut HeaderMap) {
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
}

fn value(text: &str) -> Result<HeaderValue, Error> {
    let error = |e| Error::new(ErrorKind::Other, "a header that cannot be sent").because(e);
    HeaderValue::from_str(text).map_err(|e: header::InvalidHeaderValue| error(e))
}

pub(crate) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

pub(crate) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Reads what comes beside a redirect or a refusal: unread it would be in the way of the next answer, and cost
/// the connection. Hubs redirect each question for a file, and say so in a body.
pub(crate) async fn read_aside(reply: &mut Response<Body>) {
    let body = reply.body();
    if reply.status().is_success() || ASIDE_BYTES_MAX < hyper::body::Body::size_hint(body).lower() {
        return;
    }
    let mut left = ASIDE_BYTES_MAX;
    let reading = async {
        while let Some(Ok(frame)) = reply.body_mut().frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            let Some(rest) = left.checked_sub(bytes) else { return };
            left = rest;
        }
    };
    // What has not come by then is dropped with the reply.
    let _ = tokio::time::timeout(ASIDE_TIME_MAX, reading).await;
}

/// What servers answer to a signed address that has ended: 403 mostly, and each of these somewhere.
fn may_have_ended(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 401 | 403 | 404 | 410)
}

/// How long a server wants to be left alone, by whatever header it says so.
pub(crate) fn wanted_pause(reply: &Response<Body>) -> Option<Duration> {
    let is_refusal = matches!(reply.status().as_u16(), 429 | 503);
    let after = text(reply.headers(), header::RETRY_AFTER).filter(|_| is_refusal);
    let after = after.and_then(|after| retry_after(after, seam::date()));
    quota(reply).and_then(Quota::wait).max(after)
}

/// What a server says that it leaves us.
pub(crate) fn quota(reply: &Response<Body>) -> Option<Quota> {
    text(reply.headers(), HeaderName::from_static("ratelimit")).and_then(Quota::parse)
}

pub(crate) fn no_reply(error: pool::http::Error) -> Failure {
    match &error {
        pool::http::Error::InvalidRequest(_) => Failure::Fatal(
            Error::new(ErrorKind::Other, "the address cannot be asked").because(error),
        ),
        pool::http::Error::NoConnection { source, .. } if says_nonsense(source) => Failure::Fatal(
            Error::new(ErrorKind::Untrusted, "the server is not trusted").because(error),
        ),
        _ => Failure::transient(Error::new(ErrorKind::Network, "no answer").because(error)),
    }
}

pub(crate) fn refused(status: StatusCode, headers: &HeaderMap) -> Failure {
    if let Some(refusal) = Refusal::read(status, headers) {
        return Failure::Fatal(refusal.into());
    }
    let error = |kind| Error::new(kind, format!("the server answered {status}"));
    let fatal = |kind, advice| {
        Failure::Fatal(Error::new(kind, format!("the server answered {status}: {advice}")))
    };
    match status.as_u16() {
        404 | 410 => fatal(ErrorKind::NotFound, "check the address"),
        401 | 403 | 407 | 451 => {
            fatal(ErrorKind::NotAllowed, "check the address, and give credentials if it needs some")
        }
        408 | 425 | 429 | 500..=599 => {
            let wish = text(headers, header::RETRY_AFTER);
            let wish = wish.and_then(|wish| retry_after(wish, seam::date()));
            Failure::Transient { wish, error: error(ErrorKind::Network) }
        }
        _ => Failure::Fatal(error(ErrorKind::Network)),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use pool::GetError;
    use pool::http::ClientOptions;

    use super::*;
    use crate::history::History;

    #[tokio::test]
    async fn a_user_may_say_who_asks_but_not_for_what_encoding() {
        let url: Url = "http://localhost/a".parse().unwrap();
        let given = [(header::USER_AGENT, "me"), (header::ACCEPT_ENCODING, "gzip")];
        let given = given.map(|(name, value)| (name, HeaderValue::from_static(value)));
        for (given, expected) in
            [(HeaderMap::from_iter(given), "me"), (HeaderMap::new(), USER_AGENT)]
        {
            let known = (Arc::new(Sites::new(1, &History::default())), Arc::default());
            let client = Client::new(ClientOptions::default());
            let asker = Asker::new(client, (url.clone(), given), known, &|_| {});
            let request = asker.request(&Route::new(url.clone()), None, &Validator::default());
            let headers = request.unwrap().into_parts().0.headers;
            assert_eq!(
                (expected, "identity"),
                (
                    headers[header::USER_AGENT].to_str().unwrap(),
                    headers[header::ACCEPT_ENCODING].to_str().unwrap()
                )
            );
        }
    }

    #[test]
    fn who_cannot_show_who_they_are_are_not_asked_again() {
        for (kind, again) in
            [(io::ErrorKind::InvalidData, false), (io::ErrorKind::ConnectionRefused, true)]
        {
            let origin = Origin::of(&"https://localhost/".parse().unwrap()).unwrap();
            let source = GetError::Connect(io::Error::new(kind, "UnknownIssuer").into());
            let failure = no_reply(pool::http::Error::NoConnection { origin, source });
            assert_eq!(again, matches!(failure, Failure::Transient { .. }), "{kind}");
        }
    }
}
