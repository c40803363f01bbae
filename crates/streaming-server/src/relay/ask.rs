//! From a request to the first bytes of its reply, by one upstream or another.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use memory::{Budget, Reservation};

use super::{Forward, Load, Relay, Upstream, forward};
use crate::wire::ApiError;

/// How many upstreams are asked for one request at most.
const ATTEMPTS_MAX: usize = 3;
/// The largest reply that is not a stream, in bytes: a hundred choices of a hundred thousand tokens.
pub(crate) const REPLY_BYTES_MAX: u64 = 64 << 20;
/// By so much the reservation of a reply grows.
const STEP_BYTES: u64 = 64 << 10;

/// The body of a reply on its way.
pub(crate) type Incoming = pool::http::Body<Full<Bytes>>;

/// A reply that has come as a whole.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Bytes, and what they hold of the budget for as long as anybody has them.
struct Held {
    bytes: Vec<u8>,
    _held: Reservation,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What an upstream answered.
#[derive(Debug)]
pub(crate) enum Begun {
    Whole(Whole),
    /// The head and the first bytes of a stream, and what is to come.
    Stream {
        headers: HeaderMap,
        /// Whether events are lines of JSON.
        lines: bool,
        first: Bytes,
        rest: Incoming,
    },
}

/// Why an upstream has no reply for us.
enum Failed {
    /// It has too much to do: 429 or 503.
    Refused(Whole),
    /// It failed, or what it says makes no sense.
    Broken,
    /// There is no room here for its reply.
    Full,
}

impl Relay {
    /// Asks upstreams until one begins to answer; it has its load until that is dropped. One that refuses has
    /// none.
    ///
    /// # Errors
    ///
    /// What the client is told where none does: 502, or 503 where all are left alone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection to the upstream, which thereby knows.
    pub(crate) async fn ask(
        &self,
        forward: &Forward,
        held: &Budget,
    ) -> Result<(Begun, Option<Load>), ApiError> {
        let mut tried = Vec::with_capacity(ATTEMPTS_MAX);
        let mut refused = None;
        while tried.len() < ATTEMPTS_MAX {
            let Some((at, load)) = self.pick(&tried) else { break };
            if refused.is_some() && tried.contains(&at) {
                break;
            }
            if !tried.is_empty() {
                self.retries.add(1);
            }
            tried.push(at);
            let upstream = load.upstream();
            match self.attempt(upstream, forward, held).await {
                Ok(begun) => {
                    upstream.succeed();
                    return Ok((begun, Some(load)));
                }
                Err(Failed::Refused(whole)) => {
                    upstream.refuse();
                    refused = Some(whole);
                }
                Err(Failed::Broken) => upstream.fail(self.now()),
                Err(Failed::Full) => return Err(ApiError::no_room_for_reply()),
            }
        }
        match refused {
            Some(whole) => Ok((Begun::Whole(whole), None)),
            None if tried.is_empty() => Err(ApiError::no_upstream(Duration::from_secs(1))),
            None => Err(ApiError::bad_gateway()),
        }
    }

    async fn attempt(
        &self,
        upstream: &Upstream,
        forward: &Forward,
        held: &Budget,
    ) -> Result<Begun, Failed> {
        upstream.asked.add(1);
        let uri = upstream.uri(&forward.path);
        let client = if forward.is_whole() { &self.patient } else { &self.client };
        let reply = client.send(forward.request(uri)).await.map_err(|_| Failed::Broken)?;
        let (head, body) = reply.into_parts();
        let status = head.status;
        if forward.streams && status == StatusCode::OK {
            let lines = has_lines(&head.headers).ok_or(Failed::Broken)?;
            let headers = forward::of_reply(head.headers);
            let (first, rest) = first(body).await?;
            return Ok(Begun::Stream { headers, lines, first, rest });
        }
        let headers = forward::of_reply(head.headers);
        let whole = Whole { status, headers, body: read_all(body, held).await? };
        let is_refusal =
            [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
        match status {
            _ if is_refusal => Err(Failed::Refused(whole)),
            // That it cannot do something is its answer, and the others' as well.
            StatusCode::NOT_IMPLEMENTED => Ok(Begun::Whole(whole)),
            _ if status.is_server_error() || status.is_informational() => Err(Failed::Broken),
            _ => Ok(Begun::Whole(whole)),
        }
    }

    /// Whether an upstream answers at all.
    pub(super) async fn greet(&self, request: hyper::Request<Full<Bytes>>) -> bool {
        let reply = self.client.send(request).await;
        reply.is_ok_and(|reply| !reply.status().is_server_error())
    }
}

/// Whether the events of a reply are lines of JSON; none where it has no events.
fn has_lines(headers: &HeaderMap) -> Option<bool> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let known = [("text/event-stream", false), ("application/x-ndjson", true)];
    known.iter().find(|known| known.0.eq_ignore_ascii_case(essence)).map(|known| known.1)
}

/// The first bytes of a body.
async fn first(mut body: Incoming) -> Result<(Bytes, Incoming), Failed> {
    loop {
        let frame = body.frame().await.ok_or(Failed::Broken)?.map_err(|_| Failed::Broken)?;
        match frame.into_data() {
            Ok(data) if !data.is_empty() => return Ok((data, body)),
            _ => {}
        }
    }
}

async fn read_all(mut body: Incoming, held: &Budget) -> Result<Bytes, Failed> {
    let mut held = held.try_reserve(STEP_BYTES).map_err(|_| Failed::Full)?;
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Failed::Broken)?.into_data() else { continue };
        let total = (bytes.len() + data.len()) as u64;
        if REPLY_BYTES_MAX < total {
            return Err(Failed::Broken);
        }
        if held.bytes() < total {
            held.try_grow((total - held.bytes()).max(STEP_BYTES)).map_err(|_| Failed::Full)?;
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Bytes::from_owner(Held { bytes, _held: held }))
}
