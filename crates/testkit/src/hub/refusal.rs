//! How a hub says no, as the real client understands it.

use crate::origin::Reply;

/// Why a hub does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal<'a> {
    /// No such repository, or none for those without its token.
    NoRepo { anonymous: bool },
    /// No such branch, tag or commit.
    NoRevision,
    /// No such file or folder at this commit.
    NoEntry { commit: &'a str },
    /// The files are for those with a token.
    Gated { anonymous: bool },
}

impl Refusal<'_> {
    pub(super) fn reply(self) -> Reply {
        let (status, code, message) = match self {
            Self::NoRepo { anonymous: true } => {
                (401, "RepoNotFound", "Repository not found, or it needs a token.")
            }
            Self::NoRepo { anonymous: false } => (404, "RepoNotFound", "Repository not found."),
            Self::NoRevision => (404, "RevisionNotFound", "Invalid revision."),
            Self::NoEntry { .. } => (404, "EntryNotFound", "Entry not found."),
            Self::Gated { anonymous: true } => (401, "GatedRepo", "Access needs a token."),
            Self::Gated { anonymous: false } => {
                (403, "GatedRepo", "Access is restricted and this token is not on the list.")
            }
        };
        let reply = Reply::json(status, &serde_json::json!({"error": message}))
            .with("X-Error-Code", code)
            .with("X-Error-Message", message);
        match self {
            // By it the client remembers that this commit has no such file.
            Self::NoEntry { commit } => reply.with("X-Repo-Commit", commit),
            _ => reply,
        }
    }
}
