//! What a hub has, made ready to be looked up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::describe::{HubContent, HubFile, HubRepo};
use crate::blob::{Digests, digests_of};
use crate::origin::{Content, Object};

/// The longest part of a repository's name.
const NAME_CHARS_MAX: usize = 96;

/// All repositories by id.
#[derive(Debug)]
pub(crate) struct Catalog {
    repos: BTreeMap<String, Stored>,
}

/// A repository.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) id: String,
    revisions: BTreeMap<String, String>,
    pub(super) gated: bool,
    pub(super) token: Option<String>,
    /// By path; of two files of one path the last.
    pub(super) files: BTreeMap<String, StoredFile>,
    /// Folders that hold files, at any depth.
    pub(super) folders: BTreeSet<String>,
}

/// A file.
#[derive(Debug)]
pub(super) struct StoredFile {
    pub(super) lfs: bool,
    content: Content,
    /// Of text; blobs keep their own.
    digests: Option<Digests>,
}

impl Catalog {
    pub(super) fn new(repos: Vec<HubRepo>) -> Result<Self, String> {
        let mut by_id = BTreeMap::new();
        for repo in repos {
            check(&repo)?;
            let id = repo.id.clone();
            if by_id.insert(id.clone(), Stored::new(repo)).is_some() {
                return Err(format!("two repositories are named `{id}`"));
            }
        }
        Ok(Self { repos: by_id })
    }

    pub(super) fn repo(&self, id: &str) -> Option<&Stored> {
        self.repos.get(id)
    }
}

impl Stored {
    fn new(repo: HubRepo) -> Self {
        let HubRepo { id, revisions, gated, token, files } = repo;
        let files: BTreeMap<_, _> =
            files.into_iter().map(|file| (file.path.clone(), StoredFile::new(file))).collect();
        let folders = files.keys().flat_map(|path| above(path)).map(str::to_owned).collect();
        Self { id, revisions, gated, token, files, folders }
    }

    /// Returns the commit that a branch, a tag or a commit stands for.
    pub(super) fn commit(&self, revision: &str) -> Option<&str> {
        let named = self.revisions.get(revision);
        let commit = named.or_else(|| self.revisions.values().find(|commit| **commit == revision));
        commit.map(String::as_str)
    }

    /// Returns the branches with their commits.
    pub(super) fn revisions(&self) -> &BTreeMap<String, String> {
        &self.revisions
    }

    /// Returns the commit of `main`, else that of the first branch.
    pub(super) fn head(&self) -> Option<&str> {
        self.commit("main").or_else(|| self.revisions.values().next().map(String::as_str))
    }
}

impl StoredFile {
    fn new(file: HubFile) -> Self {
        let lfs = file.lfs;
        match file.content {
            HubContent::Text(text) => {
                let bytes: Arc<[u8]> = text.into_bytes().into();
                let digests = Some(digests_of(&bytes));
                Self { lfs, content: Content::Bytes(bytes), digests }
            }
            HubContent::Blob(blob) => Self { lfs, content: Content::Blob(blob), digests: None },
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.content.size()
    }

    pub(super) fn digests(&self) -> &Digests {
        match &self.content {
            Content::Blob(blob) => blob.digests(),
            _ => self.digests.as_ref().expect("what is no blob has its digests from the start"),
        }
    }

    /// What names its content: the SHA-256 of a large file, git's SHA-1 of a small one.
    pub(super) fn etag(&self) -> &str {
        if self.lfs { &self.digests().sha256 } else { &self.digests().git_sha1 }
    }

    /// Returns its bytes, with this name as their `ETag`.
    pub(super) fn object(&self) -> Object {
        let etag = format!("\"{}\"", self.etag());
        Object { content: self.content.clone(), etag, modified: None }
    }
}

/// The folders that a path lies in, from the nearest up.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(slash, _)| &path[..slash]).filter(|folder| !folder.is_empty())
}

fn check(repo: &HubRepo) -> Result<(), String> {
    let id = &repo.id;
    let parts: Vec<_> = id.split('/').collect();
    if 2 < parts.len() || !parts.iter().all(|part| is_name(part)) {
        return Err(format!("`{id}` is no name of a repository: write NAME or ORGANIZATION/NAME"));
    }
    if repo.revisions.is_empty() {
        return Err(format!("`{id}` has no revision"));
    }
    let is_commit = |text: &str| text.len() == 40 && text.bytes().all(is_lower_hex);
    match repo.revisions.values().find(|commit| !is_commit(commit)) {
        Some(commit) => Err(format!("`{id}`: `{commit}` is no commit of 40 lower-case hex digits")),
        None => Ok(()),
    }
}

fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

fn is_name(part: &str) -> bool {
    let allowed = |char: char| char.is_alphanumeric() || "_-.".contains(char);
    (1..=NAME_CHARS_MAX).contains(&part.chars().count())
        && part.chars().all(allowed)
        && !part.contains("--")
        && !part.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn branches_and_commits_are_revisions() {
        let catalog = Catalog::new(vec![HubRepo::new("org/a", COMMIT)]).unwrap();
        let repo = catalog.repo("org/a").unwrap();
        assert_eq!((Some(COMMIT), Some(COMMIT)), (repo.commit("main"), repo.commit(COMMIT)));
        assert_eq!(None, repo.commit("dev"));
    }

    #[test]
    fn digests_are_those_of_git_and_of_large_files() {
        let text = StoredFile::new(HubFile::text("a", "hello\n"));
        assert_eq!("ce013625030ba8dba906f756967f9e9ca394464a", text.etag());
        let blob = StoredFile::new(HubFile::blob("b", 9, 1));
        assert_eq!(64, blob.etag().len());
    }

    #[test]
    fn folders_are_those_above_files() {
        let repo = HubRepo::new("a", COMMIT)
            .with(HubFile::text("x/y/z", ""))
            .with(HubFile::text("/w", ""));
        assert_eq!(["x", "x/y"], *Stored::new(repo).folders.iter().collect::<Vec<_>>());
    }

    #[test]
    fn what_no_hub_has_is_refused() {
        let refused = |repo: HubRepo| Catalog::new(vec![repo]).unwrap_err();
        assert!(refused(HubRepo::new("a/b/c", COMMIT)).contains("no name of a repository"));
        assert!(refused(HubRepo::new("a--b", COMMIT)).contains("no name of a repository"));
        assert!(refused(HubRepo::new("a", "main")).contains("no commit"));
        let twice = vec![HubRepo::new("a", COMMIT), HubRepo::new("a", COMMIT)];
        assert_eq!("two repositories are named `a`", Catalog::new(twice).unwrap_err());
    }
}
