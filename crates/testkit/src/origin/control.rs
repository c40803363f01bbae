//! The control routes. They are neither counted nor slowed down nor broken.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::reply::Reply;
use super::request::Request;
use super::shared::Shared;
use crate::Blob;

/// Every control route with its methods.
const ROUTES: [(&str, &str); 4] =
    [("/_stats", "GET"), ("/_reset", "POST"), ("/_config", "GET, PUT"), ("/_blobs", "GET")];

/// Whether the path is a control route.
pub(crate) fn is_control(path: &str) -> bool {
    ROUTES.iter().any(|(route, _)| *route == path)
}

/// Answers a request for a control route.
///
/// # Cancel safety
///
/// A change of the settings has been made or not; digests are computed to their end.
pub(crate) async fn answer(shared: &Arc<Shared>, request: &Request) -> Reply {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/_stats") => Reply::json(200, &stats(shared)),
        ("POST", "/_reset") => {
            shared.reset();
            Reply::json(200, &json!({}))
        }
        ("GET", "/_config") => Reply::json(200, &shared.live().settings.to_json()),
        ("PUT", "/_config") => configure(shared, &request.body),
        ("GET", "/_blobs") => blobs(Arc::clone(shared)).await,
        (_, path) => {
            let allowed = ROUTES.iter().find(|(route, _)| *route == path).map_or("", |r| r.1);
            Reply::text(405, format!("{path} takes {allowed}")).with("Allow", allowed)
        }
    }
}

fn stats(shared: &Shared) -> Value {
    let mut stats = shared.counters.snapshot().to_json();
    if let (Some(emitter), Some(members)) = (&shared.emitter, stats.as_object_mut()) {
        members.insert("tokens".to_owned(), emitter.stats().to_json());
    }
    if let (Some((_, carrier)), Some(members)) = (&shared.link, stats.as_object_mut()) {
        let link = carrier.stats().to_json();
        members.insert("faults".to_owned(), link["faults"].clone());
        members.insert("link".to_owned(), link);
    }
    stats
}

fn configure(shared: &Shared, body: &[u8]) -> Reply {
    let json: Value = match serde_json::from_slice(body) {
        Ok(json) => json,
        Err(error) => return refuse(&format!("the body is no JSON: {error}")),
    };
    let applied = shared.update(|settings| {
        let before = settings.clone();
        let checked = settings.apply(&json).and_then(|()| shared.check(settings));
        if checked.is_err() {
            *settings = before;
        }
        checked
    });
    match applied {
        Ok(()) => Reply::json(200, &shared.live().settings.to_json()),
        Err(what) => refuse(&what),
    }
}

fn refuse(what: &str) -> Reply {
    Reply::json(400, &json!({"error": what}))
}

async fn blobs(shared: Arc<Shared>) -> Reply {
    let computed = tokio::task::spawn_blocking(move || {
        let blob = |(name, blob): (&String, &Blob)| (name.clone(), describe(blob));
        Value::Object(shared.shelf.blobs.iter().map(blob).collect::<Map<_, _>>())
    });
    match computed.await {
        Ok(json) => Reply::json(200, &json),
        Err(error) => Reply::text(500, format!("the digests were not computed: {error}")),
    }
}

fn describe(blob: &Blob) -> Value {
    let digests = blob.digests();
    let etag = super::object::Object::from(blob).etag;
    json!({
        "size": blob.size(), "seed": blob.seed(), "etag": etag,
        "sha256": digests.sha256, "git_sha1": digests.git_sha1,
    })
}
