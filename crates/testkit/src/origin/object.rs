//! What can be fetched: blobs, bytes in memory, files of a folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::request::percent_decoded;
use crate::Blob;
use crate::blob::finalize;

/// Bytes that can be read from any offset.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Blob(Blob),
    Bytes(Arc<[u8]>),
    File { file: Arc<File>, size: u64 },
}

/// Something with an address.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) content: Content,
    /// Strong, with its quotes.
    pub(crate) etag: String,
    /// As Last-Modified gives it; blobs and bytes have none.
    pub(crate) modified: Option<String>,
}

impl Content {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Blob(blob) => blob.size(),
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }

    /// Fills the buffer from `offset` on. Files are read in place: they lie in the page cache or on a
    /// disk that a test can wait for.
    pub(crate) fn fill(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Blob(blob) => blob.fill(offset, buffer),
            Self::Bytes(bytes) => {
                let start = usize::try_from(offset).expect("an offset within memory fits");
                buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
            }
            Self::File { file, .. } => file.read_exact_at(buffer, offset)?,
        }
        Ok(())
    }
}

impl From<&Blob> for Object {
    fn from(blob: &Blob) -> Self {
        let etag = format!("\"{:x}-{:x}\"", blob.seed(), blob.size());
        Self { content: Content::Blob(blob.clone()), etag, modified: None }
    }
}

impl From<&Arc<[u8]>> for Object {
    fn from(bytes: &Arc<[u8]>) -> Self {
        let mix = |sum: u64, &byte: &u8| finalize(sum.wrapping_add(u64::from(byte) + 1));
        let etag = format!("\"{:x}-{:x}\"", bytes.iter().fold(0, mix), bytes.len());
        Self { content: Content::Bytes(Arc::clone(bytes)), etag, modified: None }
    }
}

/// All objects of an origin, found by path.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub(crate) blobs: BTreeMap<String, Blob>,
    pub(crate) bytes: BTreeMap<String, Arc<[u8]>>,
    /// An absolute path without links in it.
    pub(crate) root: Option<PathBuf>,
}

impl Shelf {
    /// Looks a path up, as it came, with its percent signs; blobs win over bytes, those over files.
    pub(crate) fn find(&self, path: &str) -> Option<Object> {
        let name = percent_decoded(path.strip_prefix('/')?)?;
        let blob = self.blobs.get(&name).map(Object::from);
        let bytes = || self.bytes.get(&name).map(Object::from);
        blob.or_else(bytes).or_else(|| self.open(&name))
    }

    fn open(&self, name: &str) -> Option<Object> {
        let root = self.root.as_ref()?;
        let inside = |part| matches!(part, Component::Normal(_));
        if name.contains('\0') || !Path::new(name).components().all(inside) {
            return None;
        }
        // Links that lead out of the folder are not followed.
        let path = root.join(name).canonicalize().ok().filter(|path| path.starts_with(root))?;
        let file = File::open(path).ok()?;
        let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let (inode, nanos) = (metadata.ino(), metadata.mtime_nsec());
        let etag = format!("\"{inode:x}-{:x}.{nanos:x}-{:x}\"", metadata.mtime(), metadata.len());
        let modified = metadata.modified().ok().map(httpdate::fmt_http_date);
        let content = Content::File { file: Arc::new(file), size: metadata.len() };
        Some(Object { content, etag, modified })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(root: &Path) -> Shelf {
        Shelf { root: Some(root.canonicalize().unwrap()), ..Shelf::default() }
    }

    #[test]
    fn files_are_found_beneath_the_folder_only() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(root.join("sub/a b"), "inside").unwrap();
        std::fs::write(folder.path().join("secret"), "outside").unwrap();
        std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
        let shelf = shelf(&root);

        assert_eq!(6, shelf.find("/sub/a%20b").unwrap().content.size());
        for path in ["/../secret", "/%2e%2e/secret", "/sub/../../secret", "//etc/passwd", "/link"] {
            assert!(shelf.find(path).is_none(), "{path}");
        }
        for path in ["/sub", "/", "/none", "/a%00b"] {
            assert!(shelf.find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn objects_with_other_bytes_have_other_etags() {
        let etag = |bytes: &[u8]| Object::from(&Arc::from(bytes)).etag;
        assert_ne!(etag(b"ab"), etag(b"ba"));
        assert_ne!(etag(b"\0"), etag(b"\0\0"));
        assert_ne!(
            Object::from(&Blob::new("a", 10, 1)).etag,
            Object::from(&Blob::new("a", 10, 2)).etag
        );
    }
}
