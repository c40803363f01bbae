//! Which way to an origin.

use std::fmt;

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_util::client::proxy::matcher::Matcher;

use super::origin::Origin;

/// The proxies to go through, by the scheme of the request.
///
/// `http` requests are forwarded in absolute form (RFC 9112, 3.2.2), `https` goes through a tunnel
/// (RFC 9110, 9.3.6). Credentials in a proxy's URI are sent to it as `Proxy-Authorization: Basic`.
/// Nothing is read from the environment.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// The proxy for `http` requests: an `http` URI.
    pub http: Option<Uri>,
    /// The proxy for `https` requests: an `http` URI.
    pub https: Option<Uri>,
    /// The hosts that are reached directly: names (with all below them), addresses and networks,
    /// separated by commas, as the variable `NO_PROXY` has them; `*` for all.
    pub no_proxy: String,
}

/// How to reach one origin.
#[derive(Clone)]
pub(super) enum Route {
    Direct,
    Forward(Hop),
    Tunnel(Hop),
}

/// A proxy on the way.
#[derive(Clone)]
pub(super) struct Hop {
    pub(super) uri: Uri,
    pub(super) authorization: Option<HeaderValue>,
}

/// A proxy that cannot be used.
#[derive(Debug)]
pub(super) struct UnsupportedProxy {
    scheme: String,
}

impl fmt::Display for UnsupportedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proxies of scheme `{}` are not supported: use an http one", self.scheme)
    }
}

impl std::error::Error for UnsupportedProxy {}

/// The rules of [`Proxies`], compiled; `None` when there are none.
pub(super) fn matcher(proxies: &Proxies) -> Option<Matcher> {
    let Proxies { http, https, no_proxy } = proxies;
    if http.is_none() && https.is_none() {
        return None;
    }
    let mut builder = Matcher::builder();
    if let Some(http) = http {
        builder = builder.http(http.to_string());
    }
    if let Some(https) = https {
        builder = builder.https(https.to_string());
    }
    Some(builder.no(no_proxy.as_str()).build())
}

impl Route {
    pub(super) fn to(origin: &Origin, matcher: Option<&Matcher>) -> Result<Self, UnsupportedProxy> {
        let Some(found) = matcher.and_then(|matcher| matcher.intercept(&origin.uri())) else {
            return Ok(Self::Direct);
        };
        let scheme = found.uri().scheme_str().unwrap_or("http");
        if scheme != "http" {
            return Err(UnsupportedProxy { scheme: scheme.to_owned() });
        }
        let authorization = found.basic_auth().cloned();
        let hop = Hop { uri: found.uri().clone(), authorization };
        Ok(if origin.is_https() { Self::Tunnel(hop) } else { Self::Forward(hop) })
    }
}
