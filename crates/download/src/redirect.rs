//! Redirects, followed by us: where to, how often, and what may come along.

use std::fmt;

use url::Url;

/// More hops than this are a loop, or might as well be.
pub const HOPS_MAX: usize = 10;

/// Why a redirect was not followed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RedirectError {
    /// There is no `Location`, or it is no address.
    NoLocation,
    /// It leads to something that is no web server.
    NotHttp {
        /// The scheme.
        scheme: String,
    },
    /// It leads from an encrypted connection to one that is not.
    Downgrade {
        /// The origin it leads to.
        origin: String,
    },
    /// There were more hops than [`HOPS_MAX`].
    TooMany {
        /// The origins on the way, in order.
        origins: Vec<String>,
    },
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLocation => f.write_str("a redirect without an address"),
            Self::NotHttp { scheme } => {
                write!(f, "a redirect to `{scheme}:`, which is not followed")
            }
            Self::Downgrade { origin } => {
                write!(f, "a redirect from https to {origin}, which is not encrypted")
            }
            Self::TooMany { origins } => {
                write!(f, "more than {HOPS_MAX} redirects: {}", origins.join(" → "))
            }
        }
    }
}

impl std::error::Error for RedirectError {}

/// The way of one request through its redirects.
#[derive(Clone, Debug)]
pub struct Route {
    first: Url,
    hops: Vec<Url>,
}

impl Route {
    /// Starts at the address that was asked for.
    #[must_use]
    pub fn new(first: Url) -> Self {
        Self { first, hops: Vec::new() }
    }

    /// Returns where the next request goes.
    #[must_use]
    pub fn url(&self) -> &Url {
        self.hops.last().unwrap_or(&self.first)
    }

    /// Whether a redirect was followed.
    #[must_use]
    pub fn is_redirected(&self) -> bool {
        !self.hops.is_empty()
    }

    /// Whether headers that the user gave for the first address (credentials, cookies, anything) may be
    /// sent to the present one: scheme, host and port must be the same, no other user may be named, and no
    /// hop in between may have been elsewhere.
    #[must_use]
    pub fn keeps_credentials(&self) -> bool {
        let is_plain = |hop: &Url| hop.username().is_empty() && hop.password().is_none();
        self.hops.iter().all(|hop| hop.origin() == self.first.origin() && is_plain(hop))
    }

    /// Follows a `Location`.
    ///
    /// # Errors
    ///
    /// [`RedirectError`]; the route is then unchanged.
    pub fn follow(&mut self, location: Option<&str>) -> Result<(), RedirectError> {
        let location = location.ok_or(RedirectError::NoLocation)?;
        let next = self.url().join(location).map_err(|_| RedirectError::NoLocation)?;
        match next.scheme() {
            "https" => {}
            "http" if self.url().scheme() == "http" => {}
            "http" => return Err(RedirectError::Downgrade { origin: origin(&next) }),
            scheme => return Err(RedirectError::NotHttp { scheme: scheme.to_owned() }),
        }
        if HOPS_MAX <= self.hops.len() {
            let origins = std::iter::once(&self.first).chain(&self.hops).map(origin).collect();
            return Err(RedirectError::TooMany { origins });
        }
        self.hops.push(next);
        Ok(())
    }
}

/// Scheme, host and port: what may be told of an address. Paths and queries may hold signatures.
#[must_use]
pub fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(first: &str) -> Route {
        Route::new(Url::parse(first).unwrap())
    }

    #[track_caller]
    fn check(first: &str, location: &str, expected: Result<(&str, bool), &str>) {
        let mut route = route(first);
        let result = route.follow(Some(location)).map_err(|error| error.to_string());
        let told = result.map(|()| (route.url().as_str(), route.keeps_credentials()));
        assert_eq!(expected.map_err(str::to_owned), told);
    }

    #[test]
    fn addresses_may_be_relative() {
        check("http://a/x/y", "../z?q=1", Ok(("http://a/z?q=1", true)));
        check("http://a/x", "//b/z", Ok(("http://b/z", false)));
    }

    #[test]
    fn credentials_stay_at_their_origin() {
        check("http://a/x", "http://a:80/y", Ok(("http://a/y", true)));
        check("http://a/x", "http://a:81/y", Ok(("http://a:81/y", false)));
        check("http://a/x", "http://b/y", Ok(("http://b/y", false)));
        check("http://a/x", "https://a/y", Ok(("https://a/y", false)));
        // An address that names another user is for that one.
        check("http://a/x", "http://u:p@a/y", Ok(("http://u:p@a/y", false)));
    }

    #[test]
    fn who_was_elsewhere_does_not_get_them_back() {
        let mut route = route("http://a/");
        route.follow(Some("http://b/")).unwrap();
        route.follow(Some("http://a/")).unwrap();
        assert!(!route.keeps_credentials());
    }

    #[test]
    fn only_web_servers_are_followed_and_never_out_of_encryption() {
        check(
            "http://a/",
            "file:///etc/passwd",
            Err("a redirect to `file:`, which is not followed"),
        );
        check("http://a/", "ftp://a/", Err("a redirect to `ftp:`, which is not followed"));
        let downgrade = Err("a redirect from https to http://a, which is not encrypted");
        check("https://a/", "http://a/?signature=secret", downgrade);
        check("http://a/", "http://[", Err("a redirect without an address"));
    }

    #[test]
    fn a_loop_ends() {
        let mut route = route("http://a/");
        for _ in 0..HOPS_MAX {
            route.follow(Some("/again")).unwrap();
        }
        let error = route.follow(Some("/again")).unwrap_err();
        assert!(error.to_string().starts_with("more than 10 redirects: http://a → "), "{error}");
        assert_eq!(Err(RedirectError::NoLocation), route.follow(None));
    }
}
