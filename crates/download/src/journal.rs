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

use std::path::Path;
use std::sync::Arc;

use memory::files::FileSystem;
use memory::{AppendLog, LogError, LogOptions};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::ledger::Ledger;
use crate::range::ByteRange;
use crate::validator::Validator;

/// A journal never comes near this: it is rewritten long before.
const JOURNAL_BYTES_MAX: u64 = 256 << 20;
/// A journal that has grown to this, and to four times what counts of it, is rewritten.
const REWRITE_BYTES: u64 = 256 << 10;

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
#[derive(Clone, Debug, Deserialize, Serialize)]
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
    /// The same, of bytes that are not claimed yet: bytes are hashed before they are claimed.
    ahead: Option<(u64, Vec<u8>)>,
}

impl Known {
    /// Nothing but which object it is.
    pub(crate) fn of(object: Object) -> Self {
        Self { object: Some(object), ..Self::default() }
    }

    fn apply(&mut self, record: Record, boot: Option<&str>) {
        let holds = |of: Option<String>| of.is_none() || of.as_deref() == boot;
        match record {
            Record::Begin(object) => *self = Self::of(object),
            Record::Written { start, end, boot } if holds(boot.clone()) => {
                if let Some(range) = ByteRange::new(start, end) {
                    self.ledger.add(range);
                }
            }
            Record::Hash { offset, state, boot } if holds(boot.clone()) => {
                self.ahead = Some((offset, state));
            }
            Record::Written { .. } | Record::Hash { .. } => {}
        }
        if self.ahead.as_ref().is_some_and(|(offset, _)| self.ledger.is_whole(*offset)) {
            self.hash = self.ahead.take();
        }
    }

    /// The claims that say as much.
    fn records(&self, boot: Option<&str>) -> Vec<Record> {
        let boot = || boot.map(str::to_owned);
        let written = self.ledger.ranges().map(|range| Record::Written {
            start: range.start(),
            end: range.end(),
            boot: boot(),
        });
        let hash = self.hash.iter().map(|(offset, state)| Record::Hash {
            offset: *offset,
            state: state.clone(),
            boot: boot(),
        });
        written.chain(hash).collect()
    }
}

/// The journal of one transfer.
#[derive(Debug)]
pub(crate) struct Journal {
    state: Mutex<State>,
    boot: Option<String>,
}

#[derive(Debug)]
struct State {
    log: AppendLog,
    /// What counts, as far as it was synced.
    durable: Known,
    /// What counts in this boot.
    known: Known,
    rewrite_at: u64,
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
        let (mut known, mut durable) = (Known::default(), Known::default());
        let mut readable = true;
        let log = AppendLog::open(files, path, options, |bytes| {
            match serde_json::from_slice::<Record>(bytes) {
                Ok(record) if readable => {
                    durable.apply(record.clone(), None);
                    known.apply(record, boot.as_deref());
                }
                _ => readable = false,
            }
        })?;
        let state = State { log, durable, known: known.clone(), rewrite_at: REWRITE_BYTES };
        Ok((Self { state: Mutex::new(state), boot }, known))
    }

    /// Begins an object from nothing, durably: a later claim must not be taken for one of another.
    pub(crate) fn begin(&self, object: &Object) -> Result<(), LogError> {
        let record = Record::Begin(object.clone());
        let mut state = self.state.lock();
        state.log.append_durably(&encode(&record))?;
        state.durable.apply(record.clone(), None);
        state.known.apply(record, None);
        Ok(())
    }

    /// Claims bytes until the machine restarts. Costs one system call.
    pub(crate) fn written(&self, range: ByteRange) -> Result<(), LogError> {
        let Some(boot) = self.boot.clone() else { return Ok(()) };
        let (start, end) = (range.start(), range.end());
        self.append(Record::Written { start, end, boot: Some(boot) })
    }

    /// Claims the state of the hash until the machine restarts.
    pub(crate) fn hashed(&self, offset: u64, state: &[u8]) -> Result<(), LogError> {
        let Some(boot) = self.boot.clone() else { return Ok(()) };
        self.append(Record::Hash { offset, state: state.to_vec(), boot: Some(boot) })
    }

    fn append(&self, record: Record) -> Result<(), LogError> {
        let mut state = self.state.lock();
        state.log.append(&encode(&record))?;
        state.known.apply(record, self.boot.as_deref());
        state.rewrite_if_long(self.boot.as_deref())
    }

    /// Claims bytes and hash for good. The data must have been synced before.
    pub(crate) fn durable(&self, ranges: &[ByteRange], hash: (u64, &[u8])) -> Result<(), LogError> {
        let written = ranges.iter().map(|range| Record::Written {
            start: range.start(),
            end: range.end(),
            boot: None,
        });
        let hashed = Record::Hash { offset: hash.0, state: hash.1.to_vec(), boot: None };
        let records: Vec<_> = written.chain([hashed]).collect();
        let mut state = self.state.lock();
        let mut last = None;
        for record in &records {
            last = Some(state.log.append(&encode(record))?);
        }
        last.map_or(Ok(()), |last| state.log.commit(last))?;
        for record in records {
            state.durable.apply(record.clone(), None);
            state.known.apply(record, None);
        }
        Ok(())
    }
}

impl State {
    /// A journal of a long transfer is mostly old claims: what counts of it is a few records.
    fn rewrite_if_long(&mut self, boot: Option<&str>) -> Result<(), LogError> {
        if self.log.len_bytes() < self.rewrite_at {
            return Ok(());
        }
        let begin = self.known.object.clone().map(Record::Begin);
        let records = begin.into_iter().chain(self.durable.records(None));
        let records: Vec<_> = records.chain(self.known.records(boot)).map(|r| encode(&r)).collect();
        self.log.rewrite(records)?;
        self.rewrite_at = REWRITE_BYTES.max(4 * self.log.len_bytes());
        Ok(())
    }
}

fn encode(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).expect("records hold numbers and texts")
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
        journal.durable(&[range(0, 10)], (10, b"ten")).unwrap();
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
    fn a_long_journal_is_rewritten_and_knows_as_much() {
        let grow = |journal: &Journal| {
            write(journal);
            for k in 0..20_000 {
                journal.written(range(20 + k, 21 + k)).unwrap();
            }
            assert!(journal.state.lock().log.len_bytes() < 2 * REWRITE_BYTES);
        };
        let known = known_after("a", grow);
        assert_eq!(Some(object()), known.object);
        assert_eq!((20_020, Some((30, b"thirty".to_vec()))), (known.ledger.frontier(), known.hash));
        let known = known_after("b", grow);
        assert_eq!((10, Some((10, b"ten".to_vec()))), (known.ledger.frontier(), known.hash));
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
