//! The families of requirements: what each demands, and whether a model meets it.

mod judge;
mod targets;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::judge::{Judged, judge};
pub use self::targets::Targets;

/// A family of requirements.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Family {
    /// From the file to a model that can run.
    Load,
    /// One picture at a time, in time.
    RealTime,
    /// Many pictures one after the other: throughput, and the memory that they take.
    Batch,
    /// The peak of one inference.
    Memory,
    /// Many equal inferences: does the memory grow?
    Leak,
    /// Requests at once.
    Concurrent,
    /// What loading and dropping leave behind.
    Cleanup,
    /// Pictures of many sizes, shapes and contents.
    Pictures,
}

impl Family {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 8] = [
        Self::Load,
        Self::RealTime,
        Self::Pictures,
        Self::Batch,
        Self::Memory,
        Self::Concurrent,
        Self::Leak,
        Self::Cleanup,
    ];

    /// What `--family` calls it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::RealTime => "real-time",
            Self::Batch => "batch",
            Self::Memory => "memory",
            Self::Leak => "leak",
            Self::Concurrent => "concurrent",
            Self::Cleanup => "cleanup",
            Self::Pictures => "pictures",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A name that no family has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoFamily {
    name: String,
}

impl fmt::Display for NoFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = Family::ALL.map(Family::word).join(", ");
        write!(f, "no family `{}`; there are: {words}", self.name)
    }
}

impl std::error::Error for NoFamily {}

impl FromStr for Family {
    type Err = NoFamily;

    fn from_str(name: &str) -> Result<Self, NoFamily> {
        let family = Self::ALL.into_iter().find(|family| family.word() == name);
        family.ok_or_else(|| NoFamily { name: name.to_owned() })
    }
}
