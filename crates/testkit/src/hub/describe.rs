//! What a hub has, as told by a caller or a file.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::Blob;
use crate::units::{parse_duration, parse_size};

/// Entries of a page of the real hub.
const PAGE_SIZE: usize = 1000;
/// How long a signed URL of the real hub's content network is good for.
const SIGNED_TTL: Duration = Duration::from_secs(3600);

/// What a hub has, and how it behaves.
///
/// From text (the hub file of the program `origin`):
///
/// ```
/// use testkit::HubOptions;
///
/// let text = r#"{
///   "page_size": 1000, "cdn": true, "signed_ttl": "10s", "rate_limit": {"quota": 5, "window": "10s"},
///   "repos": [{
///     "id": "org/tiny", "revisions": {"main": "0123456789012345678901234567890123456789"},
///     "gated": false, "token": null,
///     "files": [{"path": "config.json", "text": "{}"},
///               {"path": "model.safetensors", "size": "5GB", "seed": 7, "lfs": true}]
///   }]
/// }"#;
/// let options: HubOptions = text.parse()?;
/// assert_eq!(2, options.repos[0].files.len());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HubOptions {
    /// Entries of a page of a listing, at least 1.
    pub page_size: usize,
    /// Whether large files lie at another origin.
    pub cdn: bool,
    /// How long a signed URL of that origin is good for.
    #[serde(deserialize_with = "duration")]
    pub signed_ttl: Duration,
    /// How many requests the hub answers; all, if `None`. Those to the content network do not count.
    pub rate_limit: Option<HubRateLimit>,
    /// Whether listings have the SHA-256 of large files in capitals, as some mirrors do; an `ETag` has it in
    /// small letters all the same.
    pub upper_case_digests: bool,
    /// Its repositories.
    pub repos: Vec<HubRepo>,
}

/// At most `quota` requests in each window of time.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubRateLimit {
    /// Requests per window.
    pub quota: u64,
    /// The window, which begins with its first request.
    #[serde(deserialize_with = "duration")]
    pub window: Duration,
}

/// A repository of models.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubRepo {
    /// `NAME` or `ORGANIZATION/NAME`.
    pub id: String,
    /// The commits, 40 hexadecimal digits, by branch or tag. All of them have the same files.
    pub revisions: BTreeMap<String, String>,
    /// Whether its files are for those with the token only, while all may list them.
    #[serde(default)]
    pub gated: bool,
    /// What a reader must present; a repository with a token that is not gated is private.
    #[serde(default)]
    pub token: Option<String>,
    /// Its files, in any order.
    #[serde(default)]
    pub files: Vec<HubFile>,
}

/// A file of a repository.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "FileText")]
pub struct HubFile {
    /// Where it lies in the repository, with `/` between folders; any name, hostile ones too.
    pub path: String,
    /// What is in it.
    pub content: HubContent,
    /// Whether it is kept as a large file: its `ETag` is its SHA-256, and it lies at the content network.
    pub lfs: bool,
}

/// The bytes of a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HubContent {
    /// These.
    Text(String),
    /// Those that are computed.
    Blob(Blob),
}

/// A file as the hub file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    path: String,
    text: Option<String>,
    size: Option<Size>,
    seed: Option<u64>,
    lfs: Option<bool>,
}

/// `1000` or `"1GB"`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Bytes(u64),
    Text(String),
}

impl Default for HubOptions {
    /// No repositories; a content network; otherwise as the real hub has it, without a rate limit.
    fn default() -> Self {
        Self {
            page_size: PAGE_SIZE,
            cdn: true,
            signed_ttl: SIGNED_TTL,
            rate_limit: None,
            upper_case_digests: false,
            repos: Vec::new(),
        }
    }
}

impl FromStr for HubOptions {
    type Err = String;

    /// Reads a hub file.
    ///
    /// # Errors
    ///
    /// Says what is wrong, with line and column.
    fn from_str(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

impl HubRepo {
    /// Returns a public repository whose branch `main` is at this commit.
    #[must_use]
    pub fn new(id: impl Into<String>, commit: impl Into<String>) -> Self {
        let revisions = BTreeMap::from([("main".to_owned(), commit.into())]);
        Self { id: id.into(), revisions, gated: false, token: None, files: Vec::new() }
    }

    /// Adds a file.
    #[must_use]
    pub fn with(mut self, file: HubFile) -> Self {
        self.files.push(file);
        self
    }
}

impl HubFile {
    /// Returns a small file.
    #[must_use]
    pub fn text(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), content: HubContent::Text(text.into()), lfs: false }
    }

    /// Returns a large file of this many computed bytes.
    #[must_use]
    pub fn blob(path: impl Into<String>, size: u64, seed: u64) -> Self {
        let path = path.into();
        let blob = Blob::new(&*path, size, seed);
        Self { path, content: HubContent::Blob(blob), lfs: true }
    }
}

impl TryFrom<FileText> for HubFile {
    type Error = String;

    fn try_from(file: FileText) -> Result<Self, String> {
        let FileText { path, text, size, seed, lfs } = file;
        let mut file = match (text, size) {
            (Some(text), None) if seed.is_none() => Self::text(path, text),
            (None, Some(size)) => Self::blob(path, size.bytes()?, seed.unwrap_or(0)),
            _ => return Err(format!("`{path}` needs either `text`, or `size` and perhaps `seed`")),
        };
        file.lfs = lfs.unwrap_or(file.lfs);
        Ok(file)
    }
}

impl Size {
    fn bytes(self) -> Result<u64, String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Text(text) => parse_size(&text).map_err(|error| error.to_string()),
        }
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let error = text.parse::<HubOptions>().expect_err("it is refused");
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn what_is_left_out_is_as_the_real_hub_has_it() {
        let options: HubOptions = "{}".parse().unwrap();
        assert_eq!((1000, true), (options.page_size, options.cdn));
        assert!(options.rate_limit.is_none() && options.repos.is_empty());
    }

    #[test]
    fn text_is_small_and_blobs_are_large_unless_told_otherwise() {
        let file = |text: &str| serde_json::from_str::<HubFile>(text).unwrap().lfs;
        assert!(!file(r#"{"path": "a", "text": ""}"#));
        assert!(file(r#"{"path": "a", "size": 5}"#));
        assert!(!file(r#"{"path": "a", "size": "1KiB", "seed": 3, "lfs": false}"#));
    }

    #[test]
    fn mistakes_are_told() {
        check_refused(r#"{"pages": 5}"#, "unknown field `pages`");
        check_refused(r#"{"signed_ttl": "soon"}"#, "`soon`");
        check_refused(r#"{"repos": [{"id": "a"}]}"#, "missing field `revisions`");
        let both = r#"{"repos": [{"id": "a", "revisions": {}, "files": [
            {"path": "x", "text": "", "size": 5}]}]}"#;
        check_refused(both, "`x` needs either `text`, or `size`");
    }
}
