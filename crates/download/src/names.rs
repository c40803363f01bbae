//! The files of a transfer beside its target: how they are named, and whose they are.
//!
//! ```text
//! .NAME.fetching                                a sign that there is something to look for
//! .NAME.fetching.KEY.SERIAL.part                the bytes
//! .NAME.fetching.KEY.SERIAL.journal.OWNER       what is known of them, and whose they are
//! ```
//!
//! The journal's name names its owner, and to take it over is to rename it. A rename has one winner, on
//! every file system; so two processes never write to one part, whether locks work or not.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

use crate::seam;

/// A name that leaves room for what is put around it; most file systems allow 255 bytes.
const STEM_BYTES_MAX: usize = 100;

/// Makes serials unique within the process; it guards nothing.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// A process: where its number is valid, the number, and when it started.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Owner {
    pub(crate) place: String,
    pub(crate) process: (u32, u64),
}

impl Owner {
    pub(crate) fn this() -> Self {
        Self { place: seam::place().to_owned(), process: seam::process() }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let place = parts.next()?.to_owned();
        Some(Self { place, process: (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?) })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.place, self.process.0, self.process.1)
    }
}

/// The names around one target.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    folder: PathBuf,
    stem: String,
    /// What is fetched: so that bytes of one address or for one digest are not taken for another's.
    key: String,
}

impl Names {
    pub(crate) fn of(target: &Path, address: &str, digest: Option<&str>) -> Self {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let stem =
            if name.len() <= STEM_BYTES_MAX { name.into_owned() } else { hex(name.as_bytes(), 16) };
        let key = hex(format!("{address}\n{}", digest.unwrap_or_default()).as_bytes(), 6);
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        Self { folder: folder.to_owned(), stem, key }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The sign that there is something to look for.
    pub(crate) fn sign(&self) -> PathBuf {
        self.folder.join(format!(".{}.fetching", self.stem))
    }

    /// New files, of this process.
    pub(crate) fn fresh(&self) -> Leftover {
        let owner = Owner::this();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let serial = format!("{owner}-{count}");
        Leftover { names: self.clone(), key: self.key.clone(), serial, owner: Some(owner) }
    }

    /// Reads the name of a part or a journal around this target.
    pub(crate) fn parse(&self, name: &OsStr) -> Option<Leftover> {
        let rest = name.to_str()?.strip_prefix(&format!(".{}.fetching.", self.stem))?;
        let mut fields = rest.split('.');
        let (key, serial) = (fields.next()?.to_owned(), fields.next()?.to_owned());
        let owner = match (fields.next()?, fields.next()) {
            ("part", None) => None,
            ("journal", Some(owner)) => Some(Owner::parse(owner)?),
            _ => return None,
        };
        fields.next().is_none().then(|| Leftover { names: self.clone(), key, serial, owner })
    }
}

/// A part and its journal.
#[derive(Clone, Debug)]
pub(crate) struct Leftover {
    names: Names,
    key: String,
    serial: String,
    /// `None` when only the part is meant.
    pub(crate) owner: Option<Owner>,
}

impl Leftover {
    /// Whether it is of what is to be fetched now.
    pub(crate) fn is_same(&self) -> bool {
        self.key == self.names.key
    }

    pub(crate) fn is_of(&self, other: &Self) -> bool {
        (&self.key, &self.serial) == (&other.key, &other.serial)
    }

    pub(crate) fn part(&self) -> PathBuf {
        self.path("part")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        let owner = self.owner.as_ref().map_or_else(String::new, ToString::to_string);
        self.path(&format!("journal.{owner}"))
    }

    /// The same under the name of this process.
    pub(crate) fn ours(&self) -> Self {
        Self { owner: Some(Owner::this()), ..self.clone() }
    }

    fn path(&self, what: &str) -> PathBuf {
        let Self { names, key, serial, .. } = self;
        names.folder.join(format!(".{}.fetching.{key}.{serial}.{what}", names.stem))
    }
}

/// The first bytes of a SHA-256, in hexadecimal.
fn hex(bytes: &[u8], n: usize) -> String {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    hash[..n].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(target: &str) -> Names {
        Names::of(Path::new(target), "http://a/b", None)
    }

    #[test]
    fn names_read_back() {
        for target in ["/a/model.safetensors", "bare", "/a/.hidden..name", "/a/part.journal.x"] {
            let names = names(target);
            let fresh = names.fresh();
            let read = names.parse(fresh.journal().file_name().unwrap()).unwrap();
            assert!(read.is_of(&fresh) && read.is_same());
            assert_eq!(Some(Owner::this()), read.owner);
            let read = names.parse(fresh.part().file_name().unwrap()).unwrap();
            assert!(read.is_of(&fresh) && read.owner.is_none());
        }
    }

    #[test]
    fn names_of_others_are_left_alone() {
        let names = names("/a/b");
        for name in
            ["b", ".b.fetching", ".b.fetching.x", ".c.fetching.k.s.part", ".b.fetching.k.s.tmp"]
        {
            assert!(names.parse(OsStr::new(name)).is_none(), "{name}");
        }
    }

    #[test]
    fn another_address_or_digest_is_another_object() {
        let fresh = names("/a/b").fresh();
        let journal = fresh.journal();
        let name = journal.file_name().unwrap();
        let other = Names::of(Path::new("/a/b"), "http://a/c", None);
        assert!(!other.parse(name).unwrap().is_same());
        let other = Names::of(Path::new("/a/b"), "http://a/b", Some("sha256:00"));
        assert!(!other.parse(name).unwrap().is_same());
    }

    #[test]
    fn long_names_leave_room() {
        let names = names(&format!("/a/{}", "x".repeat(255)));
        assert!(names.fresh().journal().file_name().unwrap().len() < 255);
    }
}
