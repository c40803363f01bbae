//! What names a model: repository, revision, commit. Pure.

use std::fmt;
use std::str::FromStr;

use crate::model::FilePath;

/// The longest part of a repository's name (the hub's rule).
const PART_CHARS_MAX: usize = 96;
/// Hexadecimal digits of a commit: a SHA-1.
const COMMIT_DIGITS: usize = 40;

/// A text that names nothing on a hub.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum IdError {
    /// It is no name of a repository.
    Repo(String),
    /// It is no revision.
    Revision(String),
    /// It is no commit.
    Commit(String),
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repo(text) => {
                write!(f, "{text:?} is no name of a model: write ORGANIZATION/NAME, or NAME")
            }
            Self::Revision(text) => {
                write!(f, "{text:?} is no revision: write a branch, a tag or a commit")
            }
            Self::Commit(text) => {
                write!(f, "{text:?} is no commit of {COMMIT_DIGITS} hexadecimal digits")
            }
        }
    }
}

impl std::error::Error for IdError {}

/// The name of a repository: `ORGANIZATION/NAME`, or `NAME` alone.
///
/// Each part has 1 to 96 letters, digits, `_`, `-` and `.`, without `--` and `..`, neither begins nor ends
/// with `-` or `.`, and the name does not end with `.git`: so it can be part of paths and addresses.
///
/// # Examples
///
/// ```
/// let repo: download::RepoId = "org/tiny-model".parse()?;
/// assert_eq!("models--org--tiny-model", repo.folder());
/// assert!("../etc".parse::<download::RepoId>().is_err());
/// # Ok::<(), download::IdError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RepoId(String);

impl RepoId {
    /// Returns the name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of its folder in a cache.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("models--{}", self.0.replace('/', "--"))
    }

    /// Reads the name of a folder in a cache; `None` when it is of no model.
    #[must_use]
    pub fn of_folder(name: &str) -> Option<Self> {
        name.strip_prefix("models--")?.replace("--", "/").parse().ok()
    }
}

impl FromStr for RepoId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parts = text.split('/').count();
        let is_id = parts <= 2 && text.split('/').all(is_part) && !text.ends_with(".git");
        is_id.then(|| Self(text.to_owned())).ok_or_else(|| IdError::Repo(text.to_owned()))
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_part(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let edges = ['-', '.'];
    (1..=PART_CHARS_MAX).contains(&part.len())
        && part.bytes().all(allowed)
        && !part.starts_with(edges)
        && !part.ends_with(edges)
        && !part.contains("--")
        && !part.contains("..")
}

/// A branch, a tag or a commit: a name that may move.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Revision(String);

impl Revision {
    /// Returns the name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the commit, where the revision is one and so does not move.
    #[must_use]
    pub fn commit(&self) -> Option<Commit> {
        self.0.parse().ok()
    }
}

impl Default for Revision {
    /// `main`.
    fn default() -> Self {
        Self("main".to_owned())
    }
}

impl FromStr for Revision {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = |_| IdError::Revision(text.to_owned());
        FilePath::parse(text).map_err(error)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A commit: what a revision stood for, and what never changes.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Commit(String);

impl Commit {
    /// Returns the 40 lower-case hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Commit {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_commit = text.len() == COMMIT_DIGITS && text.bytes().all(is_hex);
        is_commit.then(|| Self(text.to_owned())).ok_or_else(|| IdError::Commit(text.to_owned()))
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models_are_read_and_folders_read_back() {
        for text in ["gpt2", "org/tiny", "A.b-c_d/1.5", "x/y.z"] {
            let repo: RepoId = text.parse().unwrap();
            assert_eq!(Some(repo.clone()), RepoId::of_folder(&repo.folder()), "{text}");
        }
        assert_eq!(None, RepoId::of_folder("datasets--a--b"));
    }

    #[test]
    fn what_names_no_model_is_refused() {
        let long = "x".repeat(97);
        for text in [
            "",
            "/",
            "a/",
            "/a",
            "a/b/c",
            "..",
            "../a",
            "a/..",
            "a--b/c",
            "a/b.git",
            "-a/b",
            "a./b",
            "a b",
            "a\\b",
            "a/b\0",
            "a/b\r\nX: y",
            "C:/a",
            "ä/b",
            "a/b?c",
            "a/b#c",
            &long,
        ] {
            assert!(text.parse::<RepoId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn revisions_may_have_folders_but_lead_nowhere_else() {
        for text in ["main", "v1.0", "refs/pr/1", "feature/a-b"] {
            assert!(text.parse::<Revision>().is_ok(), "{text:?}");
        }
        for text in ["", "..", "a/../b", "/main", "a//b", "a\0", "a\nb", "a\\b"] {
            assert!(text.parse::<Revision>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_commit_has_forty_digits_of_lower_case() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(
            Some(commit),
            commit.parse::<Revision>().unwrap().commit().as_ref().map(Commit::as_str)
        );
        for text in ["", "main", &commit[1..], &commit.to_uppercase()] {
            assert!(text.parse::<Commit>().is_err(), "{text:?}");
        }
    }
}
