//! One request that an upstream serves.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Request, Response};
use memory::Reservation;
use serde::Deserialize;

use super::accept::Local;
use super::admit::{Cost, admit, note_refused, take_request};
use super::generate::{Caller, check_media_type, parse};
use super::generation::Visit;
use super::{Core, upload};
use crate::admission::Permit;
use crate::arena::Id;
use crate::body::{Body, RelayBody, ReplyBody, Running};
use crate::handover::{Failure, Outlet, Stream};
use crate::metrics::Phase;
use crate::relay::{Begun, Forward, Load, REPLY_BYTES_MAX, Relay, Whole};
use crate::render::{Api, error_of};
use crate::wire::{ApiError, Glance};

/// A reply that says it took more is believed so much: the largest has no more bytes. A sum that wraps
/// would turn counters back.
const REPLY_TOKENS_MAX: u64 = REPLY_BYTES_MAX;
/// No runner has this number: nobody takes a relayed stream for one of a runner that hangs.
const EPOCH: u64 = u64::MAX;

/// A running request of an upstream's. Dropping it before its end is what happens when its client goes.
pub(crate) struct Relayed {
    core: Arc<Core>,
    outlet: Arc<Outlet>,
    /// Nothing comes by it but the news that the server stops.
    stream: Arc<Stream>,
    address: Id,
    permit: Permit,
    visit: Visit,
    load: Option<Load>,
    tokens: u64,
    started_ns: u64,
    /// When the first and the last events came; 0 for not yet.
    first_ns: u64,
    last_ns: u64,
    _held: Reservation,
}

impl fmt::Debug for Relayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relayed").field("load", &self.load).finish_non_exhaustive()
    }
}

/// Passes a request on, and its reply back.
pub(super) async fn relay(
    local: &Arc<Local>,
    relay: &Relay,
    Caller { connection, tenant, .. }: Caller,
    api: Api,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let core = &local.core;
    let mut visit = Visit::begin(core);
    take_request(core, &tenant).inspect_err(|_| visit.end())?;
    let (parts, body) = request.into_parts();
    let prepared = prepare(core, api, &parts, body).await;
    let (forward, cost, held) = prepared.inspect_err(|error| {
        visit.end();
        note_refused(core, error);
    })?;
    let permit = admit(core, &tenant, cost).await.inspect_err(|_| visit.end())?;
    core.metrics.prompt_tokens.add(cost.prompt_tokens);
    core.metrics.request_prompt_tokens.observe(cost.prompt_tokens);
    core.metrics.request_tokens_max.observe(cost.tokens_max);
    let mut relayed = Relayed::start(local, held, permit, visit);
    let begun = tokio::select! {
        begun = relay.ask(&forward, &core.held) => begun,
        failure = relayed.failure() => Err(error_of(failure)),
    };
    let (begun, load) = begun.inspect_err(|_| relayed.note_failure())?;
    relayed.load = load;
    match begun {
        Begun::Whole(whole) => {
            relayed.end_whole(&whole, cost.tokens_max);
            Ok(reply_of(whole, |bytes| {
                let parts = [bytes].into_iter().filter(|bytes| !bytes.is_empty()).collect();
                Body::Reply(Box::new(ReplyBody::new(parts, Running::Relayed(relayed))))
            }))
        }
        Begun::Stream { headers, lines, first, rest } => {
            let body = RelayBody::new(relayed, first, rest, lines, connection);
            let mut reply = Response::new(Body::Relay(Box::new(body)));
            *reply.headers_mut() = headers;
            Ok(reply)
        }
    }
}

/// Passes a question on that nobody has to wait for, such as which models there are.
pub(super) async fn pass(
    core: &Core,
    relay: &Relay,
    parts: &Parts,
) -> Result<Response<Body>, ApiError> {
    let forward = Forward::new(parts, Bytes::new(), false, core.tenants.have_keys());
    match relay.ask(&forward, &core.held).await?.0 {
        Begun::Whole(whole) => Ok(reply_of(whole, Body::Whole)),
        Begun::Stream { .. } => Err(ApiError::bad_gateway()),
    }
}

/// A reply that is passed on, whatever holds its bytes.
fn reply_of(whole: Whole, body: impl FnOnce(Bytes) -> Body) -> Response<Body> {
    let mut reply = Response::new(body(whole.body));
    (*reply.status_mut(), *reply.headers_mut()) = (whole.status, whole.headers);
    reply
}

/// Everything that can be wrong with a request before it is let in.
async fn prepare(
    core: &Core,
    api: Api,
    parts: &Parts,
    body: Incoming,
) -> Result<(Forward, Cost, Reservation), ApiError> {
    check_media_type(&parts.headers)?;
    let (bytes, held) = upload::read(core, body).await?;
    let (bytes, tokens_max) = (Bytes::from(bytes), core.options.tokens_max);
    let body = bytes.clone();
    let glance = parse(core, bytes.len(), move || match api {
        Api::Completions => Glance::completion(&body, tokens_max),
        Api::Chat => Glance::chat(&body, tokens_max),
    });
    let glance = glance.await?;
    let models = &core.options.models;
    if let Some(model) = glance.model.as_ref().filter(|_| !models.is_empty())
        && !models.contains(model)
    {
        return Err(ApiError::no_model(model));
    }
    let cost = Cost {
        prompt_tokens: glance.prompt_tokens,
        tokens_max: glance.tokens_max,
        priority: glance.priority,
    };
    let has_our_key = core.tenants.have_keys();
    let forward = Forward::new(parts, bytes, glance.stream, has_our_key);
    Ok((forward, cost, held))
}

/// What a reply says that it took.
fn used_tokens(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Told {
        usage: Usage,
    }
    #[derive(Deserialize)]
    struct Usage {
        completion_tokens: u64,
    }
    serde_json::from_slice(body).ok().map(|told: Told| told.usage.completion_tokens)
}

impl Relayed {
    fn start(local: &Local, held: Reservation, permit: Permit, mut visit: Visit) -> Self {
        let core = &local.core;
        let started_ns = core.clock.now_ns();
        core.metrics.queued.observe(visit.since_arrival_ns(started_ns));
        visit.set_phase(Phase::Prefill);
        let stream = Arc::new(Stream::new(0, EPOCH, started_ns));
        let address = local.outlet.add(Arc::clone(&stream));
        Self {
            core: Arc::clone(core),
            outlet: Arc::clone(&local.outlet),
            stream,
            address,
            permit,
            visit,
            load: None,
            tokens: 0,
            started_ns,
            first_ns: 0,
            last_ns: 0,
            _held: held,
        }
    }

    /// Waits until it is ended from outside.
    async fn failure(&self) -> Failure {
        poll_fn(|cx| self.poll_failure(cx)).await
    }

    /// Ready when it is ended from outside.
    pub(crate) fn poll_failure(&self, cx: &mut Context<'_>) -> Poll<Failure> {
        loop {
            let mut pending = ready!(self.stream.poll(cx));
            if let Some(failure) = pending.failure {
                return Poll::Ready(failure);
            }
            // Silence is the upstream's to break: what it sends is passed on, and no more.
            pending.comment_due = false;
        }
    }

    /// So many events came; returns when.
    pub(crate) fn note(&mut self, events: u64) -> u64 {
        let now_ns = self.core.clock.now_ns();
        if events == 0 {
            return now_ns;
        }
        let metrics = &self.core.metrics;
        self.tokens = self.tokens.saturating_add(events);
        metrics.generation_tokens.add(events);
        metrics.tokens_per_write.observe(events);
        self.permit.use_tokens(events);
        if self.first_ns == 0 {
            self.first_ns = now_ns;
            self.visit.set_phase(Phase::Decode);
            metrics.first_token.observe(self.visit.since_arrival_ns(now_ns));
            metrics.prefill.observe(now_ns.saturating_sub(self.started_ns));
        } else {
            let gap_ns = now_ns.saturating_sub(self.last_ns) / events;
            metrics.inter_token.observe_times(gap_ns, events);
        }
        self.last_ns = now_ns;
        now_ns
    }

    /// Its reply came as a whole. One that is no success took none of the tokens that were set aside.
    fn end_whole(&mut self, whole: &Whole, tokens_max: u64) {
        if !whole.status.is_success() {
            return self.note_failure();
        }
        let tokens = used_tokens(&whole.body).unwrap_or(tokens_max);
        self.note(tokens.min(REPLY_TOKENS_MAX));
        self.end();
    }

    /// It came to its end.
    pub(crate) fn end(&mut self) {
        let now_ns = self.core.clock.now_ns();
        let metrics = &self.core.metrics;
        // Why it ended stands in its last event, which is not read.
        metrics.finished_stop.add(1);
        metrics.end_to_end.observe(self.visit.since_arrival_ns(now_ns));
        metrics.inference.observe(now_ns.saturating_sub(self.started_ns));
        metrics.request_generation_tokens.observe(self.tokens);
        let decode_ns = self.last_ns.saturating_sub(self.first_ns);
        metrics.decode.observe(decode_ns);
        // The tokens of a reply that came as a whole came at once.
        if 0 < decode_ns && 1 < self.tokens {
            metrics.per_token.observe(decode_ns / (self.tokens - 1));
        }
        self.visit.end();
        self.load = None;
    }

    /// Its upstream failed in the middle.
    pub(crate) fn break_off(&mut self) {
        if let Some(load) = self.load.take() {
            load.upstream().fail(std::time::Duration::from_nanos(self.core.clock.now_ns()));
        }
    }

    /// It was refused, or ended before its end, and its client is told.
    pub(crate) fn note_failure(&mut self) {
        self.core.metrics.finished_error.add(1);
        self.visit.end();
        self.load = None;
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        self.outlet.remove(self.address);
    }
}
