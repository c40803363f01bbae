//! Which answer to which path.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};

use super::accept::Local;
use super::generate::{Caller, generate};
use super::relayed::{pass, relay};
use super::turn::InTurn;
use super::{Connection, Core, Source};
use crate::body::Body;
use crate::guard::Fault;
use crate::render::Api;
use crate::tenants::Tenant;
use crate::wire::{ApiError, Models};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The longest id that is taken over from a client, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Answers a request; every reply has the request's id.
pub(super) async fn answer(
    local: Arc<Local>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<InTurn>, Infallible> {
    let turn = Arc::clone(&connection);
    let number = local.core.draw();
    let id = request.headers().get(&REQUEST_ID).filter(|id| id.len() <= REQUEST_ID_BYTES_MAX);
    let id = id.cloned().unwrap_or_else(|| {
        HeaderValue::try_from(local.core.id_of(number)).expect("digits are visible")
    });
    let fault = connection.next_request();
    let entered = fault.map_or_else(|| enter(&local.core, &request), |fault| Err(fault.into()));
    let mut shared = HeaderMap::new();
    local.core.cors.allow(request.headers(), &mut shared);
    let reply = match entered {
        Ok(Entered::Preflight(headers)) => {
            shared = headers;
            Ok(preflight())
        }
        Ok(Entered::Route(Route::Generate(api), tenant)) => {
            let caller = Caller { connection, tenant, number };
            match &local.core.source {
                Source::Runner(engine) => {
                    Box::pin(generate(&local, engine, caller, api, request)).await
                }
                Source::Relay(to) => Box::pin(relay(&local, to, caller, api, request)).await,
            }
        }
        Ok(Entered::Route(Route::Told(told), _)) => match &local.core.source {
            Source::Relay(relay) if told.is_of_models() && local.core.models.is_empty() => {
                Box::pin(pass(&local.core, relay, &request.into_parts().0)).await
            }
            _ => tell(&local.core, told, request.uri().path()),
        },
        Err(error) => Err(error),
    };
    let mut reply = reply.unwrap_or_else(|error| refusal(&error));
    let headers = reply.headers_mut();
    // Beside what an upstream says: its `Vary` is as true as ours.
    for (name, value) in &shared {
        headers.append(name, value.clone());
    }
    headers.insert(REQUEST_ID, id);
    Ok(reply.map(|body| InTurn::new(body, turn)))
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        Self::refused(fault.status(), fault.message())
    }
}

/// What is asked, by whom it may be.
enum Entered {
    Route(Route, Arc<Tenant>),
    /// A browser asks whether it may ask.
    Preflight(HeaderMap),
}

/// Where a request goes, and whose it is; keys are asked for where models are.
fn enter(core: &Core, request: &Request<Incoming>) -> Result<Entered, ApiError> {
    check_host(&core.options.allowed_hosts, request.headers())?;
    let asks = request.method() == Method::OPTIONS;
    if let Some(headers) = asks.then(|| core.cors.preflight(request.headers())).flatten() {
        return Ok(Entered::Preflight(headers));
    }
    let route = route(request)?;
    let tenant = match route {
        Route::Generate(_) => core.tenants.of(request.headers()),
        Route::Told(told) if told.is_of_models() => core.tenants.of(request.headers()),
        Route::Told(_) => core.tenants.all().first(),
    };
    let tenant = tenant.ok_or_else(|| {
        core.metrics.refused_key.add(1);
        ApiError::no_key()
    })?;
    Ok(Entered::Route(route, Arc::clone(tenant)))
}

/// Whether a request is for us. The guard has seen that there is one `Host` at most, and a valid one.
fn check_host(allowed: &[String], headers: &HeaderMap) -> Result<(), ApiError> {
    if allowed.is_empty() {
        return Ok(());
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port = host.rfind(':').filter(|at| !host[*at..].contains(']'));
    let name = &host[..port.unwrap_or(host.len())];
    if allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    Err(ApiError::malformed("this server does not answer for this Host"))
}

fn preflight() -> Response<Body> {
    let mut reply = Response::new(Body::whole(""));
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Health,
    Live,
    Ready,
    Version,
    Metrics,
    Models,
    Model,
    Ping,
}

impl Told {
    fn is_of_models(self) -> bool {
        matches!(self, Self::Models | Self::Model)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Generate(Api),
    Told(Told),
}

fn route(request: &Request<Incoming>) -> Result<Route, ApiError> {
    let route = match request.uri().path() {
        "/v1/completions" => Route::Generate(Api::Completions),
        "/v1/chat/completions" => Route::Generate(Api::Chat),
        "/v1/models" => Route::Told(Told::Models),
        "/health" => Route::Told(Told::Health),
        "/live" => Route::Told(Told::Live),
        "/ready" => Route::Told(Told::Ready),
        "/version" => Route::Told(Told::Version),
        "/metrics" => Route::Told(Told::Metrics),
        "/ping" => Route::Told(Told::Ping),
        path if path.starts_with("/v1/models/") => Route::Told(Told::Model),
        _ => return Err(ApiError::no_route()),
    };
    let (allowed, allow): (&[Method], _) = match route {
        Route::Generate(_) => (&[Method::POST], "POST"),
        Route::Told(Told::Ping) => (&[Method::GET, Method::HEAD, Method::POST], "GET, HEAD, POST"),
        Route::Told(_) => (&[Method::GET, Method::HEAD], "GET, HEAD"),
    };
    if allowed.contains(request.method()) { Ok(route) } else { Err(ApiError::no_method(allow)) }
}

fn tell(core: &Core, told: Told, path: &str) -> Result<Response<Body>, ApiError> {
    let models = Models::named(&core.options.models, core.started_unix_s, core.options.tokens_max);
    let to_json = |value: Result<String, _>| value.expect("strings and numbers are JSON");
    let reply = match told {
        Told::Models => json(StatusCode::OK, to_json(serde_json::to_string(&models))),
        Told::Model => {
            let name = decoded(path.strip_prefix("/v1/models/").unwrap_or_default());
            let model = models.data.iter().find(|model| model.id.as_bytes() == name);
            let no_model = || ApiError::no_model(&String::from_utf8_lossy(&name));
            let model = model.ok_or_else(no_model)?;
            json(StatusCode::OK, to_json(serde_json::to_string(model)))
        }
        Told::Live | Told::Ping => json(StatusCode::OK, "{\"status\":\"alive\"}".to_owned()),
        Told::Health | Told::Ready => health(core),
        Told::Version => {
            let version = env!("CARGO_PKG_VERSION");
            json(StatusCode::OK, format!("{{\"version\":\"{version}\"}}"))
        }
        Told::Metrics => {
            let mut reply = Response::new(Body::whole(core.metrics_text()));
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            reply.headers_mut().insert(CONTENT_TYPE, kind);
            reply
        }
    };
    Ok(reply)
}

/// A part of a path without its percent encoding (RFC 3986, 2.1): clients write `/` in a name as `%2F`.
fn decoded(path: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let digit = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let (byte, left) = match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => ((high * 16 + low) as u8, &after[2..]),
            _ => (*first, after),
        };
        bytes.push(byte);
        rest = left;
    }
    bytes
}

/// Whether it makes sense to send requests here.
fn health(core: &Core) -> Response<Body> {
    let (status, word) = if core.admission.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if core.source.is_ready() {
        (StatusCode::OK, "healthy")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no_runner")
    };
    let (running, waiting) = core.admission.counts();
    let mut text = String::new();
    let model = core.models.first().map(|model| serde_json::Value::from(&**model));
    let model = model.unwrap_or_default();
    let _ = write!(
        text,
        "{{\"status\":\"{word}\",\"model\":{model},\"running\":{running},\"waiting\":{waiting}}}"
    );
    json(status, text)
}

fn json(status: StatusCode, text: String) -> Response<Body> {
    let mut reply = Response::new(Body::whole(text));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply
}

/// An error as a reply.
fn refusal(error: &ApiError) -> Response<Body> {
    let mut reply = json(error.status, error.to_json());
    let headers = reply.headers_mut();
    if let Some(allow) = error.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(retry_after) = error.retry_after {
        let millis = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        headers.insert(RETRY_AFTER_MS, millis.into());
        // Whole seconds, rounded up: whoever reads those alone shall not come early.
        headers.insert(RETRY_AFTER, millis.div_ceil(1000).into());
    }
    if error.status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if error.status == StatusCode::REQUEST_TIMEOUT || error.kind == "draining" {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}
