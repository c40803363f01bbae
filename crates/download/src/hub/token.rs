//! A token, and to whom it may be told. Pure.

use std::fmt;

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use url::Url;

/// A token is no longer than this; those of hubs have some forty characters.
const TOKEN_CHARS_MAX: usize = 4096;

/// A text that is no token. It does not repeat the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TokenError;

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no token: it is one word of printable ASCII characters")
    }
}

impl std::error::Error for TokenError {}

/// Proves to a hub who asks. It is never printed.
#[derive(Clone)]
pub struct Token(HeaderValue);

impl Token {
    /// Reads a token; white space around it is dropped.
    ///
    /// # Errors
    ///
    /// [`TokenError`] for what could not be sent in a header, or would add one.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let is_word = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || TOKEN_CHARS_MAX < text.len() || !is_word {
            return Err(TokenError);
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {text}")).map_err(|_| TokenError)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A token with the one origin that may hear it: scheme, host and port.
///
/// # Examples
///
/// ```
/// use download::{Token, TokenScope};
///
/// let scope = TokenScope::new("https://hub.example".parse()?, Some(Token::new("hf_secret")?));
/// assert!(!scope.headers(&"https://hub.example/a".parse()?).is_empty());
/// assert!(scope.headers(&"https://cdn.example/a".parse()?).is_empty());
/// assert!(scope.headers(&"http://hub.example/a".parse()?).is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokenScope {
    home: Url,
    token: Option<Token>,
}

impl TokenScope {
    /// Binds a token to the origin of an address.
    #[must_use]
    pub fn new(home: Url, token: Option<Token>) -> Self {
        Self { home, token }
    }

    /// Returns what may be sent to this address: the token, or nothing.
    #[must_use]
    pub fn headers(&self, url: &Url) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(Token(value)) = self.token.as_ref().filter(|_| self.holds(url)) {
            headers.insert(AUTHORIZATION, value.clone());
        }
        headers
    }

    /// Whether an address is of the origin, and says nothing of another user.
    #[must_use]
    pub fn holds(&self, url: &Url) -> bool {
        let is_web = matches!(url.scheme(), "http" | "https");
        let is_plain = url.username().is_empty() && url.password().is_none();
        is_web && is_plain && url.origin() == self.home.origin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redirect::Route;

    /// An address, and whether the token of `https://hub.example` may go there.
    const TABLE: [(&str, bool); 18] = [
        ("https://hub.example", true),
        ("https://hub.example/", true),
        ("https://hub.example/a/b?c#d", true),
        ("https://hub.example:443/a", true),
        ("https://HUB.EXAMPLE/a", true),
        ("http://hub.example/a", false),
        ("https://hub.example:8443/a", false),
        ("https://hub.example./a", false),
        ("https://www.hub.example/a", false),
        ("https://example/a", false),
        ("https://hub.example.evil.example/a", false),
        ("https://hub.example@evil.example/a", false),
        ("https://me@hub.example/a", false),
        ("https://me:secret@hub.example/a", false),
        ("https://evil.example/https://hub.example/", false),
        ("https://evil.example/?hub.example", false),
        ("ftp://hub.example/a", false),
        ("file:///hub.example", false),
    ];

    #[test]
    fn a_token_is_told_to_its_own_origin_alone() {
        let home: Url = "https://hub.example".parse().unwrap();
        let scope = TokenScope::new(home, Some(Token::new(" hf_secret\n").unwrap()));
        for (address, expected) in TABLE {
            let headers = scope.headers(&address.parse().unwrap());
            assert_eq!(expected, headers.contains_key(AUTHORIZATION), "{address}");
        }
    }

    #[test]
    fn redirects_take_it_to_no_other_origin() {
        for (address, expected) in TABLE {
            let mut route = Route::new("https://hub.example/first".parse().unwrap());
            let followed = route.follow(Some(address)).is_ok();
            assert_eq!(expected, followed && route.keeps_credentials(), "{address}");
        }
    }

    #[test]
    fn what_would_break_a_header_is_no_token() {
        for text in ["", " ", "a b", "a\r\nX: y", "a\0", "tökén"] {
            assert!(Token::new(text).is_err(), "{text:?}");
        }
        let token = Token::new("hf_secret").unwrap();
        assert!(!format!("{token:?}").contains("secret"));
        let scope = TokenScope::new("https://a".parse().unwrap(), Some(token));
        let headers = scope.headers(&"https://a".parse().unwrap());
        assert!(!format!("{scope:?} {headers:?}").contains("secret"));
    }
}
