//! API keys: who may ask, how much of it, and before whom.

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use limiter::{Burst, Rate};
use sha2::{Digest, Sha256};

/// The longest name of a key, in bytes: names are labels of metrics.
const NAME_BYTES_MAX: usize = 64;
/// What the options of a line may be.
const OPTIONS: &str = "weight=N, requests=N/PERIOD, tokens=N/PERIOD or priority=N";

/// The keys of a server, as a file lists them.
///
/// One key a line: `NAME:KEY [weight=1] [requests=60/m] [tokens=1M/m] [priority=0]`; empty lines and
/// those that begin with `#` are skipped. Only the SHA-256 of a key is kept.
///
/// - `weight`: while several keys wait, each is served tokens in proportion to its weight.
/// - `requests`, `tokens`: so much at once and again in each period; what comes above is refused with
///   429. A request reserves its prompt and `max_tokens`, and what it does not use goes back.
/// - `priority`: the class of its requests, 0 is served first; see
///   [`Options::ageing`](crate::Options::ageing).
///
/// # Examples
///
/// ```
/// use streaming_server::{Keys, Options};
///
/// let keys: Keys = "alice:sk-1 weight=2 tokens=1M/m\nbob:sk-2 priority=1".parse()?;
/// assert_eq!("alice", keys.iter().next().unwrap().name);
/// let options = Options { keys: Some(keys), ..Options::default() };
/// # Ok::<(), streaming_server::KeysError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Keys(Vec<(Secret, Key)>);

/// What the holder of a key may do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Key {
    /// What metrics call it.
    pub name: String,
    /// Its share beside others that wait.
    pub weight: NonZeroU32,
    /// How many requests; no limit unless set.
    pub requests: Option<Quota>,
    /// How many tokens, of prompts and of replies; no limit unless set.
    pub tokens: Option<Quota>,
    /// The class of its requests; 0 is served first.
    pub priority: u8,
}

/// So much at once, and so much again in each period: `60/m`, `1M/m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// How fast it comes back.
    pub rate: Rate,
    /// How much is there at first, and at most.
    pub burst: Burst,
}

impl FromStr for Quota {
    type Err = limiter::ParseError;

    fn from_str(text: &str) -> Result<Self, limiter::ParseError> {
        let rate = text.parse()?;
        let at_once = text.split_once('/').map_or(text, |(amount, _)| amount);
        Ok(Self { rate, burst: at_once.parse()? })
    }
}

/// The SHA-256 of a key: what is compared and kept in its place.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Secret([u8; 32]);

impl Secret {
    pub(crate) fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Why a list of keys cannot be used. Says the line and never what stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysError {
    /// Counted from 1; none where no line is wrong.
    line: Option<usize>,
    what: String,
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line} of the keys: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for KeysError {}

impl Keys {
    /// All keys, in the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter().map(|(_, key)| key)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &(Secret, Key)> {
        self.0.iter()
    }
}

impl FromStr for Keys {
    type Err = KeysError;

    fn from_str(text: &str) -> Result<Self, KeysError> {
        let mut keys = Vec::new();
        let (mut names, mut secrets) = (HashSet::new(), HashSet::new());
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what| KeysError { line: Some(index + 1), what };
            let (secret, key) = parse(line).map_err(wrong)?;
            if !names.insert(key.name.clone()) || !secrets.insert(secret) {
                return Err(wrong("its name or its key was there before".to_owned()));
            }
            keys.push((secret, key));
        }
        if keys.is_empty() {
            // Taken for "no keys needed", an empty file would open the server to everybody.
            let what = "there is no key in the list: write NAME:KEY on a line".to_owned();
            return Err(KeysError { line: None, what });
        }
        Ok(Self(keys))
    }
}

fn parse(line: &str) -> Result<(Secret, Key), String> {
    let mut words = line.split_whitespace();
    let (name, secret) = words
        .next()
        .and_then(|word| word.split_once(':'))
        .filter(|(name, secret)| !name.is_empty() && !secret.is_empty())
        .ok_or("it does not begin with NAME:KEY")?;
    let is_label = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if NAME_BYTES_MAX < name.len() || !name.bytes().all(is_label) {
        return Err(format!("a name has 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`"));
    }
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a key has visible ASCII characters alone".to_owned());
    }
    let weight = NonZeroU32::MIN;
    let name = name.to_owned();
    let mut key = Key { name, weight, requests: None, tokens: None, priority: 0 };
    for option in words {
        // A key with a blank before it would be taken for an option: it is not repeated.
        let (name, value) = option.split_once('=').ok_or(format!("an option is {OPTIONS}"))?;
        let quota = || value.parse::<Quota>().map_err(|error| error.to_string());
        match name {
            "weight" => key.weight = value.parse().map_err(|_| "`weight` is 1 or more")?,
            "requests" => key.requests = Some(quota()?),
            "tokens" => key.tokens = Some(quota()?),
            "priority" => key.priority = value.parse().map_err(|_| "`priority` is 0 to 255")?,
            _ => return Err(format!("an option is {OPTIONS}")),
        }
    }
    Ok((Secret::of(secret.as_bytes()), key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_name_a_key_and_options() {
        let text = "# ours\n\na:k1\n b-2:k:2 weight=4 requests=60/m tokens=1M/m priority=3 \n";
        let keys: Keys = text.parse().unwrap();
        let [a, b] = &keys.0[..] else { panic!("{keys:?}") };
        assert_eq!((Secret::of(b"k1"), "a", 1), (a.0, a.1.name.as_str(), a.1.weight.get()));
        assert_eq!((None, None, 0), (a.1.requests, a.1.tokens, a.1.priority));
        assert_eq!((Secret::of(b"k:2"), "b-2", 4), (b.0, b.1.name.as_str(), b.1.weight.get()));
        let (requests, tokens) = (b.1.requests.unwrap(), b.1.tokens.unwrap());
        assert_eq!((Rate::per_minute(60), 60), (requests.rate, requests.burst.tokens()));
        assert_eq!((Rate::per_minute(1_000_000), 1_000_000), (tokens.rate, tokens.burst.tokens()));
        assert_eq!(3, b.1.priority);
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_no_key_is() {
        for (text, line) in [
            ("", None),
            ("# nothing", None),
            ("sekret", Some(1)),
            (":sekret", Some(1)),
            ("a:", Some(1)),
            ("a: sekret", Some(1)),
            ("a:x sekret", Some(1)),
            ("\"a\":sekret", Some(1)),
            ("a:x\nb:sekret weight=0", Some(2)),
            ("a:x\nb:sekret requests=60", Some(2)),
            ("a:x\nb:sekret priority=256", Some(2)),
            ("a:x\na:sekret", Some(2)),
            ("a:sekret\nb:sekret", Some(2)),
        ] {
            let error = text.parse::<Keys>().unwrap_err();
            assert_eq!(line, error.line, "{text}");
            assert!(!error.to_string().contains("sekret"), "{error}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let keys: Keys = "a:sekret".parse().unwrap();
        assert!(!format!("{keys:?}").contains("sekret"));
    }
}
