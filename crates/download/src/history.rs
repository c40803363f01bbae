//! What was learnt of origins, kept from run to run.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

/// Origins that are remembered; of more, those learnt longest ago are forgotten.
pub const ORIGINS_MAX: usize = 256;

/// What was learnt of one origin.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub struct Learnt {
    /// How many connections served best.
    pub connections: usize,
    /// Bytes per second that a file got at best.
    pub bytes_per_s: u64,
    /// When, in seconds since 1970.
    pub learnt_s: u64,
}

/// What was learnt of origins: where to begin the next time.
///
/// Pure: whoever has a folder for it keeps its [text](Self::to_text) there, and [reads](Self::parse) it
/// again. At most [`ORIGINS_MAX`] origins.
///
/// # Examples
///
/// ```
/// use download::{History, Learnt};
///
/// let mut history = History::default();
/// let learnt = Learnt { connections: 12, bytes_per_s: 40_000_000, learnt_s: 1_800_000_000 };
/// history.learn("https://example.org:443", learnt);
/// let again = History::parse(&history.to_text());
/// assert_eq!(Some(learnt), again.of("https://example.org:443"));
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct History {
    origins: BTreeMap<String, Learnt>,
}

/// One line of the text.
#[derive(Deserialize)]
struct Line {
    origin: String,
    #[serde(flatten)]
    learnt: Learnt,
}

impl History {
    /// Reads a text of [`to_text`](Self::to_text). Lines that cannot be read are left out: to know less is
    /// only slower.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut history = Self::default();
        for Line { origin, learnt } in text.lines().filter_map(|l| serde_json::from_str(l).ok()) {
            history.learn(&origin, learnt);
        }
        history
    }

    /// Returns one JSON object a line.
    #[must_use]
    pub fn to_text(&self) -> String {
        let line = |(origin, learnt): (&String, &Learnt)| {
            let Learnt { connections, bytes_per_s, learnt_s } = learnt;
            let line = json!({ "origin": origin, "connections": connections,
                "bytes_per_s": bytes_per_s, "learnt_s": learnt_s });
            format!("{line}\n")
        };
        self.origins.iter().map(line).collect()
    }

    /// Returns what is known of an origin: its scheme, host and port.
    #[must_use]
    pub fn of(&self, origin: &str) -> Option<Learnt> {
        self.origins.get(origin).copied()
    }

    /// Takes note of an origin, unless something later is known of it.
    pub fn learn(&mut self, origin: &str, learnt: Learnt) {
        if self.of(origin).is_some_and(|known| learnt.learnt_s < known.learnt_s) {
            return;
        }
        self.origins.insert(origin.to_owned(), learnt);
        if ORIGINS_MAX < self.origins.len() {
            let oldest = self.origins.iter().min_by_key(|(_, learnt)| learnt.learnt_s);
            if let Some(oldest) = oldest.map(|(origin, _)| origin.clone()) {
                self.origins.remove(&oldest);
            }
        }
    }

    /// Takes note of all that another knows.
    pub fn merge(&mut self, other: &Self) {
        for (origin, &learnt) in &other.origins {
            self.learn(origin, learnt);
        }
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(connections: usize, learnt_s: u64) -> Learnt {
        Learnt { connections, bytes_per_s: 7, learnt_s }
    }

    #[test]
    fn what_is_kept_is_read_again_and_nonsense_is_left_out() {
        let mut history = History::default();
        history.learn("http://a:1", learnt(3, 10));
        history.learn("http://b:1", learnt(4, 11));
        let text = format!("nonsense\n{{\"origin\":7}}\n{}", history.to_text());
        assert_eq!(history, History::parse(&text));
    }

    #[test]
    fn what_was_learnt_later_counts() {
        let mut history = History::default();
        history.learn("a", learnt(3, 10));
        history.learn("a", learnt(9, 9));
        assert_eq!(Some(learnt(3, 10)), history.of("a"));
        let mut other = History::default();
        other.learn("a", learnt(5, 12));
        history.merge(&other);
        assert_eq!(Some(learnt(5, 12)), history.of("a"));
    }

    #[test]
    fn the_origins_learnt_longest_ago_are_forgotten() {
        let mut history = History::default();
        for k in 0..ORIGINS_MAX as u64 + 3 {
            history.learn(&format!("{k}"), learnt(1, 1000 - k));
        }
        assert_eq!(ORIGINS_MAX, history.origins.len());
        assert_eq!(None, history.of(&format!("{}", ORIGINS_MAX + 2)));
        assert!(history.of("0").is_some());
    }
}
