//! Which pages of other origins may read replies (the Fetch standard, 3.2).

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};

/// How long a browser may remember what it was told, in seconds; none of them does for longer.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("7200");

/// What is told about origins. There is no `Access-Control-Allow-Credentials`, for no origin: a page
/// that has the key sends it itself.
#[derive(Debug)]
pub(crate) struct Cors {
    every: bool,
    origins: Vec<String>,
}

impl Cors {
    pub(crate) fn new(origins: &[String]) -> Self {
        Self { every: origins.iter().any(|origin| origin == "*"), origins: origins.to_vec() }
    }

    /// What a browser is told that asks whether it may send a request; none where it does not ask, or
    /// may not.
    pub(crate) fn preflight(&self, request: &HeaderMap) -> Option<HeaderMap> {
        request.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        let mut reply = HeaderMap::new();
        self.allow(request, &mut reply);
        reply.get(ACCESS_CONTROL_ALLOW_ORIGIN)?;
        let methods = HeaderValue::from_static("GET, HEAD, POST");
        reply.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        // Clients' libraries send a dozen of their own.
        if let Some(fields) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            reply.insert(ACCESS_CONTROL_ALLOW_HEADERS, fields.clone());
        }
        reply.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
        Some(reply)
    }

    /// Lets the page that sent a request read its reply, if it may.
    pub(crate) fn allow(&self, request: &HeaderMap, reply: &mut HeaderMap) {
        if self.origins.is_empty() {
            return;
        }
        let origin = request.get(ORIGIN);
        let is_known = |origin: &&HeaderValue| {
            self.origins.iter().any(|known| known.as_bytes() == origin.as_bytes())
        };
        let allowed = if self.every {
            origin.map(|_| HeaderValue::from_static("*"))
        } else {
            // Caches must not give one origin's reply to another.
            reply.insert(VARY, HeaderValue::from_static("Origin"));
            origin.filter(is_known).cloned()
        };
        if let Some(allowed) = allowed {
            reply.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            let shown = HeaderValue::from_static("x-request-id, retry-after, retry-after-ms");
            reply.insert(ACCESS_CONTROL_EXPOSE_HEADERS, shown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (name.parse().unwrap(), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    fn allowed(origins: &[&str], origin: &'static str) -> Option<String> {
        let origins: Vec<_> = origins.iter().map(|origin| (*origin).to_owned()).collect();
        let mut reply = HeaderMap::new();
        Cors::new(&origins).allow(&request(&[("origin", origin)]), &mut reply);
        assert!(!reply.contains_key("access-control-allow-credentials"));
        let value = reply.get(ACCESS_CONTROL_ALLOW_ORIGIN)?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn an_origin_is_allowed_by_name_or_as_every_one() {
        assert_eq!(Some("https://a".to_owned()), allowed(&["https://b", "https://a"], "https://a"));
        assert_eq!(None, allowed(&["https://a"], "https://a.evil"));
        assert_eq!(None, allowed(&["https://a"], "null"));
        assert_eq!(None, allowed(&[], "https://a"));
        assert_eq!(Some("*".to_owned()), allowed(&["*"], "https://a"));
    }

    #[test]
    fn a_browser_that_asks_first_is_told_what_it_may_send() {
        let cors = Cors::new(&["https://a".to_owned()]);
        let asks = [
            ("origin", "https://a"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,x-stainless-os"),
        ];
        let reply = cors.preflight(&request(&asks)).unwrap();
        assert_eq!("authorization,x-stainless-os", reply[ACCESS_CONTROL_ALLOW_HEADERS]);
        assert_eq!("GET, HEAD, POST", reply[ACCESS_CONTROL_ALLOW_METHODS]);
        assert!(cors.preflight(&request(&asks[..1])).is_none());
        assert!(Cors::new(&["https://b".to_owned()]).preflight(&request(&asks)).is_none());
    }
}
