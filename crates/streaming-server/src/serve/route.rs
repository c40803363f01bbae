//! Which answer to which path.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};

use super::accept::Local;
use super::generate::generate;
use super::{Connection, Core};
use crate::body::Body;
use crate::render::Api;
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
) -> Result<Response<Body>, Infallible> {
    let number = local.core.draw();
    let id = request.headers().get(&REQUEST_ID).filter(|id| id.len() <= REQUEST_ID_BYTES_MAX);
    let id = id.cloned().unwrap_or_else(|| {
        HeaderValue::try_from(local.core.id_of(number)).expect("digits are visible")
    });
    let reply = match route(&request) {
        Ok(Route::Generate(api)) => {
            Box::pin(generate(&local, connection, api, number, request)).await
        }
        Ok(Route::Told(told)) => tell(&local.core, told, request.uri().path()),
        Err(error) => Err(error),
    };
    let mut reply = reply.unwrap_or_else(|error| refusal(&error));
    reply.headers_mut().insert(REQUEST_ID, id);
    Ok(reply)
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
            let name = path.strip_prefix("/v1/models/").unwrap_or_default();
            let model = models.data.iter().find(|model| model.id == name);
            let model = model.ok_or_else(|| ApiError::no_model(name))?;
            json(StatusCode::OK, to_json(serde_json::to_string(model)))
        }
        Told::Live | Told::Ping => json(StatusCode::OK, "{\"status\":\"alive\"}".to_owned()),
        Told::Health | Told::Ready => health(core),
        Told::Version => {
            let version = env!("CARGO_PKG_VERSION");
            json(StatusCode::OK, format!("{{\"version\":\"{version}\"}}"))
        }
        Told::Metrics => {
            let (running, waiting) = core.admission.counts();
            let text = core.metrics.to_text(&core.options.models[0], running, waiting);
            let mut reply = Response::new(Body::whole(text));
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            reply.headers_mut().insert(CONTENT_TYPE, kind);
            reply
        }
    };
    Ok(reply)
}

/// Whether it makes sense to send requests here.
fn health(core: &Core) -> Response<Body> {
    let (status, word) = if core.admission.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if core.engine.is_ready() {
        (StatusCode::OK, "healthy")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no_runner")
    };
    let (running, waiting) = core.admission.counts();
    let mut text = String::new();
    let model = serde_json::Value::from(&*core.models[0]);
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
    if error.status == StatusCode::REQUEST_TIMEOUT || error.kind == "draining" {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}
