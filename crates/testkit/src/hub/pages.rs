//! Listings, page by page. Pure.

use serde_json::{Value, json};

use super::catalog::{Stored, StoredFile};
use crate::blob::digests_of;
use crate::origin::Request;

/// Bytes of a pointer that git keeps in place of a large file.
const POINTER_BYTES: u64 = 135;

/// How a listing is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    /// Whether folders in the folder are opened.
    recursive: bool,
    /// Whether the last commit and the scans are told.
    expand: bool,
    /// Entries of the pages before.
    cursor: usize,
}

/// One page.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) entries: Vec<Value>,
    /// The query of the next one; `None` if this is the last.
    pub(super) next: Option<String>,
}

impl Listing {
    /// Reads the query; what it does not tell is as the real hub has it.
    pub(super) fn of(request: &Request) -> Self {
        let flag = |name| {
            request.parameter(name).is_some_and(|value| matches!(value, "true" | "True" | "1"))
        };
        let cursor = request.parameter("cursor").and_then(|cursor| cursor.parse().ok());
        Self { recursive: flag("recursive"), expand: flag("expand"), cursor: cursor.unwrap_or(0) }
    }

    /// Lists a folder, or the whole repository if that is empty.
    pub(super) fn page(&self, repo: &Stored, folder: &str, page_size: usize) -> Page {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let inside = |path: &str| {
            path.strip_prefix(&*prefix).is_some_and(|rest| self.recursive || !rest.contains('/'))
        };
        let folders = repo.folders.iter().filter(|path| inside(path)).map(|path| (path, None));
        let files = repo.files.iter().filter(|(path, _)| inside(path));
        let all = folders.chain(files.map(|(path, file)| (path, Some(file))));
        let mut rest = all.skip(self.cursor);
        let entries = rest.by_ref().take(page_size).map(|(path, file)| self.entry(path, file));
        let entries: Vec<_> = entries.collect();
        let next = rest.next().map(|_| {
            let Self { recursive, expand, cursor } = self;
            format!("recursive={recursive}&expand={expand}&cursor={}", cursor + entries.len())
        });
        Page { entries, next }
    }

    fn entry(&self, path: &str, file: Option<&StoredFile>) -> Value {
        let mut entry = match file {
            Some(file) => describe(path, file),
            None => {
                let oid = &digests_of(path.as_bytes()).git_sha1;
                json!({"type": "directory", "path": path, "oid": oid, "size": 0})
            }
        };
        if self.expand && file.is_some() {
            entry["securityFileStatus"] = json!({"status": "safe"});
        }
        entry
    }
}

/// A file as a listing has it.
fn describe(path: &str, file: &StoredFile) -> Value {
    let (digests, size) = (file.digests(), file.size());
    let mut entry = json!({"type": "file", "path": path, "size": size, "oid": digests.git_sha1});
    if file.lfs {
        entry["lfs"] = large(file);
    }
    entry
}

fn large(file: &StoredFile) -> Value {
    let (sha256, size) = (&file.digests().sha256, file.size());
    json!({"oid": sha256, "size": size, "pointerSize": POINTER_BYTES})
}

/// Puts the digests of large files in capitals.
pub(super) fn capitalize(entries: &mut [Value]) {
    for oid in entries.iter_mut().filter_map(|entry| entry.pointer_mut("/lfs/oid")) {
        *oid = oid.as_str().map(str::to_uppercase).into();
    }
}

/// A file as the description of a repository has it, with or without what is in it.
pub(super) fn sibling(path: &str, file: &StoredFile, blobs: bool) -> Value {
    let mut sibling = json!({"rfilename": path});
    if blobs {
        sibling["size"] = json!(file.size());
        sibling["blobId"] = json!(file.digests().git_sha1);
        if file.lfs {
            let (sha256, size) = (&file.digests().sha256, file.size());
            sibling["lfs"] = json!({"sha256": sha256, "size": size, "pointerSize": POINTER_BYTES});
        }
    }
    sibling
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hub::Catalog;
    use crate::{HubFile, HubRepo};

    fn catalog() -> Catalog {
        let paths = ["a", "b/c", "b/d/e", "f"];
        let repo = HubRepo::new("r", "0".repeat(40));
        Catalog::new(vec![
            paths.iter().fold(repo, |repo, path| repo.with(HubFile::text(*path, ""))),
        ])
        .unwrap()
    }

    fn paths(page: &Page) -> Vec<&str> {
        page.entries.iter().map(|entry| entry["path"].as_str().unwrap()).collect()
    }

    fn listing(query: &str) -> Listing {
        Listing::of(&Request { query: query.to_owned(), ..Request::default() })
    }

    #[test]
    fn a_folder_is_listed_flat_or_deep() {
        let catalog = catalog();
        let repo = catalog.repo("r").unwrap();
        let list = |query, folder| {
            let page = listing(query).page(repo, folder, 10);
            paths(&page).join(" ")
        };
        assert_eq!("b a f", list("", ""));
        assert_eq!("b b/d a b/c b/d/e f", list("recursive=true", ""));
        assert_eq!("b/d b/c", list("recursive=false", "b"));
        assert_eq!("", list("", "a"));
    }

    proptest! {
        #[test]
        fn pages_are_the_whole_in_pieces(page_size in 1_usize..9) {
            let catalog = catalog();
            let repo = catalog.repo("r").unwrap();
            let whole = listing("recursive=true").page(repo, "", 100);
            let (mut query, mut seen, mut pages) = (Some("recursive=true".to_owned()), Vec::new(), 0);
            while let Some(next) = query {
                let page = listing(&next).page(repo, "", page_size);
                prop_assert!(!page.entries.is_empty() && page.entries.len() <= page_size);
                seen.extend(page.entries);
                (query, pages) = (page.next, pages + 1);
            }
            prop_assert_eq!(whole.entries.len().div_ceil(page_size), pages);
            prop_assert_eq!(whole.entries, seen);
        }
    }
}
