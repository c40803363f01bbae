//! How a hub says no. Pure.

use std::fmt;

use hyper::StatusCode;
use hyper::header::HeaderMap;

use crate::error::{Error, ErrorKind};

/// The header that tells the reason.
const CODE: &str = "x-error-code";
/// The header that tells it in words.
const MESSAGE: &str = "x-error-message";
/// What a hub says of a repository that it has taken down: there is no code for it.
const DISABLED: &str = "Access to this resource is disabled.";

/// Why a hub does not give something, and in its [`Display`](fmt::Display) what to do about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such repository, or it is private and there for nobody without its token.
    Repo,
    /// The repository has no such branch, tag or commit.
    Revision,
    /// The commit has no such file.
    Entry,
    /// Its files are for those whom its owner has let in.
    Gated,
    /// The hub has taken the repository down.
    Disabled,
}

impl Refusal {
    /// Reads the answer of a hub; `None` when it tells no reason.
    #[must_use]
    pub fn read(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        if !status.is_client_error() {
            return None;
        }
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        match text(CODE) {
            Some("RepoNotFound") => Some(Self::Repo),
            Some("RevisionNotFound") => Some(Self::Revision),
            Some("EntryNotFound") => Some(Self::Entry),
            Some("GatedRepo") => Some(Self::Gated),
            _ => (text(MESSAGE) == Some(DISABLED)).then_some(Self::Disabled),
        }
    }

    fn kind(self) -> ErrorKind {
        match self {
            Self::Repo | Self::Revision | Self::Entry => ErrorKind::NotFound,
            Self::Gated => ErrorKind::Gated,
            Self::Disabled => ErrorKind::NotAllowed,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Repo => {
                "the hub has no such model, or it is private: \
                 check its name, or give a token that may read it"
            }
            Self::Revision => {
                "the model has no such revision: check the branch, tag or commit after the @"
            }
            Self::Entry => "the model has no such file at this revision: check its name",
            Self::Gated => {
                "the model is gated: ask for access on its page, \
                 then give the token of an account that has it"
            }
            Self::Disabled => "the hub has disabled the model: choose another",
        })
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.kind(), refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    #[track_caller]
    fn check(status: u16, name: &'static str, value: &'static str, expected: Option<Refusal>) {
        let header = (HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers = HeaderMap::from_iter([header]);
        assert_eq!(expected, Refusal::read(StatusCode::from_u16(status).unwrap(), &headers));
    }

    #[test]
    fn reasons_are_read_whatever_the_status() {
        check(404, CODE, "RepoNotFound", Some(Refusal::Repo));
        check(401, CODE, "RepoNotFound", Some(Refusal::Repo));
        check(404, CODE, "RevisionNotFound", Some(Refusal::Revision));
        check(404, CODE, "EntryNotFound", Some(Refusal::Entry));
        check(401, CODE, "GatedRepo", Some(Refusal::Gated));
        check(403, CODE, "GatedRepo", Some(Refusal::Gated));
        check(403, MESSAGE, DISABLED, Some(Refusal::Disabled));
    }

    #[test]
    fn what_is_no_refusal_is_none() {
        check(403, "x-other", "GatedRepo", None);
        check(404, CODE, "Other", None);
        check(500, CODE, "RepoNotFound", None);
        check(200, CODE, "GatedRepo", None);
    }
}
