//! What to have of which model. Pure.

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use url::Url;

use super::select::Selection;
use crate::hub::{Commit, Entry, RepoId, Revision};

/// What to have of which model, and where.
///
/// # Examples
///
/// ```
/// use download::ModelSpec;
///
/// let spec: ModelSpec = "org/tiny@v1.0".parse()?;
/// assert_eq!("org/tiny@v1.0", spec.name());
/// # Ok::<(), download::IdError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ModelSpec {
    /// Where it comes from.
    pub source: ModelSource,
    /// Which of its files.
    pub selection: Selection,
    /// A folder of its own, in which the files have their names; `None` for the cache. Files beneath
    /// `.cache/download` and `.cache/huggingface` are left out there, with a warning: those are the notes of
    /// who fetches.
    pub target: Option<PathBuf>,
}

/// Where a model comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ModelSource {
    /// A repository of the hub.
    Hub {
        /// Which.
        repo: RepoId,
        /// Which state of it.
        revision: Revision,
        /// What that state is, where it is known already: then the hub is not asked, and the cache keeps
        /// what the revision stood for before.
        pinned: Option<Pinned>,
    },
    /// Files of a plain web server, beneath an address.
    Web {
        /// The address.
        url: Url,
        /// The files.
        files: Vec<Entry>,
    },
}

/// A commit with its files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pinned {
    /// The commit.
    pub commit: Commit,
    /// The files.
    pub files: Vec<Entry>,
}

impl ModelSource {
    /// What its files are named beneath: the repository, or the address without its query.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Hub { repo, .. } => repo.to_string(),
            Self::Web { url, .. } => {
                format!("{}{}", url.origin().ascii_serialization(), url.path())
            }
        }
    }
}

impl ModelSpec {
    /// All of a repository's files that are worth having, in the cache.
    #[must_use]
    pub fn new(repo: RepoId, revision: Revision) -> Self {
        let source = ModelSource::Hub { repo, revision, pinned: None };
        Self { source, selection: Selection::default(), target: None }
    }

    /// Returns what people call it: `ORG/NAME`, with `@REVISION` unless that is `main`; or the address
    /// without its query.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.source {
            ModelSource::Hub { revision, .. } if *revision != Revision::default() => {
                format!("{}@{revision}", self.source.name())
            }
            source => source.name(),
        }
    }

    /// What tells one wish from another: two that are the same are one transfer.
    ///
    /// All of the wish, as `Debug` tells it, so that nothing can be forgotten; hashed, since the journal keeps
    /// it and the query of an address may be a secret.
    pub(crate) fn key(&self) -> String {
        crate::Digest::Sha256(Sha256::digest(format!("{self:?}")).into()).to_string()
    }

    /// Whether both are of one source, whichever of its files they want.
    pub(crate) fn is_of_same_source(&self, other: &Self) -> bool {
        match (&self.source, &other.source) {
            (ModelSource::Web { url, .. }, ModelSource::Web { url: other, .. }) => url == other,
            _ => self.name() == other.name(),
        }
    }
}

impl std::str::FromStr for ModelSpec {
    type Err = crate::hub::IdError;

    /// Reads `ORG/NAME` or `ORG/NAME@REVISION`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (repo, revision) = match text.split_once('@') {
            Some((repo, revision)) => (repo, revision.parse()?),
            None => (text, Revision::default()),
        };
        Ok(Self::new(repo.parse()?, revision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_with_its_revision() {
        for text in ["gpt2", "org/tiny@refs/pr/1"] {
            assert_eq!(text, text.parse::<ModelSpec>().unwrap().name());
        }
        assert_eq!("org/tiny", "org/tiny@main".parse::<ModelSpec>().unwrap().name());
        for text in ["org/tiny@", "@main", "org/tiny@../x"] {
            assert!(text.parse::<ModelSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn different_wishes_have_different_keys() {
        let plain: ModelSpec = "a".parse().unwrap();
        let other = ModelSpec { target: Some("t".into()), ..plain.clone() };
        assert_ne!(plain.key(), other.key());
        let selection = Selection { all_formats: true, ..Selection::default() };
        assert_ne!(plain.key(), ModelSpec { selection, ..plain.clone() }.key());

        let web = |url: &str, path: &str| {
            let entry = Entry { path: path.to_owned(), bytes: 0, digest: None, pointer: None };
            let source = ModelSource::Web { url: url.parse().unwrap(), files: vec![entry] };
            ModelSpec { source, ..other.clone() }.key()
        };
        assert_eq!(web("http://x/?a", "f"), web("http://x/?a", "f"));
        assert_ne!(web("http://x/?a", "f"), web("http://x/?a", "g"), "another file");
        assert_ne!(web("http://x/?a", "f"), web("http://x/?b", "f"), "another query");
    }
}
