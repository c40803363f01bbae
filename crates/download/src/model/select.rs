//! Which files of a repository are wanted, and which of them first. Pure.

use super::glob::Glob;
use super::path::{FilePath, NameError, check_together};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::hub::Entry;

/// Endings of files that run code when they are loaded.
const PICKLES: [&str; 8] = [".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill"];
/// Endings of other forms that the same weights come in.
const TWINS: [&str; 6] = [".h5", ".msgpack", ".ot", ".tflite", ".onnx", ".onnx_data"];
/// Folders that hold nothing but twins.
const TWIN_FOLDERS: [&str; 5] = ["onnx/", "openvino/", "coreml/", "tf/", "flax/"];
const SAFE: &str = ".safetensors";
/// Endings of what a loader reads before the weights.
const CRITICAL: [&str; 8] =
    [".json", ".txt", ".model", ".jinja", ".py", ".yaml", ".yml", ".tiktoken"];
/// Files of these endings that are larger are data, not settings.
const CRITICAL_BYTES_MAX: u64 = 64 << 20;

/// What is wanted of a repository.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selection {
    /// Only what one of these matches; all, if there are none.
    pub include: Vec<Glob>,
    /// Nothing that one of these matches.
    pub exclude: Vec<Glob>,
    /// Also the other forms of weights that are there as safetensors.
    pub all_formats: bool,
    /// Also files that run code when they are loaded.
    pub allow_pickle: bool,
}

/// A file that is wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WantedFile {
    /// Where it lies beneath the target.
    pub path: FilePath,
    /// Its length.
    pub bytes: u64,
    /// What it must be.
    pub digest: Option<Digest>,
    /// 0 for what a loader reads first (settings, index, tokenizer), 1 for weights.
    pub class: u8,
}

/// Adds sizes up. A hub may tell any: more than can be counted is as much as can be.
pub(crate) fn sum(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

/// What is wanted, and what is left out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wanted {
    /// The files, those that are read first in front.
    pub files: Vec<WantedFile>,
    /// How many files were left out because the same weights come in a better form.
    pub duplicates: usize,
    /// How many files were left out because they would run code.
    pub pickles: usize,
}

/// Why nothing can be selected.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SelectError {
    /// A name leads elsewhere.
    Name(NameError),
    /// There is no other form than one that runs code.
    Pickle {
        /// Such a file.
        path: String,
    },
    /// A name without wildcards is in no repository of this kind.
    Missing {
        /// The name.
        path: String,
    },
    /// Nothing is left.
    Nothing,
}

impl From<SelectError> for Error {
    fn from(error: SelectError) -> Self {
        match error {
            SelectError::Name(name) => {
                let message = format!(
                    "{name}: refused; leave it out with --exclude, or do without the model"
                );
                Self::new(ErrorKind::Integrity, message)
            }
            SelectError::Pickle { path } => Self::new(
                ErrorKind::NotAllowed,
                format!(
                    "{path:?} can run code when it is loaded, and there is no safetensors file: \
                     if you trust its owner, give --allow-pickle"
                ),
            ),
            SelectError::Missing { path } => Self::new(
                ErrorKind::NotFound,
                format!("the model has no file {path:?}: check its name and the revision"),
            ),
            SelectError::Nothing => {
                Self::new(ErrorKind::NotFound, "no file is left: check --include and --exclude")
            }
        }
    }
}

impl Selection {
    /// Chooses among the files of a repository.
    ///
    /// Where weights come as safetensors, their other forms are left out: pickles, TensorFlow, Flax, ONNX,
    /// and one consolidated file beside its parts. What a pattern names is judged by the same rules.
    ///
    /// # Errors
    ///
    /// [`SelectError`]. Only names of files that are wanted are judged.
    pub fn choose(&self, entries: &[Entry]) -> Result<Wanted, SelectError> {
        let is_wanted = |entry: &&Entry| {
            let matched = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(&entry.path));
            (self.include.is_empty() || matched(&self.include)) && !matched(&self.exclude)
        };
        self.check_literals(entries)?;
        let matched: Vec<&Entry> = entries.iter().filter(is_wanted).collect();
        let has_safe = matched.iter().any(|entry| entry.path.ends_with(SAFE));
        let has_parts = matched.iter().any(|entry| is_part(&entry.path));
        let mut wanted = Wanted::default();
        for entry in matched {
            if !self.allow_pickle && is_pickle(&entry.path) {
                if !has_safe {
                    return Err(SelectError::Pickle { path: entry.path.clone() });
                }
                wanted.pickles += 1;
            } else if !self.all_formats && is_duplicate(&entry.path, has_safe, has_parts) {
                wanted.duplicates += 1;
            } else {
                wanted.files.push(file(entry)?);
            }
        }
        check_together(wanted.files.iter().map(|file| &file.path)).map_err(SelectError::Name)?;
        wanted.files.sort_by(|a, b| (a.class, &a.path).cmp(&(b.class, &b.path)));
        if wanted.files.is_empty() {
            return Err(SelectError::Nothing);
        }
        Ok(wanted)
    }

    /// A name that was given as it is must be there.
    fn check_literals(&self, entries: &[Entry]) -> Result<(), SelectError> {
        let literals = self.include.iter().filter_map(Glob::literal);
        for literal in literals {
            if !entries.iter().any(|entry| entry.path == literal) {
                return Err(SelectError::Missing { path: literal.to_owned() });
            }
        }
        Ok(())
    }
}

fn file(entry: &Entry) -> Result<WantedFile, SelectError> {
    let path = FilePath::parse(&entry.path).map_err(SelectError::Name)?;
    let (bytes, digest) = (entry.bytes, entry.digest);
    let lower = entry.path.to_ascii_lowercase();
    let is_critical = bytes <= CRITICAL_BYTES_MAX && ends_with_one(&lower, &CRITICAL);
    Ok(WantedFile { path, bytes, digest, class: u8::from(!is_critical) })
}

fn ends_with_one(path: &str, endings: &[&str]) -> bool {
    endings.iter().any(|ending| path.ends_with(ending))
}

fn is_pickle(path: &str) -> bool {
    ends_with_one(&path.to_ascii_lowercase(), &PICKLES)
}

/// `model-00001-of-00004.safetensors`.
fn is_part(path: &str) -> bool {
    path.ends_with(SAFE) && path.contains("-of-") && !is_consolidated(path)
}

fn is_consolidated(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with("consolidated"))
}

fn is_duplicate(path: &str, has_safe: bool, has_parts: bool) -> bool {
    let lower = path.to_ascii_lowercase();
    let is_twin = is_pickle(path)
        || ends_with_one(&lower, &TWINS)
        || TWIN_FOLDERS.iter().any(|folder| lower.starts_with(folder));
    (has_safe && is_twin) || (has_parts && is_consolidated(path) && lower.ends_with(SAFE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(paths: &[&str]) -> Vec<Entry> {
        let entry = |path: &&str| Entry {
            path: (*path).to_owned(),
            bytes: 10,
            digest: None,
            pointer: None,
        };
        paths.iter().map(entry).collect()
    }

    fn globs(texts: &[&str]) -> Vec<Glob> {
        texts.iter().map(|text| Glob::new(text)).collect()
    }

    fn chosen(selection: &Selection, paths: &[&str]) -> Vec<String> {
        let wanted = selection.choose(&entries(paths)).unwrap();
        wanted.files.into_iter().map(|file| file.path.to_string()).collect()
    }

    const REPO: [&str; 8] = [
        "model.safetensors",
        "config.json",
        "pytorch_model.bin",
        "onnx/model.onnx",
        "onnx/config.json",
        "tf_model.h5",
        "tokenizer.model",
        "training_args.bin",
    ];

    #[test]
    fn duplicates_are_left_out_and_settings_come_first() {
        let plain = Selection::default();
        assert_eq!(["config.json", "tokenizer.model", "model.safetensors"], *chosen(&plain, &REPO));
        let wanted = plain.choose(&entries(&REPO)).unwrap();
        assert_eq!((2, 3), (wanted.pickles, wanted.duplicates));
        let all = Selection { all_formats: true, allow_pickle: true, ..Selection::default() };
        assert_eq!(8, chosen(&all, &REPO).len());
        let all = Selection { all_formats: true, ..Selection::default() };
        assert_eq!(6, chosen(&all, &REPO).len(), "pickles are another question");
    }

    #[test]
    fn parts_are_taken_in_place_of_the_whole() {
        let paths =
            ["consolidated.safetensors", "model-1-of-2.safetensors", "model-2-of-2.safetensors"];
        assert_eq!(paths[1..], *chosen(&Selection::default(), &paths));
        assert_eq!(paths[..1], *chosen(&Selection::default(), &paths[..1]));
    }

    #[test]
    fn patterns_include_and_exclude() {
        let include = Selection { include: globs(&["*.json"]), ..Selection::default() };
        assert_eq!(["config.json", "onnx/config.json"], *chosen(&include, &REPO));
        let exclude = Selection { exclude: globs(&["onnx/"]), ..include };
        assert_eq!(["config.json"], *chosen(&exclude, &REPO));
        let none = Selection { include: globs(&["*.xyz"]), ..Selection::default() };
        assert_eq!(Err(SelectError::Nothing), none.choose(&entries(&REPO)));
        let missing = Selection { include: globs(&["none.json"]), ..Selection::default() };
        assert!(matches!(missing.choose(&entries(&REPO)), Err(SelectError::Missing { .. })));
    }

    #[test]
    fn code_is_taken_when_it_is_allowed_alone() {
        let paths = ["config.json", "pytorch_model.bin"];
        let refused = Selection::default().choose(&entries(&paths));
        assert_eq!(Err(SelectError::Pickle { path: paths[1].to_owned() }), refused);
        let allowed = Selection { allow_pickle: true, ..Selection::default() };
        assert_eq!(paths, *chosen(&allowed, &paths));
    }

    #[test]
    fn hostile_names_are_refused_where_they_are_wanted() {
        let paths = ["config.json", "../evil.json"];
        let refused = Selection::default().choose(&entries(&paths));
        assert!(matches!(refused, Err(SelectError::Name(name)) if name.name == paths[1]));
        let without = Selection { exclude: globs(&["../*"]), ..Selection::default() };
        assert_eq!(["config.json"], *chosen(&without, &paths));
    }
}
