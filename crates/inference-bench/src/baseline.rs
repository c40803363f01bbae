//! The run to compare with.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::case::CaseRecord;
use crate::machine::Fingerprint;

/// The newest form of the file that this program writes and reads.
const SCHEMA_VERSION: u64 = 1;
/// Tells our file from somebody else's JSON.
const KIND: &str = "perf-baseline";

/// The figures of an earlier run, the machine they come from and the programs that produced them.
///
/// A machine has moods, which stored numbers know nothing of: where programs are kept too, a paired, interleaved
/// run of them beside the new ones decides. Of a server or a model there is no program to keep: `stream` and
/// `vision` call a latency worse when its interval lies above that of the baseline, both taken on one machine
/// under one load. An interval knows the moods within its run alone: `stream` measures once more what seems worse,
/// and even then this is advice.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Baseline {
    schema_version: u64,
    kind: String,
    /// What it is called.
    pub name: String,
    /// The revision of the sources, where known.
    pub revision: Option<String>,
    /// The machine it was measured on.
    pub machine: Fingerprint,
    /// What it was measured under, such as `tokens`; what is not known is not there.
    #[serde(default)]
    pub load: BTreeMap<String, String>,
    /// The records by `suite/case`.
    pub cases: BTreeMap<String, CaseRecord>,
    /// The kept programs by suite: paths relative to the file.
    pub programs: BTreeMap<String, String>,
}

/// Why a baseline was refused. Nothing was compared with it, so nothing passed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BaselineError {
    /// There are no bytes, or no cases in them.
    Empty,
    /// The text ends in the middle or is damaged.
    Torn {
        /// What the reader stumbled on.
        detail: String,
    },
    /// It is JSON, but not a baseline of ours.
    Foreign,
    /// It was written by a newer version.
    FutureSchema {
        /// The version in the file.
        found: u64,
    },
    /// A record that claims to be measured has no number.
    NoNumber {
        /// The case.
        case: String,
    },
}

impl fmt::Display for BaselineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the baseline is empty; save it again"),
            Self::Torn { detail } => write!(f, "the baseline is torn ({detail}); save it again"),
            Self::Foreign => f.write_str("the file is no baseline of this tool"),
            Self::FutureSchema { found } => write!(
                f,
                "the baseline has schema {found}, this program reads up to {SCHEMA_VERSION}; \
                 use the newer program or save it again"
            ),
            Self::NoNumber { case } => {
                write!(f, "the baseline has no number for {case}; save it again")
            }
        }
    }
}

impl std::error::Error for BaselineError {}

impl Baseline {
    /// Starts a baseline without cases.
    #[must_use]
    pub fn new(name: impl Into<String>, machine: Fingerprint) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            kind: KIND.to_owned(),
            name: name.into(),
            revision: None,
            machine,
            load: BTreeMap::new(),
            cases: BTreeMap::new(),
            programs: BTreeMap::new(),
        }
    }

    /// Reads a baseline and refuses whatever cannot be trusted.
    ///
    /// # Errors
    ///
    /// [`BaselineError`], one kind for each way in which such a file goes wrong.
    pub fn parse(text: &str) -> Result<Self, BaselineError> {
        if text.trim().is_empty() {
            return Err(BaselineError::Empty);
        }
        let torn = |error: serde_json::Error| BaselineError::Torn { detail: error.to_string() };
        let value: serde_json::Value = serde_json::from_str(text).map_err(torn)?;
        if value.get("kind").and_then(|kind| kind.as_str()) != Some(KIND) {
            return Err(BaselineError::Foreign);
        }
        let found = value.get("schema_version").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if SCHEMA_VERSION < found {
            return Err(BaselineError::FutureSchema { found });
        }
        let baseline: Self = serde_json::from_value(value).map_err(torn)?;
        baseline.check()
    }

    fn check(self) -> Result<Self, BaselineError> {
        if self.cases.is_empty() {
            return Err(BaselineError::Empty);
        }
        let numberless = self.cases.iter().find(|(_, record)| record.value.is_none());
        match numberless {
            Some((case, _)) => Err(BaselineError::NoNumber { case: case.clone() }),
            None => Ok(self),
        }
    }

    /// The text of the file.
    ///
    /// # Panics
    ///
    /// Never: all keys are strings and all numbers are numbers or `null`.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("keys are strings") + "\n"
    }

    /// What was another under this load, in words; `None` if all that both name is the same.
    #[must_use]
    pub fn unlike(&self, load: &BTreeMap<String, String>) -> Option<String> {
        self.load.iter().find_map(|(name, was)| {
            let is = load.get(name).filter(|&is| is != was)?;
            Some(format!("{name}: {was} there, {is} here"))
        })
    }

    /// Why figures of this baseline can only be advice on the machine at hand; `None` if they can decide.
    #[must_use]
    pub fn advisory_reason(&self, here: &Fingerprint) -> Option<String> {
        if let Some(difference) = self.machine.difference(here) {
            return Some(format!("measured on another machine ({difference})"));
        }
        self.programs.is_empty().then(|| "its programs were not kept".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline() -> Baseline {
        let mut baseline = Baseline::new("main", Fingerprint::read("", "", "", 2));
        let mut record = CaseRecord::new("limiter/admit", "ns");
        record.value = Some(24.0);
        baseline.cases.insert("micro/limiter/admit".to_owned(), record);
        baseline
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Ok(baseline()), Baseline::parse(&baseline().to_json()));
    }

    #[test]
    fn an_empty_file_is_refused() {
        assert_eq!(Err(BaselineError::Empty), Baseline::parse(" \n"));
        let mut empty = baseline();
        empty.cases.clear();
        assert_eq!(Err(BaselineError::Empty), Baseline::parse(&empty.to_json()));
    }

    #[test]
    fn a_file_torn_at_any_byte_is_refused() {
        let text = baseline().to_json();
        for end in 1..text.trim_end().len() {
            let error = Baseline::parse(&text[..end]).expect_err("a part is not the whole");
            assert!(matches!(error, BaselineError::Torn { .. } | BaselineError::Empty), "{end}");
        }
    }

    #[test]
    fn a_foreign_file_is_refused() {
        for text in ["{}", "[1]", r#"{"kind":"package"}"#] {
            assert_eq!(Err(BaselineError::Foreign), Baseline::parse(text));
        }
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let text = baseline().to_json().replace(r#""schema_version": 1"#, r#""schema_version": 2"#);
        assert_eq!(Err(BaselineError::FutureSchema { found: 2 }), Baseline::parse(&text));
    }

    #[test]
    fn a_case_without_a_number_is_refused() {
        let mut numberless = baseline();
        numberless.cases.values_mut().for_each(|record| record.value = Some(f64::NAN));
        let case = "micro/limiter/admit".to_owned();
        assert_eq!(Err(BaselineError::NoNumber { case }), Baseline::parse(&numberless.to_json()));
    }

    #[test]
    fn another_load_is_told_and_what_is_not_known_is_no_other() {
        let load = |tokens: &str| BTreeMap::from([("tokens".to_owned(), tokens.to_owned())]);
        let mut baseline = baseline();
        assert_eq!(None, baseline.unlike(&load("20")));
        baseline.load = load("40");
        assert_eq!(None, baseline.unlike(&load("40")));
        assert_eq!(None, baseline.unlike(&BTreeMap::new()));
        assert_eq!(Some("tokens: 40 there, 20 here".to_owned()), baseline.unlike(&load("20")));
    }

    #[test]
    fn another_machine_or_lost_programs_make_it_advice() {
        let mut baseline = baseline();
        let here = baseline.machine.clone();
        assert!(baseline.advisory_reason(&here).is_some_and(|reason| reason.contains("programs")));
        baseline.programs.insert("micro".to_owned(), "bin/micro".to_owned());
        assert_eq!(None, baseline.advisory_reason(&here));
        let there = Fingerprint { cores: 64, ..here };
        assert!(baseline.advisory_reason(&there).is_some_and(|reason| reason.contains("cores")));
    }
}
