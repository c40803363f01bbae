//! Is it still the same object: marks that guard a resumed download.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a server says about the version of an object.
///
/// Only a strong entity tag guards a resumed range: a weak one stands for what *looks* the same, and a
/// date has seconds in which much can happen (RFC 9110, 8.8.1 and 13.1.5).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Validator {
    /// The strong entity tag with its quotes.
    etag: Option<String>,
    /// The size of the whole object, in bytes.
    total: Option<u64>,
}

/// The object is another one than before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Changed {
    /// What was known.
    before: Validator,
    /// What came.
    now: Validator,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the object changed while downloading ({} before, {} now)", self.before, self.now)
    }
}

impl std::error::Error for Changed {}

impl fmt::Display for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let etag = self.etag.as_deref().unwrap_or("no strong tag");
        match self.total {
            Some(total) => write!(f, "{etag}, {total} B"),
            None => f.write_str(etag),
        }
    }
}

impl Validator {
    /// Reads the marks of a reply: its `ETag` header and the object's size, where known.
    #[must_use]
    pub fn new(etag: Option<&str>, total: Option<u64>) -> Self {
        Self { etag: etag.and_then(strong).map(str::to_owned), total }
    }

    /// Returns the size of the whole object, in bytes.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Returns the value for `If-Match` and `If-Range`, if there is a mark that can guard.
    #[must_use]
    pub fn guard(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// Whether bytes fetched earlier may be kept: there is a guard, and the size is known.
    #[must_use]
    pub fn can_resume(&self) -> bool {
        self.etag.is_some() && self.total.is_some()
    }

    /// Compares a later reply with this one. What it does not say does not differ; whether bytes without the mark may
    /// be written is another question, and the answer of [`Downloader`](crate::Downloader) is no.
    ///
    /// # Errors
    ///
    /// [`Changed`] when a mark differs; nothing of the reply may be written.
    pub fn check(&self, now: &Self) -> Result<(), Changed> {
        let differs = |a: bool| a.then(|| Changed { before: self.clone(), now: now.clone() });
        let etags = matches!((&self.etag, &now.etag), (Some(a), Some(b)) if a != b);
        let totals = matches!((self.total, now.total), (Some(a), Some(b)) if a != b);
        differs(etags || totals).map_or(Ok(()), Err)
    }
}

/// The tag itself if it is strong and well formed: quoted, visible characters.
fn strong(etag: &str) -> Option<&str> {
    let etag = etag.trim();
    let inner = etag.strip_prefix('"')?.strip_suffix('"')?;
    let well_formed = inner.bytes().all(|byte| byte == 0x21 || (0x23..=0x7E).contains(&byte));
    well_formed.then_some(etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strong_tags_alone_guard() {
        let guard = |etag| Validator::new(etag, Some(9)).guard().map(str::to_owned);
        assert_eq!(Some("\"abc\"".to_owned()), guard(Some(" \"abc\" ")));
        for etag in [None, Some("W/\"abc\""), Some("abc"), Some("\"a\"b\""), Some("\"a\r\nb\"")] {
            assert_eq!(None, guard(etag), "{etag:?}");
        }
    }

    #[test]
    fn without_size_or_tag_nothing_is_resumed() {
        assert!(Validator::new(Some("\"a\""), Some(1)).can_resume());
        assert!(!Validator::new(Some("\"a\""), None).can_resume());
        assert!(!Validator::new(None, Some(1)).can_resume());
    }

    #[test]
    fn a_mark_that_differs_is_a_change() {
        let before = Validator::new(Some("\"a\""), Some(9));
        let check = |etag, total| before.check(&Validator::new(etag, total)).is_ok();
        assert!(check(Some("\"a\""), Some(9)) && check(None, None) && check(None, Some(9)));
        assert!(!check(Some("\"b\""), Some(9)) && !check(Some("\"a\""), Some(8)));
        let error = before.check(&Validator::new(Some("\"b\""), Some(9))).unwrap_err();
        let expected = "the object changed while downloading (\"a\", 9 B before, \"b\", 9 B now)";
        assert_eq!(expected, error.to_string());
    }
}
