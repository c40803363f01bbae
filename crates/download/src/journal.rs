//! What of a transfer survives its process.
//!
//! A journal stands beside the part file. It names the object (address without its query, validator) and
//! holds claims: *these bytes are written*, *the hash stands here*. A claim is made in one of two ways:
//!
//! - **durable**, after the data was synced: true after anything;
//! - **of this boot**, without a sync: true as long as the machine keeps running, because the kernel still
//!   holds the pages when a process dies. After a restart of the machine such claims are forgotten.
//!
//! So a killed process loses nothing that it had written, and a power cut loses what was not synced.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use memory::files::FileSystem;
use memory::{AppendLog, LogError, LogOptions};
use serde::{Deserialize, Serialize};

use crate::ledger::Ledger;
use crate::range::ByteRange;
use crate::validator::Validator;

/// A journal of a file of a terabyte in parts of a mebibyte stays below this.
const JOURNAL_BYTES_MAX: u64 = 256 << 20;

/// Which object a part file holds bytes of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Object {
    /// Scheme, host, port and path. Not the query: signatures differ with every request.
    pub(crate) address: String,
    pub(crate) validator: Validator,
    /// The digest that was asked for, as `Debug` tells it. Bytes for one digest are not mixed with those
    /// for another.
    pub(crate) digest: Option<String>,
}

/// A record of the journal.
#[derive(Debug, Deserialize, Serialize)]
enum Record {
    /// Everything before counts no more: a new object, or a fresh start of the same.
    Begin(Object),
    /// These bytes are written, durably if there is no boot.
    Written { start: u64, end: u64, boot: Option<String> },
    /// The hash of the first `offset` bytes stands at this state.
    Hash { offset: u64, state: Vec<u8>, boot: Option<String> },
}

/// What a journal knows of an earlier attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Known {
    pub(crate) object: Option<Object>,
    pub(crate) ledger: Ledger,
    /// Offset and state of the hash, the furthest of which all bytes are here.
    pub(crate) hash: Option<(u64, Vec<u8>)>,
}

impl Known {
    fn apply(&mut self, record: Record, boot: Option<&str>) {
        let holds = |of: Option<String>| of.is_none() || of.as_deref() == boot;
        match record {
            Record::Begin(object) => *self = Self { object: Some(object), ..Self::default() },
            Record::Written { start, end, boot } if holds(boot.clone()) => {
                if let Some(range) = ByteRange::new(start, end) {
                    self.ledger.add(range);
                }
            }
            Record::Hash { offset, state, boot }
                if holds(boot.clone()) && self.ledger.is_whole(offset) =>
            {
                self.hash = Some((offset, state));
            }
            Record::Written { .. } | Record::Hash { .. } => {}
        }
    }
}

/// The journal of one transfer.
#[derive(Debug)]
pub(crate) struct Journal {
    log: AppendLog,
    boot: Option<String>,
}

impl Journal {
    /// Opens or creates the journal and tells what it knows. A record that cannot be read ends what is
    /// known: it was written by another version, and less is only slower.
    pub(crate) fn open(
        files: &Arc<dyn FileSystem>,
        path: &Path,
        boot: Option<String>,
    ) -> Result<(Self, Known), LogError> {
        let options = LogOptions { log_bytes_max: JOURNAL_BYTES_MAX, ..LogOptions::default() };
        let mut known = Known::default();
        let mut readable = true;
        let log =
            AppendLog::open(files, path, options, |bytes| match serde_json::from_slice(bytes) {
                Ok(record) if readable => known.apply(record, boot.as_deref()),
                _ => readable = false,
            })?;
        Ok((Self { log, boot }, known))
    }

    /// Begins an object from nothing, durably: a later claim must not be taken for one of another.
    pub(crate) fn begin(&self, object: &Object) -> Result<(), LogError> {
        self.log.append_durably(&encode(&Record::Begin(object.clone())))
    }

    /// Claims bytes until the machine restarts. Costs one system call.
    pub(crate) fn written(&self, range: ByteRange) -> Result<(), LogError> {
        let Some(boot) = self.boot.clone() else { return Ok(()) };
        let (start, end) = (range.start(), range.end());
        self.log.append(&encode(&Record::Written { start, end, boot: Some(boot) })).map(drop)
    }

    /// Claims the state of the hash until the machine restarts.
    pub(crate) fn hashed(&self, offset: u64, state: &[u8]) -> Result<(), LogError> {
        let Some(boot) = self.boot.clone() else { return Ok(()) };
        let record = Record::Hash { offset, state: state.to_vec(), boot: Some(boot) };
        self.log.append(&encode(&record)).map(drop)
    }

    /// Claims bytes and hash for good. The data must have been synced before.
    pub(crate) fn durable(
        &self,
        ranges: &[ByteRange],
        hash: Option<(u64, &[u8])>,
    ) -> Result<(), LogError> {
        for range in ranges {
            let (start, end) = (range.start(), range.end());
            self.log.append(&encode(&Record::Written { start, end, boot: None }))?;
        }
        if let Some((offset, state)) = hash {
            let record = Record::Hash { offset, state: state.to_vec(), boot: None };
            return self.log.append_durably(&encode(&record));
        }
        Ok(())
    }
}

fn encode(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).expect("records hold numbers and texts")
}

/// The files of a transfer beside its target: hidden, and named so that no tool takes them for its own.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) part: PathBuf,
    pub(crate) journal: PathBuf,
}

impl Paths {
    pub(crate) fn beside(target: &Path) -> Self {
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let beside = |suffix: &str| target.with_file_name(format!(".{name}.{suffix}"));
        Self { part: beside("fetching"), journal: beside("fetching-journal") }
    }
}

#[cfg(test)]
mod tests {
    use memory::files::OsFiles;

    use super::*;

    fn object() -> Object {
        let validator = Validator::new(Some("\"a\""), Some(100));
        Object { address: "http://a/b".to_owned(), validator, digest: None }
    }

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange::new(start, end).unwrap()
    }

    /// Writes with `write` in boot `a`, and tells what is known in boot `boot`.
    fn known_after(boot: &str, write: impl FnOnce(&Journal)) -> Known {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let files: Arc<dyn FileSystem> = Arc::new(OsFiles::new());
        let (journal, known) = Journal::open(&files, &path, Some("a".to_owned())).unwrap();
        assert_eq!(Known::default(), known);
        write(&journal);
        drop(journal);
        Journal::open(&files, &path, Some(boot.to_owned())).unwrap().1
    }

    fn write(journal: &Journal) {
        journal.begin(&object()).unwrap();
        journal.durable(&[range(0, 10)], Some((10, b"ten"))).unwrap();
        journal.written(range(10, 20)).unwrap();
        journal.hashed(20, b"twenty").unwrap();
        journal.hashed(30, b"thirty").unwrap();
    }

    #[test]
    fn a_killed_process_loses_nothing() {
        let known = known_after("a", write);
        assert_eq!(Some(object()), known.object);
        assert_eq!(20, known.ledger.frontier());
        assert_eq!(Some((20, b"twenty".to_vec())), known.hash, "30 bytes are not there");
    }

    #[test]
    fn a_restarted_machine_forgets_what_was_not_synced() {
        let known = known_after("b", write);
        assert_eq!(10, known.ledger.frontier());
        assert_eq!(Some((10, b"ten".to_vec())), known.hash);
    }

    #[test]
    fn a_beginning_ends_what_was_before() {
        let known = known_after("a", |journal| {
            write(journal);
            journal.begin(&object()).unwrap();
        });
        assert_eq!((0, None), (known.ledger.bytes(), known.hash));
    }
}
