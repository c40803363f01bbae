//! Names of files as hubs give them, checked before they become paths. Pure.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Bytes of one part of a name that file systems take.
const PART_BYTES_MAX: usize = 255;
/// Bytes of a whole name, so that it fits under any folder (Linux takes paths of 4096).
const NAME_BYTES_MAX: usize = 2048;
/// Names that are devices on Windows, with any ending.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
/// The same, followed by a digit.
const NUMBERED_DEVICES: [&str; 2] = ["com", "lpt"];
/// What names of transfers under way hold; such a name would be taken for one.
const RESERVED: &str = ".fetching";
/// Where those who fetch into a folder keep their notes: we, and the hub's own client.
const NOTES: [&str; 2] = [".cache/download/", ".cache/huggingface/"];

/// Why a name cannot be a file beneath the target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NameFault {
    /// There is nothing in it, or between two slashes of it.
    Empty,
    /// It begins at a root: `/a`, `\a`, `C:/a`, `\\server\a`.
    Absolute,
    /// It leads up: `..`.
    Up,
    /// A part of it is `.`.
    Dot,
    /// It holds a backslash, which is a slash to some systems.
    Backslash,
    /// It holds a control character, such as NUL or a line break.
    Control,
    /// It, or a part of it, is longer than file systems take.
    Long,
    /// A part of it ends with a dot or a space, which some systems drop.
    TrailingDot,
    /// A part of it is a device to some systems.
    Device,
    /// It is like the names of transfers under way.
    Reserved,
    /// It is listed twice.
    Twice,
    /// Only upper and lower case tell it from another, and not on all systems.
    CaseClash,
    /// It is both a file and the folder of another.
    FileAndFolder,
}

impl NameFault {
    fn told(self) -> &'static str {
        match self {
            Self::Empty => "has an empty part",
            Self::Absolute => "begins at a root",
            Self::Up => "leads up and out",
            Self::Dot => "has a part that is a dot",
            Self::Backslash => "holds a backslash",
            Self::Control => "holds a control character",
            Self::Long => "is too long",
            Self::TrailingDot => "has a part that ends with a dot or a space",
            Self::Device => "is a device to some systems",
            Self::Reserved => "is like the name of a transfer",
            Self::Twice => "is listed twice",
            Self::CaseClash => "differs from another by case alone",
            Self::FileAndFolder => "is the folder of another",
        }
    }
}

/// A name that was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NameError {
    /// The name.
    pub name: String,
    /// What is wrong with it.
    pub fault: NameFault,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Debug escapes what could be taken for a command of the terminal.
        write!(f, "the file name {:?} {}", self.name, self.fault.told())
    }
}

impl std::error::Error for NameError {}

/// The name of a file beneath some folder: it can be joined to any, by the rules of any system.
///
/// # Examples
///
/// ```
/// use download::{FilePath, NameFault};
///
/// let path = FilePath::parse("text_encoder/model.safetensors")?;
/// assert_eq!(std::path::Path::new("/m/text_encoder/model.safetensors"), path.beneath("/m".as_ref()));
/// assert_eq!(NameFault::Up, FilePath::parse("../.ssh/id_rsa").unwrap_err().fault);
/// # Ok::<(), download::NameError>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FilePath(String);

impl FilePath {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`NameError`] names the first fault.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        match fault(name) {
            Some(fault) => Err(NameError { name: name.to_owned(), fault }),
            None => Ok(Self(name.to_owned())),
        }
    }

    /// Returns the name, with `/` between folders.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path beneath a folder.
    #[must_use]
    pub fn beneath(&self, folder: &Path) -> PathBuf {
        self.0.split('/').fold(folder.to_owned(), |path, part| path.join(part))
    }

    /// Whether it would lie among the notes of who fetches into a folder, or in their place. By the rules of
    /// systems that do not tell case.
    pub(crate) fn is_note(&self) -> bool {
        let lower = self.0.to_lowercase() + "/";
        lower == ".cache/" || NOTES.iter().any(|notes| lower.starts_with(notes))
    }

    /// Returns how many folders it lies in.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.matches('/').count()
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn fault(name: &str) -> Option<NameFault> {
    let bytes = name.as_bytes();
    let has_drive = bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':';
    if name.starts_with(['/', '\\']) || has_drive {
        return Some(NameFault::Absolute);
    }
    if name.chars().any(char::is_control) {
        return Some(NameFault::Control);
    }
    if name.contains('\\') {
        return Some(NameFault::Backslash);
    }
    if NAME_BYTES_MAX < name.len() {
        return Some(NameFault::Long);
    }
    name.split('/').find_map(part_fault)
}

fn part_fault(part: &str) -> Option<NameFault> {
    let stem = part.split('.').next().unwrap_or_default().to_ascii_lowercase();
    match part {
        "" => Some(NameFault::Empty),
        "." => Some(NameFault::Dot),
        ".." => Some(NameFault::Up),
        _ if PART_BYTES_MAX < part.len() => Some(NameFault::Long),
        _ if part.ends_with(['.', ' ']) => Some(NameFault::TrailingDot),
        _ if is_device(stem.trim_end()) => Some(NameFault::Device),
        _ if part.starts_with('.') && part.contains(RESERVED) => Some(NameFault::Reserved),
        _ => None,
    }
}

fn is_device(stem: &str) -> bool {
    let is_numbered = |device: &str| {
        let number = stem.strip_prefix(device).unwrap_or_default();
        number.len() == 1 && number.bytes().all(|byte| (b'1'..=b'9').contains(&byte))
    };
    DEVICES.contains(&stem) || NUMBERED_DEVICES.iter().any(|device| is_numbered(device))
}

/// Checks that names can lie beneath one folder together, by the rules of systems that do not tell case.
///
/// # Errors
///
/// [`NameError`] names one of the two that are in each other's way.
pub fn check_together<'a>(names: impl Iterator<Item = &'a FilePath>) -> Result<(), NameError> {
    // What each lower-case name is: a file (so spelled), or a folder.
    let mut taken: HashMap<String, Option<&'a FilePath>> = HashMap::new();
    for name in names {
        let error = |fault| Err(NameError { name: name.0.clone(), fault });
        let lower = name.0.to_lowercase();
        for (slash, _) in lower.match_indices('/') {
            if let Some(Some(_)) = taken.get(&lower[..slash]) {
                return error(NameFault::FileAndFolder);
            }
            if !taken.contains_key(&lower[..slash]) {
                taken.insert(lower[..slash].to_owned(), None);
            }
        }
        match taken.insert(lower, Some(name)) {
            None => {}
            Some(None) => return error(NameFault::FileAndFolder),
            Some(Some(other)) if other == name => return error(NameFault::Twice),
            Some(Some(_)) => return error(NameFault::CaseClash),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(name: &str, expected: NameFault) {
        let error = FilePath::parse(name).unwrap_err();
        assert_eq!((expected, name), (error.fault, &*error.name));
    }

    #[test]
    fn what_leads_elsewhere_is_refused_by_name() {
        for name in
            ["/etc/passwd", "//server/share", "\\a", "\\\\server\\share", "C:/a", "c:a", "C:\\a"]
        {
            check(name, NameFault::Absolute);
        }
        for name in ["..", "../a", "a/../../b", "a/.."] {
            check(name, NameFault::Up);
        }
        check("a\\..\\b", NameFault::Backslash);
        check("./a", NameFault::Dot);
    }

    #[test]
    fn what_no_system_or_not_every_system_takes_is_refused() {
        for name in ["a\0", "a\nb", "a/\r", "\u{85}"] {
            check(name, NameFault::Control);
        }
        for name in ["", "a//b", "a/"] {
            check(name, NameFault::Empty);
        }
        for name in ["a.", "a ", "a./b", "..."] {
            check(name, NameFault::TrailingDot);
        }
        for name in ["CON", "nul.txt", "a/Aux", "com1.bin", "LPT9", "con .txt"] {
            check(name, NameFault::Device);
        }
        check(&"x".repeat(256), NameFault::Long);
        check(&"x/".repeat(1100), NameFault::Long);
        check(".model.fetching.k.s.part", NameFault::Reserved);
    }

    #[test]
    fn ordinary_names_are_taken() {
        for name in [
            "config.json",
            ".gitattributes",
            "a b/c (1).txt",
            "onnx/model.onnx_data",
            "com10",
            "..a",
            "a..b",
            "モデル.bin",
            "1_Pooling/config.json",
            "console",
            "auxiliary.py",
        ] {
            assert!(FilePath::parse(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn notes_are_told_from_files() {
        let is_note = |name: &str| FilePath::parse(name).unwrap().is_note();
        for name in
            [".cache/download/verified", ".Cache/Huggingface/x", ".cache", ".cache/download"]
        {
            assert!(is_note(name), "{name}");
        }
        for name in [".cache/other", ".cache/downloads", "a/.cache/download/verified", "cache"] {
            assert!(!is_note(name), "{name}");
        }
    }

    fn together(names: &[&str]) -> Option<NameFault> {
        let names: Vec<_> = names.iter().map(|name| FilePath::parse(name).unwrap()).collect();
        check_together(names.iter()).err().map(|error| error.fault)
    }

    #[test]
    fn names_in_each_others_way_are_refused() {
        assert_eq!(Some(NameFault::CaseClash), together(&["a/B", "A/b"]));
        assert_eq!(Some(NameFault::Twice), together(&["a", "a"]));
        assert_eq!(Some(NameFault::CaseClash), together(&["Ä", "ä"]));
        assert_eq!(Some(NameFault::FileAndFolder), together(&["a", "a/b"]));
        assert_eq!(Some(NameFault::FileAndFolder), together(&["A/b", "a"]));
        assert_eq!(None, together(&["a/b", "a/c", "b", "ab"]));
    }

    proptest! {
        /// Whatever the name, a path that is made from it lies beneath the folder.
        #[test]
        fn no_name_leads_out(name in "(\\.\\.|\\.|/|\\\\|[a-cA-C:. \\x00]){0,12}") {
            if let Ok(path) = FilePath::parse(&name) {
                let full = path.beneath(Path::new("/folder"));
                let parts: Vec<_> = full.components().collect();
                prop_assert_eq!(path.depth() + 3, parts.len());
                prop_assert!(full.starts_with("/folder"));
                prop_assert!(parts[1..].iter().all(|p| matches!(p, std::path::Component::Normal(_))));
            }
        }
    }
}
