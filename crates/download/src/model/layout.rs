//! Where things lie in a cache, as the hub's own libraries expect them. Pure.

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::hub::{Commit, RepoId, Revision};

use super::path::FilePath;

/// The folder of ours in a repository's: the libraries look past it.
pub(crate) const OURS: &str = ".download";
/// The folder of locks in a cache: the one foreign folder that the libraries look past.
pub(crate) const LOCKS: &str = ".locks";

/// A cache of models: the layout of `huggingface_hub`, in which its libraries find what they load.
///
/// ```text
/// models--org--name/blobs/DIGEST                  the bytes, named by what checks them
/// models--org--name/snapshots/COMMIT/PATH         a relative link to them
/// models--org--name/refs/REVISION                 the commit that a branch stood for
/// models--org--name/trees/COMMIT.json             all files of the commit, once all are here
/// models--org--name/.no_exist/COMMIT/PATH         a file that the commit does not have
/// models--org--name/.download/                    ours: what was verified, listings, the sign of use
/// .locks/models--org--name/DIGEST.lock            who fetches (flock(2)); the libraries heed it too
/// ```
///
/// # Examples
///
/// ```
/// use download::Cache;
///
/// let repo = Cache::new("/models").repo(&"org/tiny".parse()?);
/// assert_eq!(std::path::Path::new("/models/models--org--tiny"), repo.folder());
/// # Ok::<(), download::IdError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// A cache in this folder, which need not exist.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the part of it that a repository has.
    #[must_use]
    pub fn repo(&self, id: &RepoId) -> RepoFolder {
        RepoFolder { cache: self.root.clone(), name: id.folder() }
    }

    /// Returns where the queue of models is recorded: among the locks, past which the libraries look.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join(LOCKS).join(OURS).join("queue")
    }
}

/// What a repository has in a cache.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RepoFolder {
    cache: PathBuf,
    name: String,
}

impl RepoFolder {
    /// The folder of a name that was read from the cache.
    pub(crate) fn named(cache: &Path, name: &str) -> Self {
        Self { cache: cache.to_owned(), name: name.to_owned() }
    }

    /// Returns the folder of it all.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.cache.join(&self.name)
    }

    /// Returns the folder of the bytes.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.folder().join("blobs")
    }

    /// Returns where the bytes of this digest lie.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.to_string())
    }

    /// Returns the folder of the snapshots.
    #[must_use]
    pub fn snapshots(&self) -> PathBuf {
        self.folder().join("snapshots")
    }

    /// Returns the folder in which the files of a commit are found by their names.
    #[must_use]
    pub fn snapshot(&self, commit: &Commit) -> PathBuf {
        self.snapshots().join(commit.as_str())
    }

    /// Returns the folder of the revisions.
    #[must_use]
    pub fn refs(&self) -> PathBuf {
        self.folder().join("refs")
    }

    /// Returns the file that holds the commit of a revision.
    #[must_use]
    pub fn reference(&self, revision: &Revision) -> PathBuf {
        revision.as_str().split('/').fold(self.refs(), |path, part| path.join(part))
    }

    /// Returns the file that holds the listing of a commit whose files are all here.
    #[must_use]
    pub fn tree(&self, commit: &Commit) -> PathBuf {
        self.folder().join("trees").join(format!("{commit}.json"))
    }

    /// Returns the file that says that a commit has no such file.
    #[must_use]
    pub fn absent(&self, commit: &Commit, path: &FilePath) -> PathBuf {
        path.beneath(&self.folder().join(".no_exist").join(commit.as_str()))
    }

    /// Returns the file whose lock those have who write the bytes of this name.
    pub(crate) fn lock(&self, blob: &str) -> PathBuf {
        self.locks().join(format!("{blob}.lock"))
    }

    pub(crate) fn locks(&self) -> PathBuf {
        self.cache.join(LOCKS).join(&self.name)
    }

    /// Ours.
    pub(crate) fn ours(&self) -> PathBuf {
        self.folder().join(OURS)
    }

    /// The listing of a commit, whether its files are here or not.
    pub(crate) fn listing(&self, commit: &Commit) -> PathBuf {
        self.ours().join(format!("{commit}.json"))
    }
}

/// The text of the link from a file of a snapshot to its bytes: relative, so that a cache can be moved.
#[must_use]
pub fn link_text(path: &FilePath, digest: &Digest) -> PathBuf {
    let up = "../".repeat(2 + path.depth());
    PathBuf::from(format!("{up}blobs/{digest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_from_the_snapshot_to_the_bytes() {
        let digest = Digest::git_sha1(&"1f".repeat(20)).unwrap();
        let commit: Commit = "0".repeat(40).parse().unwrap();
        let repo = Cache::new("/c").repo(&"org/tiny".parse().unwrap());
        for name in ["config.json", "a/b/c.txt"] {
            let path = FilePath::parse(name).unwrap();
            let file = path.beneath(&repo.snapshot(&commit));
            let mut there = file.parent().unwrap().to_owned();
            for part in link_text(&path, &digest).components() {
                match part {
                    std::path::Component::ParentDir => assert!(there.pop()),
                    part => there.push(part),
                }
            }
            assert_eq!(repo.blob(&digest), there, "{name}");
        }
    }

    #[test]
    fn nested_revisions_have_nested_files() {
        let repo = Cache::new("/c").repo(&"tiny".parse().unwrap());
        let path = repo.reference(&"refs/pr/1".parse().unwrap());
        assert_eq!(Path::new("/c/models--tiny/refs/refs/pr/1"), path);
    }
}
