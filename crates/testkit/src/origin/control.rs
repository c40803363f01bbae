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

/// Bytes by which every request can be told: the longest method, a space, the longest route and what ends it.
pub(super) const START_BYTES_MAX: usize = "OPTIONS /_config ".len();

/// Whether the path is a control route.
pub(crate) fn is_control(path: &str) -> bool {
    ROUTES.iter().any(|(route, _)| *route == path)
}

/// Whether a request that begins like this is for a control route; `None`: more has to be seen.
pub(super) fn wants(start: &[u8]) -> Option<bool> {
    let undecided = (START_BYTES_MAX <= start.len()).then_some(false);
    let space = start.iter().position(|&byte| byte == b' ');
    let (method, target) = start.split_at(space.unwrap_or(start.len()));
    if !method.iter().all(u8::is_ascii_uppercase) {
        return Some(false);
    }
    let Some(target) = target.get(1..) else { return undecided };
    match target.iter().position(|byte| b" ?".contains(byte)) {
        Some(end) => Some(ROUTES.iter().any(|(route, _)| route.as_bytes() == &target[..end])),
        None if ROUTES.iter().any(|(route, _)| route.as_bytes().starts_with(target)) => undecided,
        None => Some(false),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_route_is_told_by_its_whole_name() {
        for (start, expected) in [
            ("GET /_stats HTTP/1.1\r\n", Some(true)),
            ("GET /_stats?a=b HTTP/1.1\r\n", Some(true)),
            ("DELETE /_config ", Some(true)),
            ("GET /_statsx HTTP/1.1\r\n", Some(false)),
            ("POST /_foo HTTP/1.1\r\n", Some(false)),
            ("GET /m", Some(false)),
            ("\x16\x03\x01", Some(false)),
            ("GE", None),
            ("GET ", None),
            ("GET /_sta", None),
            ("GET /_stats", None),
            ("PROPPATCHPROPPATCH", Some(false)),
        ] {
            assert_eq!(expected, wants(start.as_bytes()), "{start:?}");
        }
    }
}
