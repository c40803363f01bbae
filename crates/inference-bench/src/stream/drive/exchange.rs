//! One request and its stream.

use std::error::Error as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, Response};
use pool::http::{Body, Error};
use tokio::time::timeout;

use super::{HttpClient, Shared};
use crate::stream::record::{Failure, Outcome, RequestRecord};
use crate::stream::seam::Stamps;
use crate::stream::trace::Traced;
use crate::stream::transcript::{Broken, Stamp, Transcript};

/// How much of a refusal is read for its words.
const REFUSAL_BYTES_MAX: usize = 4 << 10;
/// Characters of a failure's words that are kept.
const DETAIL_CHARS_MAX: usize = 300;
/// How long the end of a body may take after `[DONE]`; later, the connection is closed.
const TAIL_TIMEOUT: Duration = Duration::from_secs(1);

/// What one request asks for.
#[derive(Clone, Debug)]
pub(super) struct Order {
    body: Bytes,
    pub(super) tokens: u32,
}

impl Order {
    /// What every request asks for.
    pub(super) fn of(shared: &Shared) -> Self {
        Self { body: shared.body.clone(), tokens: shared.target.tokens }
    }

    /// What a request of a trace asks for.
    pub(super) fn traced(shared: &Shared, traced: &Traced) -> Self {
        Self { body: shared.target.traced_body(traced).into(), tokens: traced.tokens }
    }
}

/// Sends requests and reads their streams.
#[derive(Debug)]
pub(super) struct Exchange {
    shared: Arc<Shared>,
    client: HttpClient,
}

impl Exchange {
    pub(super) fn new(shared: Arc<Shared>, client: HttpClient) -> Self {
        Self { shared, client }
    }

    /// Sends a request that was due at this instant and reads its stream to the end.
    pub(super) async fn run(&self, number: u64, intended_ns: u64, order: Order) -> RequestRecord {
        let shared = &*self.shared;
        let counters = &shared.counters;
        counters.in_flight.fetch_add(1, Ordering::Relaxed);
        let mut record = RequestRecord {
            number,
            intended_ns,
            issued_ns: shared.clock.now_ns(),
            warmup: shared.is_warmup(intended_ns),
            tokens_asked: order.tokens,
            ..RequestRecord::default()
        };
        let mut transcript = Transcript::new(order.tokens);
        record.outcome = self.within_limits(order.body, &mut record, &mut transcript).await;
        if record.ended_ns == 0 {
            record.ended_ns = shared.clock.now_ns();
        }
        (record.events, record.sequence, record.usage_tokens) = transcript.into_parts();
        counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        match record.outcome {
            Outcome::Ok => counters.ok.fetch_add(1, Ordering::Relaxed),
            Outcome::Failed { .. } => counters.failed.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        record
    }

    async fn within_limits(
        &self,
        body: Bytes,
        record: &mut RequestRecord,
        transcript: &mut Transcript,
    ) -> Outcome {
        let shared = &*self.shared;
        let mut stopped = pin!(shared.stop.notified());
        stopped.as_mut().enable();
        if shared.is_stopped() {
            return Outcome::Abandoned;
        }
        let talk = timeout(shared.timeout, self.talk(body, record, transcript));
        let talked = tokio::select! {
            biased;
            talked = talk => talked,
            () = stopped => return Outcome::Abandoned,
        };
        match talked {
            Ok(Ok(())) => Outcome::Ok,
            Ok(Err(Broken { failure, detail })) => failed(failure, &shared.without_key(&detail)),
            // The end of a body that was told to be over is not worth a failure.
            Err(_) if transcript.is_done() => Outcome::Ok,
            Err(_) => {
                let limit_ms = shared.timeout.as_millis();
                failed(Failure::TimedOut, &format!("it was not over after {limit_ms} ms"))
            }
        }
    }

    async fn talk(
        &self,
        body: Bytes,
        record: &mut RequestRecord,
        transcript: &mut Transcript,
    ) -> Result<(), Broken> {
        // In a box of its own, which is gone when the head is there: it is larger than what reads the
        // stream, and thousands of streams would keep the room for it.
        let sending = Box::pin(self.client.send(self.request(body)));
        let reply = sending.await.map_err(|error| no_reply(&error))?;
        let stamps = reply.extensions().get::<Stamps>().cloned();
        let stamps = stamps.expect("our connector gives them to each connection");
        record.status = Some(reply.status().as_u16());
        record.sent_ns = Some(stamps.sent_ns());
        record.reused = reply.body().reused();
        if reply.status() != 200 {
            return Err(refusal(reply).await);
        }
        check_type(&reply)?;
        let mut body = reply.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Broken {
                failure: Failure::CutOff,
                detail: words(&error, error.source()),
            })?;
            // The task that drives the connection has not run since: the stamp is that of this frame.
            let stamp = stamps.last();
            if let Some(bytes) = frame.data_ref() {
                self.take(bytes, stamp, transcript)?;
            }
            if transcript.is_done() {
                record.ended_ns = stamp.recv_ns;
                drop(timeout(TAIL_TIMEOUT, tail(&mut body)).await);
                return Ok(());
            }
        }
        transcript.end().map_or(Ok(()), Err)
    }

    fn take(&self, bytes: &Bytes, stamp: Stamp, transcript: &mut Transcript) -> Result<(), Broken> {
        let tokens = transcript.take(bytes, stamp)?;
        if 0 < tokens {
            self.shared.counters.tokens.fetch_add(tokens, Ordering::Relaxed);
        }
        Ok(())
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let shared = &*self.shared;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = shared.uri.clone();
        let headers = request.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            const { hyper::header::HeaderValue::from_static("application/json") },
        );
        headers
            .insert(ACCEPT, const { hyper::header::HeaderValue::from_static("text/event-stream") });
        if let Some(authorization) = &shared.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        request
    }
}

/// Reads the rest of a body, so that its connection can be used again.
async fn tail(body: &mut Body) {
    while let Some(Ok(_)) = body.frame().await {}
}

fn check_type(reply: &Response<Body>) -> Result<(), Broken> {
    let kind = reply.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default();
    if kind.starts_with("text/event-stream") {
        return Ok(());
    }
    let detail = format!("the reply is `{kind}`, not `text/event-stream`");
    Err(Broken { failure: Failure::NotAStream, detail })
}

/// Reads the words of a refusal.
async fn refusal(reply: Response<Body>) -> Broken {
    let status = reply.status();
    let mut body = reply.into_body();
    let mut text = Vec::new();
    while let Some(Ok(frame)) = body.frame().await
        && text.len() < REFUSAL_BYTES_MAX
    {
        text.extend_from_slice(frame.data_ref().map_or(&[][..], |bytes| bytes));
    }
    let text = String::from_utf8_lossy(&text);
    Broken { failure: Failure::Status, detail: format!("{status}: {}", text.trim()) }
}

fn no_reply(error: &Error) -> Broken {
    let failure = match error {
        Error::NoConnection { .. } => Failure::Connect,
        Error::HeadTimedOut { .. } => Failure::TimedOut,
        _ => Failure::Connection,
    };
    Broken { failure, detail: words(error, error.source()) }
}

/// An error and all that is behind it.
fn words(error: &dyn std::fmt::Display, mut source: Option<&dyn std::error::Error>) -> String {
    let mut text = error.to_string();
    // Chains of errors are short; one that is not is cut below.
    while let Some(error) = source.filter(|_| text.len() < 4 * DETAIL_CHARS_MAX) {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn failed(failure: Failure, detail: &str) -> Outcome {
    Outcome::Failed { failure, detail: detail.chars().take(DETAIL_CHARS_MAX).collect() }
}
