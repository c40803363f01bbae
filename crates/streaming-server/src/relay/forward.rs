//! What is passed on of a request, and of the head of a reply.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, DATE, EXPECT, HOST, HeaderMap,
    HeaderName, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Uri};

/// What is about one connection, and not about the request or the reply (RFC 9110, 7.6.1).
const OF_CONNECTIONS: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];
/// What the client here says itself; and a stream that is compressed has no events to be found.
const OF_OURS: [HeaderName; 4] = [HOST, CONTENT_LENGTH, EXPECT, ACCEPT_ENCODING];
/// Which pages may read replies is ours to say, to every browser that asks.
const OF_ORIGINS: &str = "access-control-";

/// A request that can be sent to any upstream, and again.
#[derive(Debug)]
pub(crate) struct Forward {
    method: Method,
    pub(super) path: PathAndQuery,
    headers: HeaderMap,
    body: Bytes,
    /// Whether a stream is asked for.
    pub(super) streams: bool,
}

impl Forward {
    /// What is passed on of a request; its key is not, where it is one of ours.
    pub(crate) fn new(parts: &Parts, body: Bytes, streams: bool, has_our_key: bool) -> Self {
        let mut headers = parts.headers.clone();
        strip(&mut headers);
        OF_OURS.iter().for_each(|name| drop(headers.remove(name)));
        if has_our_key {
            headers.remove(AUTHORIZATION);
        }
        let path = parts.uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Self { method: parts.method.clone(), path, headers, body, streams }
    }

    /// Whether a reply is asked for that is generated as a whole.
    pub(super) fn is_whole(&self) -> bool {
        !self.streams && self.method == Method::POST
    }

    pub(super) fn request(&self, uri: Uri) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// What is passed on of the head of a reply. No cookie is: it would be a credential that browsers send of
/// themselves, and to the other upstreams as well.
pub(super) fn of_reply(mut headers: HeaderMap) -> HeaderMap {
    strip(&mut headers);
    [CONTENT_LENGTH, DATE, SET_COOKIE].iter().for_each(|name| drop(headers.remove(name)));
    let of_origins = headers.keys().filter(|name| name.as_str().starts_with(OF_ORIGINS));
    let of_origins: Vec<HeaderName> = of_origins.cloned().collect();
    of_origins.iter().for_each(|name| drop(headers.remove(name)));
    headers
}

/// Takes out what is about one connection.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    named.iter().chain(&OF_CONNECTIONS).for_each(|name| drop(headers.remove(name)));
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn what_is_of_a_connection_or_a_key_of_ours_stays_here() {
        let request = Request::post("/v1/completions?a=b")
            .header("host", "us")
            .header("connection", "x-hop, close")
            .header("x-hop", "1")
            .header("transfer-encoding", "chunked")
            .header("accept-encoding", "gzip")
            .header("authorization", "Bearer k")
            .header("x-more", "2");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let names = |has_our_key| {
            let forward = Forward::new(&parts, Bytes::new(), true, has_our_key);
            let request = forward.request(Uri::from_static("http://a/"));
            let mut names: Vec<_> =
                request.headers().keys().map(|name| name.as_str().to_owned()).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(["x-more"], names(true)[..]);
        assert_eq!(["authorization", "x-more"], names(false)[..]);
    }

    #[test]
    fn what_a_reply_says_of_its_connection_its_pages_or_cookies_stays_here() {
        let names = [
            "content-length",
            "set-cookie",
            "access-control-allow-origin",
            "access-control-allow-credentials",
            "access-control-allow-private-network",
            "retry-after",
            "vary",
        ];
        let field = |name: &&str| (name.parse().unwrap(), HeaderValue::from_static("7"));
        let reply = of_reply(names.iter().map(field).collect());
        let mut kept: Vec<_> = reply.keys().map(HeaderName::as_str).collect();
        kept.sort_unstable();
        assert_eq!(["retry-after", "vary"], kept[..]);
    }
}
