//! The listing of a commit as it is kept: the format of the hub's own client. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::hub::Entry;

/// The only version there is (`huggingface_hub` 2.4.0, `_tree_cache.py`).
const VERSION: u32 = 1;

#[derive(Deserialize, Serialize)]
struct Tree {
    format_version: u32,
    files: BTreeMap<String, File>,
}

#[derive(Deserialize, Serialize)]
struct File {
    size: u64,
    blob_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lfs_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lfs_size: Option<u64>,
}

/// Writes a listing.
pub(crate) fn to_json(entries: &[Entry]) -> Vec<u8> {
    let files = entries.iter().map(|entry| (entry.path.clone(), file(entry))).collect();
    let tree = Tree { format_version: VERSION, files };
    serde_json::to_vec(&tree).expect("a listing holds texts and numbers")
}

fn file(entry: &Entry) -> File {
    let sha256 = entry.digest.filter(|digest| matches!(digest, Digest::Sha256(_)));
    let blob = entry.pointer.or(entry.digest);
    File {
        size: entry.bytes,
        blob_id: blob.map(|blob| blob.to_string()).unwrap_or_default(),
        lfs_sha256: sha256.map(|digest| digest.to_string()),
        lfs_size: sha256.map(|_| entry.bytes),
    }
}

/// Reads a listing; `None` for another version, or what is none: then the hub is asked.
pub(crate) fn from_json(json: &[u8]) -> Option<Vec<Entry>> {
    let tree: Tree = serde_json::from_slice(json).ok()?;
    (tree.format_version == VERSION).then_some(())?;
    tree.files.into_iter().map(|(path, file)| entry(path, &file)).collect()
}

fn entry(path: String, file: &File) -> Option<Entry> {
    let pointer = Digest::git_sha1(&file.blob_id).ok();
    let digest = match &file.lfs_sha256 {
        Some(sha256) => Digest::sha256(sha256).ok()?,
        None => pointer?,
    };
    let bytes = file.lfs_size.unwrap_or(file.size);
    Some(Entry { path, bytes, digest: Some(digest), pointer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_reads_back() {
        let small = Digest::git_sha1(&"1f".repeat(20)).ok();
        let large = Digest::sha256(&"2e".repeat(32)).ok();
        let entry =
            |path: &str, digest| Entry { path: path.to_owned(), bytes: 7, digest, pointer: small };
        let entries = vec![entry("a", small), entry("b/c", large)];
        assert_eq!(Some(entries.clone()), from_json(&to_json(&entries)));
    }

    #[test]
    fn what_is_no_listing_is_none() {
        for text in [
            "",
            "{}",
            r#"{"format_version":2,"files":{}}"#,
            r#"{"format_version":1,"files":{"a":{"size":1,"blob_id":"../../x"}}}"#,
        ] {
            assert_eq!(None, from_json(text.as_bytes()), "{text}");
        }
    }
}
