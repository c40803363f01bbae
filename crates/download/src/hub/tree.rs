//! What a commit holds, as a hub lists it page by page. Pure.

use std::fmt;

use serde::Deserialize;
use url::Url;

use crate::digest::{Digest, DigestError};

/// A file of a commit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Where it lies in the repository, as the hub has it: not checked yet.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// What it must be; `None` where nobody said.
    pub digest: Option<Digest>,
    /// The git name of what stands for a large file in the repository.
    pub pointer: Option<Digest>,
}

/// A page of a listing that is not what a hub sends.
#[derive(Debug)]
pub(crate) enum TreeError {
    /// It is no list of files.
    Json(serde_json::Error),
    /// A digest is no digest: it would become part of a path.
    Digest { path: String, error: DigestError },
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(_) => f.write_str("the hub sent no list of files"),
            Self::Digest { path, .. } => write!(f, "the hub lists {path:?} by no digest"),
        }
    }
}

impl std::error::Error for TreeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json(error) => Some(error),
            Self::Digest { error, .. } => Some(error),
        }
    }
}

/// An entry as the hub has it.
#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "type")]
    what: String,
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    oid: String,
    lfs: Option<Large>,
}

#[derive(Deserialize)]
struct Large {
    oid: String,
    size: Option<u64>,
}

/// Reads the files of a page; folders are left out.
pub(crate) fn read_page(json: &[u8]) -> Result<Vec<Entry>, TreeError> {
    let listed: Vec<Listed> = serde_json::from_slice(json).map_err(TreeError::Json)?;
    listed.into_iter().filter(|listed| listed.what == "file").map(entry).collect()
}

fn entry(listed: Listed) -> Result<Entry, TreeError> {
    let Listed { path, size, oid, lfs, .. } = listed;
    let read = match &lfs {
        Some(large) => Digest::sha256(&large.oid),
        None => Digest::git_sha1(&oid),
    };
    let digest = match read {
        Ok(digest) => Some(digest),
        Err(error) => return Err(TreeError::Digest { path, error }),
    };
    let pointer = Digest::git_sha1(&oid).ok();
    let bytes = lfs.and_then(|large| large.size).unwrap_or(size);
    Ok(Entry { path, bytes, digest, pointer })
}

/// Reads which page comes next from a `Link` header (RFC 8288), seen from the present one.
pub(crate) fn next_page(link: &str, page: &Url) -> Option<Url> {
    let next = link.split(',').find(|link| {
        let parameters = link.rsplit_once('>').map_or("", |(_, parameters)| parameters);
        parameters.split(';').any(|one| matches!(one.trim(), "rel=\"next\"" | "rel=next"))
    })?;
    let (_, address) = next.split_once('<')?;
    page.join(address.split_once('>')?.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &str = "9e26dfeeb6e641a33dae4961196235bdb965b21b";
    const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn files_are_named_by_what_checks_their_content() {
        let page = format!(
            r#"[{{"type":"directory","path":"w","oid":"{SHA1}","size":0}},
            {{"type":"file","path":"a","oid":"{SHA1}","size":2,"new":1}},
            {{"type":"file","path":"w/b","oid":"{SHA1}","size":135,
              "lfs":{{"oid":"{}","size":9,"pointerSize":135}}}}]"#,
            SHA256.to_uppercase()
        );
        let entries = read_page(page.as_bytes()).unwrap();
        let told: Vec<_> = entries.iter().map(|e| (&*e.path, e.bytes, e.digest)).collect();
        let small = Digest::git_sha1(SHA1).ok();
        assert_eq!(vec![("a", 2, small), ("w/b", 9, Digest::sha256(SHA256).ok())], told);
    }

    #[test]
    fn digests_that_are_paths_are_refused_by_the_name_of_their_file() {
        for oid in ["../../../etc/passwd", "", &SHA1[1..]] {
            let page = format!(r#"[{{"type":"file","path":"a","oid":"{oid}","size":2}}]"#);
            let error = crate::told(&read_page(page.as_bytes()).unwrap_err());
            assert!(error.contains("\"a\""), "{error}");
            assert_eq!(1, error.matches("a digest has").count(), "{error}");
        }
        assert!(read_page(b"{}").is_err() && read_page(b"").is_err());
    }

    #[test]
    fn the_next_page_is_the_one_that_says_so() {
        let page: Url = "http://hub/api/models/a/tree/main?x=1".parse().unwrap();
        let next = |link| next_page(link, &page).map(String::from);
        let expected = Some("http://hub/api?cursor=2".to_owned());
        assert_eq!(expected, next(r#"<http://hub/api?cursor=2>; rel="next""#));
        assert_eq!(expected, next(r#"<http://hub/p>; rel="prev", </api?cursor=2>; a=b; rel=next"#));
        for link in ["", "<http://hub/p>; rel=\"prev\"", "http://hub/p; rel=\"next\""] {
            assert_eq!(None, next(link), "{link}");
        }
    }
}
