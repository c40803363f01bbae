//! What the paths of a hub stand for. Pure.

use crate::origin::percent_decoded;

/// What a path of a hub asks for; names are decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// A repository at a revision, or at its head.
    Revision { repo: String, revision: Option<String> },
    /// What lies in a folder; in the whole repository if it is empty.
    Tree { repo: String, revision: String, folder: String },
    /// Branches and tags.
    Refs { repo: String },
    /// A file.
    Resolve { repo: String, revision: String, path: String },
    /// A small file, where [`Route::Resolve`] sends those who want it.
    Cached { repo: String, commit: String, path: String },
}

impl Route {
    /// Reads a path as it was sent, with its percent signs; `None` if it is none of a hub's.
    pub(super) fn parse(path: &str) -> Option<Self> {
        if let Some(rest) = path.strip_prefix("/api/resolve-cache/models/") {
            let (repo, [commit, path]) = split(rest, is_commit)?;
            return Some(Self::Cached { repo, commit: decoded(commit)?, path: decoded(path)? });
        }
        if let Some(rest) = path.strip_prefix("/api/models/") {
            return Self::of_api(rest);
        }
        let (repo, [_, rest]) = split(path.strip_prefix('/')?, |word| word == "resolve")?;
        let (revision, path) = rest.split_once('/')?;
        Some(Self::Resolve { repo, revision: decoded(revision)?, path: decoded(path)? })
    }

    fn of_api(rest: &str) -> Option<Self> {
        let is_call = |word: &str| matches!(word, "revision" | "tree" | "refs");
        let Some((repo, [call, rest])) = split(rest, is_call) else {
            let repo = decoded(rest).filter(|_| rest.matches('/').count() < 2)?;
            return Some(Self::Revision { repo, revision: None });
        };
        match call {
            "refs" => Some(Self::Refs { repo }),
            "revision" => Some(Self::Revision { repo, revision: Some(decoded(rest)?) }),
            _ => {
                let (revision, folder) = rest.split_once('/').unwrap_or((rest, ""));
                let (revision, folder) = (decoded(revision)?, decoded(folder)?);
                Some(Self::Tree { repo, revision, folder })
            }
        }
    }
}

/// Whether a word is a commit, which names are not: no name of 40 hexadecimal digits is known of.
fn is_commit(word: &str) -> bool {
    word.len() == 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn decoded(text: &str) -> Option<String> {
    percent_decoded(text)
}

/// Splits `NAME/WORD/REST` or `ORGANIZATION/NAME/WORD/REST` where a word of this kind stands, which for the
/// shorter form may not be the last but one of a longer name.
fn split(text: &str, is_word: impl Fn(&str) -> bool) -> Option<(String, [&str; 2])> {
    let after = |n: usize| {
        let (slash, _) = text.match_indices('/').nth(n)?;
        let (word, rest) = text[slash + 1..].split_once('/').unwrap_or((&text[slash + 1..], ""));
        is_word(word).then_some((slash, word, rest))
    };
    let (slash, word, rest) = after(1).or_else(|| after(0))?;
    Some((decoded(&text[..slash])?, [word, rest]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(parts: [&str; 3]) -> (String, String, String) {
        let [repo, revision, path] = parts.map(str::to_owned);
        (repo, revision, path)
    }

    #[track_caller]
    fn check_resolve(path: &str, expected: [&str; 3]) {
        let (repo, revision, file) = names(expected);
        assert_eq!(Some(Route::Resolve { repo, revision, path: file }), Route::parse(path));
    }

    #[track_caller]
    fn check_tree(path: &str, expected: [&str; 3]) {
        let (repo, revision, folder) = names(expected);
        assert_eq!(Some(Route::Tree { repo, revision, folder }), Route::parse(path));
    }

    #[test]
    fn files_are_resolved_at_a_revision() {
        check_resolve("/org/a/resolve/main/x/y.bin", ["org/a", "main", "x/y.bin"]);
        check_resolve("/gpt2/resolve/refs%2Fpr%2F1/a%20b", ["gpt2", "refs/pr/1", "a b"]);
        check_resolve("/a/resolve/main/resolve/b", ["a", "main", "resolve/b"]);
    }

    #[test]
    fn small_files_lie_at_a_commit() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        for repo in ["org/a", "gpt2"] {
            let path = format!("/api/resolve-cache/models/{repo}/{commit}/x/y.json");
            let (repo, commit, path_of) = names([repo, commit, "x/y.json"]);
            assert_eq!(Some(Route::Cached { repo, commit, path: path_of }), Route::parse(&path));
        }
    }

    #[test]
    fn hostile_names_are_taken_as_they_are() {
        check_resolve(
            "/org/a/resolve/main/..%2F..%2Fetc/passwd",
            ["org/a", "main", "../../etc/passwd"],
        );
        check_resolve("/org/a/resolve/main//etc/passwd", ["org/a", "main", "/etc/passwd"]);
    }

    #[test]
    fn listings_have_a_folder_or_none() {
        check_tree("/api/models/org/a/tree/main", ["org/a", "main", ""]);
        check_tree("/api/models/gpt2/tree/main/x/y", ["gpt2", "main", "x/y"]);
    }

    #[test]
    fn a_repository_is_asked_for_with_or_without_revision() {
        let revision = |repo: &str, revision: Option<&str>| {
            let revision = revision.map(str::to_owned);
            Some(Route::Revision { repo: repo.to_owned(), revision })
        };
        assert_eq!(revision("org/a", None), Route::parse("/api/models/org/a"));
        assert_eq!(revision("gpt2", None), Route::parse("/api/models/gpt2"));
        let path = "/api/models/org/a/revision/refs%2Fpr%2F1";
        assert_eq!(revision("org/a", Some("refs/pr/1")), Route::parse(path));
        assert_eq!(
            Some(Route::Refs { repo: "gpt2".to_owned() }),
            Route::parse("/api/models/gpt2/refs")
        );
    }

    #[test]
    fn other_paths_are_not_of_a_hub() {
        for path in ["/", "/model.bin", "/api/models/a/b/c/d", "/_stats", "/a/b/c/resolve/main/x"] {
            assert_eq!(None, Route::parse(path), "{path}");
        }
    }
}
