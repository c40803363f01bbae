//! The routes that generate.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use memory::Reservation;

use super::accept::Local;
use super::admit::{Cost, admit, note_refused, take_request};
use super::generation::{Generation, Order, Visit};
use super::{Connection, Core, collect, upload};
use crate::body::{Body, FaultyBody, StreamBody};
use crate::engine::Engine;
use crate::fault::Fault;
use crate::render::{Api, Format, Renderer, Shape, Template, Whole, error_of};
use crate::runner::Sequence;
use crate::seam::unix_seconds;
use crate::tenants::Tenant;
use crate::wire::{ApiError, Ask, Prompt, Usage};

/// When a refused request may be worth another attempt.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);
/// So many large bodies are read into fields at once: fields take several times their text.
pub(super) const PARSES_MAX: usize = 2;
/// Larger bodies are read into fields on another thread: tokens must not wait for them.
const PARSE_INLINE_BYTES: usize = 64 << 10;

const FAULT: HeaderName = HeaderName::from_static("x-fault");
const TIMESTAMPS: HeaderName = HeaderName::from_static("x-stream-timestamps");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Whose request it is, and where the reply goes.
pub(super) struct Caller {
    pub(super) connection: Arc<Connection>,
    pub(super) tenant: Arc<Tenant>,
    /// The request's number.
    pub(super) number: u64,
}

/// Serves a request for tokens.
///
/// The head of a stream is sent with its first token, so that whatever goes wrong before has a status.
pub(super) async fn generate(
    local: &Arc<Local>,
    engine: &Engine,
    Caller { connection, tenant, number }: Caller,
    api: Api,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let core = &local.core;
    let mut visit = Visit::begin(core);
    take_request(core, &tenant).inspect_err(|_| visit.end())?;
    let (parts, body) = request.into_parts();
    let prepared = prepare(core, api, &parts, body).await;
    let (ask, model, held, fault) = prepared.inspect_err(|error| {
        visit.end();
        note_refused(core, error);
    })?;
    let prompt_tokens = ask.prompts.iter().map(Prompt::tokens).sum();
    let tokens_max = ask.tokens_max.saturating_mul(ask.choices() as u64);
    let cost = Cost { prompt_tokens, tokens_max, priority: ask.priority };
    let permit = admit(core, &tenant, cost).await.inspect_err(|_| visit.end())?;
    let usage = Usage { prompt_tokens, completion_tokens: 0 };
    core.metrics.prompt_tokens.add(usage.prompt_tokens);
    core.metrics.request_prompt_tokens.observe(usage.prompt_tokens);
    core.metrics.request_tokens_max.observe(ask.tokens_max);
    let prefix = if api == Api::Chat { "chatcmpl-" } else { "cmpl-" };
    let id = format!("{prefix}{}", core.id_of(number));
    let shape = shape_of(api, &ask, &parts.headers);
    let echo = echo_of(&ask);
    let (choices, streams, repeats) = (ask.choices(), ask.stream, ask.echo);
    let order = Order {
        stops: Arc::clone(&ask.stops),
        sequences: sequences_of(ask, &model),
        held,
        permit,
        visit,
    };
    let mut generation = Generation::start(local, engine, number, order);
    if !streams {
        let whole = Whole::new(api, shape.logprobs, choices, &echo);
        let told = collect::Told { id, model: &model, usage };
        return collect::collect(core, generation, told, whole).await;
    }
    if let Some(failure) = generation.first().await {
        generation.note_failure();
        return Err(error_of(failure));
    }
    let template = Template::new(shape, &id, unix_seconds(), &model, choices);
    let renderer = Renderer::new(template, core.clock, usage, choices).with_echo(echo);
    let stream = StreamBody::new(generation, renderer, Arc::clone(&local.frames), connection);
    let body = match fault {
        Some(fault) => {
            Body::Faulty(Box::new(FaultyBody::new(stream, fault, vec![repeats; choices])))
        }
        None => Body::Stream(Box::new(stream)),
    };
    Ok(head(shape, body))
}

/// Everything that can be wrong with a request before it is let in.
async fn prepare(
    core: &Core,
    api: Api,
    parts: &Parts,
    body: Incoming,
) -> Result<(Ask, Arc<str>, Reservation, Option<Fault>), ApiError> {
    check_media_type(&parts.headers)?;
    let fault = fault_of(core, &parts.headers)?;
    let (bytes, held) = upload::read(core, body).await?;
    let tokens_max = core.options.tokens_max;
    let ask = parse(core, bytes.len(), move || match api {
        Api::Completions => Ask::completion(&bytes, tokens_max),
        Api::Chat => Ask::chat(&bytes, tokens_max),
    });
    let ask = ask.await?;
    if fault.is_some_and(Fault::is_of_streams) && !ask.stream {
        let message = "this fault is for streams: set `stream`";
        return Err(ApiError::invalid(FAULT.as_str(), message));
    }
    let model = model_of(core, ask.model.as_deref())?;
    if let Some(Fault::SlowHead { time }) = fault {
        tokio::time::sleep(time).await;
    }
    if let Some(Fault::Status { status }) = fault {
        let status = StatusCode::from_u16(status).expect("429 and 503 are statuses");
        return Err(ApiError::injected(status, RETRY_AFTER));
    }
    Ok((ask, model, held, fault))
}

/// JSON, or nothing said.
pub(super) fn check_media_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    if essence.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let message = "the body must be JSON: send `Content-Type: application/json`";
    Err(ApiError::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
}

fn fault_of(core: &Core, headers: &HeaderMap) -> Result<Option<Fault>, ApiError> {
    let Some(value) = headers.get(FAULT).filter(|_| core.options.faults) else { return Ok(None) };
    let fault = Fault::from_str(value.to_str().unwrap_or_default());
    fault.map(Some).map_err(|error| ApiError::invalid(FAULT.as_str(), error.to_string()))
}

/// Reads a body of so many bytes into fields.
pub(super) async fn parse<T: Send + 'static>(
    core: &Core,
    bytes: usize,
    read: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    if bytes <= PARSE_INLINE_BYTES {
        return read();
    }
    let turn = Arc::clone(&core.parses).acquire_owned().await.expect("it is never closed");
    // Whoever goes meanwhile leaves the thread at work: it keeps the turn to its end.
    let task = tokio::task::spawn_blocking(move || (read(), turn).0);
    task.await.unwrap_or_else(|_| Err(ApiError::server("the request could not be read")))
}

fn model_of(core: &Core, asked: Option<&str>) -> Result<Arc<str>, ApiError> {
    let Some(asked) = asked else { return Ok(Arc::clone(&core.models[0])) };
    let model = core.models.iter().find(|model| &***model == asked);
    model.cloned().ok_or_else(|| ApiError::no_model(asked))
}

fn shape_of(api: Api, ask: &Ask, headers: &HeaderMap) -> Shape {
    let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let mut kinds = accepts.split(',').map(|kind| kind.split(';').next().unwrap_or_default());
    let lines = kinds.any(|kind| kind.trim().eq_ignore_ascii_case("application/x-ndjson"));
    Shape {
        api,
        format: if lines { Format::Ndjson } else { Format::Sse },
        usage: ask.usage,
        continuous_usage: ask.continuous_usage,
        logprobs: ask.logprobs,
        timestamps: headers.get(TIMESTAMPS).is_some_and(|value| value == "1"),
    }
}

/// The texts of the prompts that are to be repeated.
fn echo_of(ask: &Ask) -> Box<[Box<str>]> {
    let text = |prompt: &Prompt| match prompt {
        Prompt::Text(text) => Box::from(text.as_str()),
        // Numbers of tokens have no text without a tokenizer.
        Prompt::Tokens(_) | Prompt::Chat(_) => Box::from(""),
    };
    if ask.echo { ask.prompts.iter().map(text).collect() } else { Box::default() }
}

/// One for each choice; those of one prompt are one.
fn sequences_of(ask: Ask, model: &Arc<str>) -> Vec<Arc<Sequence>> {
    let mut sequences = Vec::with_capacity(ask.choices());
    for prompt in ask.prompts {
        let sequence = Arc::new(Sequence {
            model: Arc::clone(model),
            prompt_tokens: prompt.tokens(),
            prompt,
            tokens_max: ask.tokens_max,
            temperature: ask.temperature,
            top_p: ask.top_p,
            seed: ask.seed,
        });
        sequences.extend(std::iter::repeat_n(sequence, ask.n));
    }
    sequences
}

fn head(shape: Shape, body: Body) -> Response<Body> {
    let mut reply = Response::new(body);
    let kind = match shape.format {
        Format::Sse => "text/event-stream",
        Format::Ndjson => "application/x-ndjson",
    };
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx would hold events back until it has a page of them.
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    reply
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Waker};

    use super::*;
    use crate::serve::Server;
    use crate::sync::Mutex;
    use crate::{Options, TestOptions, TestRunner};

    #[tokio::test]
    async fn large_bodies_are_read_two_at_a_time_and_small_ones_at_once() {
        let runner = || TestRunner::new(TestOptions::default());
        let server = Server::start(Options::default(), runner).unwrap();
        let gate = Arc::new(Mutex::new(()));
        let shut = gate.lock();
        let (begin, begun) = std::sync::mpsc::channel();
        let large = || {
            let (gate, begin) = (Arc::clone(&gate), begin.clone());
            Box::pin(parse(&server.core, PARSE_INLINE_BYTES + 1, move || {
                begin.send(()).unwrap();
                drop(gate.lock());
                Ok(())
            }))
        };
        let mut polled = Context::from_waker(Waker::noop());
        let mut large: Vec<_> = (0..=PARSES_MAX).map(|_| large()).collect();
        for reading in &mut large {
            assert!(reading.as_mut().poll(&mut polled).is_pending());
        }
        (0..PARSES_MAX).for_each(|_| begun.recv().unwrap());
        let last = large.pop().unwrap();
        // Whoever goes leaves a thread at work, and its turn with it.
        drop(large);
        assert_eq!(0, server.core.parses.available_permits());
        let mut small = Box::pin(parse(&server.core, PARSE_INLINE_BYTES, || Ok(())));
        assert!(small.as_mut().poll(&mut polled).is_ready());
        drop(shut);
        last.await.unwrap();
    }
}
