//! `model.lock`: what models were, to the byte. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::spec::Pinned;
use crate::digest::Digest;
use crate::hub::{Commit, Entry, RepoId};

/// What stands at the head of each lock file.
const HEAD: &str =
    "# What models were when they were fetched. Written by `download model --write-lock`.\n\n";

/// A text that is no lock file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LockFileError(String);

impl fmt::Display for LockFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no lock file: {}", self.0)
    }
}

impl std::error::Error for LockFileError {}

/// Models, each with its commit and its files.
///
/// # Examples
///
/// ```
/// use download::Locked;
///
/// let text = r#"
/// [[model]]
/// repo = "org/tiny"
/// commit = "0123456789abcdef0123456789abcdef01234567"
///
/// [[model.file]]
/// path = "config.json"
/// size = 2
/// git_sha1 = "9e26dfeeb6e641a33dae4961196235bdb965b21b"
/// "#;
/// let locked: Locked = text.parse()?;
/// assert_eq!(1, locked.models[0].pinned.files.len());
/// assert_eq!(locked, locked.to_string().parse()?);
/// # Ok::<(), download::LockFileError>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Locked {
    /// The models, in the order of the file.
    pub models: Vec<LockedModel>,
}

/// One of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LockedModel {
    /// Which.
    pub repo: RepoId,
    /// What it was.
    pub pinned: Pinned,
}

impl Locked {
    /// Finds a model.
    #[must_use]
    pub fn find(&self, repo: &RepoId) -> Option<&Pinned> {
        self.models.iter().find(|model| model.repo == *repo).map(|model| &model.pinned)
    }

    /// Puts a model in, in the place of what it was before.
    pub fn put(&mut self, repo: RepoId, pinned: Pinned) {
        match self.models.iter_mut().find(|model| model.repo == repo) {
            Some(model) => model.pinned = pinned,
            None => self.models.push(LockedModel { repo, pinned }),
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    model: Vec<Model>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Model {
    repo: String,
    commit: String,
    #[serde(default)]
    file: Vec<Item>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Item {
    path: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    git_sha1: Option<String>,
}

impl std::str::FromStr for Locked {
    type Err = LockFileError;

    fn from_str(text: &str) -> Result<Self, LockFileError> {
        let file: File = toml::from_str(text).map_err(|error| LockFileError(error.to_string()))?;
        let models: Result<_, _> = file.model.into_iter().map(read).collect();
        Ok(Self { models: models.map_err(LockFileError)? })
    }
}

fn read(model: Model) -> Result<LockedModel, String> {
    let repo: RepoId = model.repo.parse().map_err(|error| format!("{error}"))?;
    let commit: Commit = model.commit.parse().map_err(|error| format!("{error}"))?;
    let files: Result<Vec<_>, _> = model.file.into_iter().map(entry).collect();
    Ok(LockedModel { repo, pinned: Pinned { commit, files: files? } })
}

fn entry(item: Item) -> Result<Entry, String> {
    let Item { path, size: bytes, sha256, git_sha1 } = item;
    let digest = match (&sha256, &git_sha1) {
        (Some(text), None) => Digest::sha256(text),
        (None, Some(text)) => Digest::git_sha1(text),
        _ => return Err(format!("{path:?} needs either sha256 or git_sha1")),
    };
    let digest = digest.map_err(|error| format!("{path:?}: {error}"))?;
    Ok(Entry { path, bytes, digest: Some(digest), pointer: None })
}

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let item = |entry: &Entry| {
            let text = entry.digest.map(|digest| digest.to_string());
            let is_large = matches!(entry.digest, Some(Digest::Sha256(_)));
            let (sha256, git_sha1) = if is_large { (text, None) } else { (None, text) };
            Item { path: entry.path.clone(), size: entry.bytes, sha256, git_sha1 }
        };
        let model = |model: &LockedModel| Model {
            repo: model.repo.to_string(),
            commit: model.pinned.commit.to_string(),
            file: model.pinned.files.iter().map(item).collect(),
        };
        let file = File { model: self.models.iter().map(model).collect() };
        let text = toml::to_string(&file).map_err(|_| fmt::Error)?;
        write!(f, "{HEAD}{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let model = |file: &str| {
            format!("[[model]]\nrepo = \"a\"\ncommit = \"{}\"\n{file}", "0".repeat(40))
        };
        for (text, expected) in [
            ("[[model]]\nrepo = \"../a\"\ncommit = \"x\"\n".to_owned(), "no name of a model"),
            (model("[[model.file]]\npath = \"b\"\nsize = 1\n"), "either sha256 or git_sha1"),
            (model("[[model.file]]\npath = \"b\"\nsize = 1\nsha256 = \"../x\"\n"), "a digest has"),
            (model("other = 1\n"), "unknown field"),
        ] {
            let error = text.parse::<Locked>().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_model_is_put_in_the_place_of_what_it_was() {
        let pinned =
            |digit: &str| Pinned { commit: digit.repeat(40).parse().unwrap(), files: Vec::new() };
        let (a, b): (RepoId, RepoId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut locked = Locked::default();
        locked.put(a.clone(), pinned("1"));
        locked.put(b, pinned("2"));
        locked.put(a.clone(), pinned("3"));
        assert_eq!((2, Some(&pinned("3"))), (locked.models.len(), locked.find(&a)));
    }
}
