//! What a connection leads to.

use std::fmt;
use std::hash::{Hash, Hasher};

use hyper::Uri;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};

/// Scheme, host and port: requests to the same origin share connections (RFC 6454, 4).
///
/// # Examples
///
/// ```
/// use pool::http::Origin;
///
/// let origin = Origin::of(&"HTTP://Example.org:80/path".parse().unwrap()).unwrap();
/// assert_eq!(Origin::of(&"http://example.org".parse().unwrap()).unwrap(), origin);
/// ```
#[derive(Clone, Debug, Eq)]
pub struct Origin {
    is_https: bool,
    /// Without the scheme's own port. Compares and hashes without regard to case.
    authority: Authority,
}

impl Origin {
    /// Returns the origin of an absolute `http` or `https` URI.
    ///
    /// # Errors
    ///
    /// What is wrong with the URI: no scheme, another one, no host, or credentials in it.
    pub fn of(uri: &Uri) -> Result<Self, &'static str> {
        Self::new(uri.scheme(), uri.authority().cloned())
    }

    /// The same of a request's own URI, of which path and query are left: nothing is copied.
    pub(super) fn split_off(uri: &mut Uri) -> Result<Self, &'static str> {
        let parts = std::mem::take(uri).into_parts();
        let origin = Self::new(parts.scheme.as_ref(), parts.authority)?;
        *uri = parts.path_and_query.map(Uri::from).unwrap_or_default();
        Ok(origin)
    }

    fn new(scheme: Option<&Scheme>, authority: Option<Authority>) -> Result<Self, &'static str> {
        let is_https = match scheme {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(_) => return Err("its URI has a scheme other than http and https"),
            None => return Err("its URI is not absolute: scheme and host are needed"),
        };
        let authority = authority.ok_or("its URI has no host")?;
        if authority.as_str().bytes().any(|byte| byte == b'@') {
            return Err("its URI holds credentials: send an `Authorization` header instead");
        }
        let (own_port, ending) = if is_https { (443, "443") } else { (80, "80") };
        // However it is written, the scheme's own port ends so, and few others do: they are not parsed. An
        // empty one is the scheme's own, too (RFC 3986, 6.2.3).
        let text = authority.as_str();
        let is_own = text.ends_with(':')
            || (text.ends_with(ending) && authority.port_u16() == Some(own_port));
        if !is_own {
            return Ok(Self { is_https, authority });
        }
        let authority = authority.host().parse().map_err(|_| "its URI has no valid host")?;
        Ok(Self { is_https, authority })
    }

    /// Whether connections to it are encrypted.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// Host and, unless it is the scheme's own, port: what the `Host` header says (RFC 9110, 7.2).
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// The host; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    /// The URI of its root.
    pub(super) fn uri(&self) -> Uri {
        self.uri_of(PathAndQuery::from_static("/"))
    }

    /// The URI of what is there at it.
    pub(super) fn uri_of(&self, target: PathAndQuery) -> Uri {
        let scheme = if self.is_https { Scheme::HTTPS } else { Scheme::HTTP };
        let builder = Uri::builder().scheme(scheme).authority(self.authority.clone());
        builder.path_and_query(target).build().expect("all parts come from a valid URI")
    }
}

/// Most users write a host as they did before, and the same bytes are compared at once.
impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        let same = || self.authority.as_str() == other.authority.as_str();
        self.is_https == other.is_https && (same() || self.authority == other.authority)
    }
}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.is_https.hash(state);
        self.authority.hash(state);
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uri: &str, expected: Option<&str>) {
        let origin = Origin::of(&uri.parse().unwrap()).ok();
        assert_eq!(expected.map(str::to_owned), origin.map(|origin| origin.to_string()));
    }

    #[test]
    fn the_scheme_s_own_port_is_left_out() {
        check("http://a/b?c", Some("http://a"));
        check("http://a:80/", Some("http://a"));
        check("https://a:443/", Some("https://a"));
        check("https://a:80/", Some("https://a:80"));
        check("http://[::1]:80/", Some("http://[::1]"));
        check("http://a:0080/", Some("http://a"));
        check("http://a:/", Some("http://a"));
        check("https://[::]:/", Some("https://[::]"));
        check("http://a:8080/", Some("http://a:8080"));
        check("http://a80/", Some("http://a80"));
    }

    #[test]
    fn path_and_query_are_left() {
        let left = |uri: &str| {
            let mut uri = uri.parse().unwrap();
            Origin::split_off(&mut uri).unwrap();
            uri.to_string()
        };
        assert_eq!("/", left("http://a"));
        assert_eq!("/?q", left("http://a?q"));
        assert_eq!("/b?q", left("https://a:1/b?q"));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        check("/path", None);
        check("ftp://a/", None);
        check("http://user:secret@a/", None);
    }

    #[test]
    fn hosts_are_compared_without_regard_to_case() {
        let of = |uri: &str| Origin::of(&uri.parse().unwrap()).unwrap();
        assert_eq!(of("http://A.example"), of("http://a.EXAMPLE/"));
        assert_ne!(of("http://a"), of("https://a"));
        assert_eq!("::1", of("http://[::1]/").host());
    }
}
