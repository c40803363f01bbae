//! `models.toml`: the models that a machine is to have. Pure.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Component, PathBuf};

use serde::Deserialize;
use url::Url;

use super::glob::Glob;
use super::path::FilePath;
use super::select::Selection;
use super::spec::{ModelSource, ModelSpec};
use crate::digest::Digest;
use crate::hub::{Entry, Revision};

/// Which models come first.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before all others.
    High,
    /// As usual.
    #[default]
    Normal,
    /// When nothing else waits.
    Low,
}

impl Priority {
    /// Returns the class in a queue: 0 comes first.
    #[must_use]
    pub fn class(self) -> u8 {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }
}

/// A text that lists no models.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RosterError(String);

impl fmt::Display for RosterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RosterError {}

/// The models that a machine is to have.
///
/// # Examples
///
/// ```
/// use download::{Priority, Roster};
///
/// let text = r#"
/// [defaults]
/// exclude = ["*.md"]
///
/// [[model]]
/// repo = "org/tiny"
/// revision = "v1"
/// priority = "high"
///
/// [[model]]
/// url = "http://127.0.0.1:8000/models/mine"
/// target = "models/mine"
/// files = [{ path = "weights.gguf", size = 1000, sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" }]
/// "#;
/// let roster: Roster = text.parse()?;
/// assert_eq!("org/tiny@v1", roster.models[0].0.name());
/// assert_eq!(Priority::High, roster.models[0].1);
/// # Ok::<(), download::RosterError>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Roster {
    /// The models, in the order of the file, each once.
    pub models: Vec<(ModelSpec, Priority)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(default)]
    defaults: Wish,
    #[serde(default)]
    model: Vec<Model>,
}

/// What may be said once for all, and of each.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wish {
    revision: Option<String>,
    include: Option<Vec<String>>,
    exclude: Option<Vec<String>>,
    priority: Option<Priority>,
    all_formats: Option<bool>,
    allow_pickle: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    repo: Option<String>,
    url: Option<String>,
    target: Option<PathBuf>,
    #[serde(default)]
    files: Vec<Item>,
    revision: Option<String>,
    include: Option<Vec<String>>,
    exclude: Option<Vec<String>>,
    priority: Option<Priority>,
    all_formats: Option<bool>,
    allow_pickle: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    path: String,
    #[serde(default)]
    size: u64,
    sha256: Option<String>,
}

impl std::str::FromStr for Roster {
    type Err = RosterError;

    /// Reads the text of a `models.toml`. A model that is listed twice, with the same wishes, is one; two
    /// different ones cannot have the same `target`.
    fn from_str(text: &str) -> Result<Self, RosterError> {
        let text: Text = toml::from_str(text).map_err(|error| RosterError(error.to_string()))?;
        let (mut keys, mut targets) = (HashSet::new(), HashMap::new());
        let mut models = Vec::with_capacity(text.model.len());
        for (k, model) in text.model.iter().enumerate() {
            let wrong = |what| RosterError(format!("model {}: {what}", k + 1));
            let read = read(model, &text.defaults).map_err(wrong)?;
            check_target(&mut targets, &read.0, k + 1).map_err(wrong)?;
            if keys.insert(read.0.key()) {
                models.push(read);
            }
        }
        Ok(Self { models })
    }
}

/// Two models in one folder would each take the other's files away.
fn check_target(
    targets: &mut HashMap<PathBuf, (usize, ModelSpec)>,
    spec: &ModelSpec,
    number: usize,
) -> Result<(), String> {
    let Some(target) = &spec.target else { return Ok(()) };
    // `./a` is `a`; who else has a folder cannot be told from its name.
    let plain = target.components().filter(|part| *part != Component::CurDir).collect();
    let (other, first) = targets.entry(plain).or_insert_with(|| (number, spec.clone()));
    if spec.is_of_same_source(first) {
        return Ok(());
    }
    let (folder, first, name) = (target.display(), first.name(), spec.name());
    Err(format!("{name} would share the target {folder} with {first}, model {other}"))
}

fn read(model: &Model, defaults: &Wish) -> Result<(ModelSpec, Priority), String> {
    let globs = |own: &Option<Vec<String>>, other: &Option<Vec<String>>| -> Vec<Glob> {
        own.as_ref().or(other.as_ref()).into_iter().flatten().map(|glob| Glob::new(glob)).collect()
    };
    let selection = Selection {
        include: globs(&model.include, &defaults.include),
        exclude: globs(&model.exclude, &defaults.exclude),
        all_formats: model.all_formats.or(defaults.all_formats).unwrap_or(false),
        allow_pickle: model.allow_pickle.or(defaults.allow_pickle).unwrap_or(false),
    };
    let source = source(model, defaults)?;
    if matches!(source, ModelSource::Web { .. }) && model.target.is_none() {
        return Err("a model with `url` needs a `target`, the folder for its files".to_owned());
    }
    let priority = model.priority.or(defaults.priority).unwrap_or_default();
    Ok((ModelSpec { source, selection, target: model.target.clone() }, priority))
}

fn source(model: &Model, defaults: &Wish) -> Result<ModelSource, String> {
    match (&model.repo, &model.url) {
        (Some(repo), None) if model.files.is_empty() => {
            let revision = model.revision.as_ref().or(defaults.revision.as_ref());
            let revision = match revision {
                Some(revision) => revision.parse().map_err(|error| format!("{error}"))?,
                None => Revision::default(),
            };
            let repo = repo.parse().map_err(|error| format!("{error}"))?;
            Ok(ModelSource::Hub { repo, revision, pinned: None })
        }
        (Some(_), None) => Err("`files` are for a model with `url`".to_owned()),
        (None, Some(url)) => {
            let url: Url = url.parse().map_err(|error| format!("`url` is none: {error}"))?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err("`url` is neither http nor https".to_owned());
            }
            if model.files.is_empty() {
                return Err("a model with `url` needs its `files`".to_owned());
            }
            let files: Result<_, _> = model.files.iter().map(entry).collect();
            Ok(ModelSource::Web { url, files: files? })
        }
        _ => Err("write either `repo` or `url`".to_owned()),
    }
}

fn entry(item: &Item) -> Result<Entry, String> {
    let path = FilePath::parse(&item.path).map_err(|error| error.to_string())?;
    let digest = item.sha256.as_deref().map(Digest::sha256).transpose();
    let digest = digest.map_err(|error| format!("{path}: {error}"))?;
    Ok(Entry { path: path.to_string(), bytes: item.size, digest, pointer: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_does_not_say_the_defaults_do() {
        let text = "[defaults]\nrevision = \"v1\"\npriority = \"low\"\ninclude = [\"*.json\"]\n\
            [[model]]\nrepo = \"a\"\n[[model]]\nrepo = \"b\"\nrevision = \"v2\"\npriority = \"high\"\ninclude = []\n";
        let models = text.parse::<Roster>().unwrap().models;
        assert_eq!(("a@v1".to_owned(), Priority::Low), (models[0].0.name(), models[0].1));
        assert_eq!(("b@v2".to_owned(), Priority::High), (models[1].0.name(), models[1].1));
        assert_eq!(
            (1, 0),
            (models[0].0.selection.include.len(), models[1].0.selection.include.len())
        );
    }

    #[test]
    fn one_model_is_listed_once() {
        let text = "[[model]]\nrepo = \"a\"\n[[model]]\nrepo = \"a\"\n[[model]]\nrepo = \"a\"\ntarget = \"t\"\n";
        assert_eq!(2, text.parse::<Roster>().unwrap().models.len());
    }

    #[test]
    fn models_of_one_address_with_other_files_are_two() {
        let model = |file: &str| {
            format!(
                "[[model]]\nurl = \"http://x\"\nfiles = [{{path = \"{file}\"}}]\ntarget = \"t\"\n"
            )
        };
        let text = format!("{}{}", model("f"), model("g"));
        assert_eq!(2, text.parse::<Roster>().unwrap().models.len());
    }

    #[test]
    fn two_models_have_two_targets() {
        let listed = |first: &str, second: &str| {
            let text = format!("[[model]]\n{first}\n[[model]]\n{second}\n");
            text.parse::<Roster>().map(|roster| roster.models.len())
        };
        let a = "repo = \"org/a\"\ntarget = \"t\"";
        let error = listed(a, "repo = \"org/b\"\ntarget = \"./t/\"").unwrap_err().to_string();
        for part in ["org/a, model 1", "model 2: org/b", "./t/"] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(Ok(2), listed(a, &format!("{a}\ninclude = [\"*.json\"]")), "of one model");
        assert_eq!(Ok(2), listed(a, "repo = \"org/b\""));
        assert!(listed(a, &format!("{a}\nrevision = \"v1\"")).is_err());
    }

    #[test]
    fn mistakes_are_told_with_the_number_of_the_model() {
        for (text, expected) in [
            ("[[model]]\nrepo = \"../a\"\n", "model 1: "),
            ("[[model]]\n", "either `repo` or `url`"),
            ("[[model]]\nrepo = \"a\"\n[[model]]\nurl = \"http://x\"\n", "model 2: "),
            (
                "[[model]]\nurl = \"http://x\"\nfiles = [{path = \"../a\"}]\ntarget = \"t\"\n",
                "leads up",
            ),
            ("[[model]]\nurl = \"http://x\"\nfiles = [{path = \"a\"}]\n", "needs a `target`"),
            ("[[model]]\nrepo = \"a\"\nrevison = \"v\"\n", "revison"),
            ("[[model]]\nrepo = \"a\"\npriority = \"urgent\"\n", "urgent"),
        ] {
            let error = text.parse::<Roster>().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn ten_thousand_models_are_no_strain() {
        let text: String =
            (0..10_000).map(|k| format!("[[model]]\nrepo = \"org/m{k}\"\n")).collect();
        assert_eq!(10_000, text.parse::<Roster>().unwrap().models.len());
    }
}
