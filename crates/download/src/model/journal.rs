//! The queue of models, on disk: what a killed process had to do is done after it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;

use memory::files::{FileSystem, OsFiles};
use memory::{AppendLog, LogError, LogOptions};
use parking_lot::Mutex;
use queue::{Entry, Outcome, Record, Unfinished};
use serde::{Deserialize, Serialize};

use crate::seam::disk;

/// Ten thousand models take some 3 MB.
const JOURNAL_BYTES_MAX: u64 = 256 << 20;

/// One line of the journal.
#[derive(Deserialize, Serialize)]
enum Line {
    /// Everything before counts no more: another list of models.
    Begin {
        list: String,
    },
    Submitted {
        entry: u64,
        key: String,
        class: u8,
        cost: u64,
        unique: Option<String>,
        note: String,
    },
    Started {
        entry: u64,
    },
    Ended {
        entry: u64,
        is_done: bool,
    },
}

/// A [`queue::Journal`] on [`memory::AppendLog`]. Clones are handles to the same.
///
/// What is recorded survives the process as soon as it is recorded, and a power cut once
/// [`commit`](Self::commit) has returned. What a power cut takes is done once more, which changes nothing.
///
/// # Examples
///
/// ```
/// use download::ModelJournal;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("queue");
/// let journal = ModelJournal::open(&path)?;
/// assert!(!journal.resume("list")?, "there is nothing to go on with");
/// # drop(journal);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ModelJournal {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    log: AppendLog,
    known: Known,
}

/// What a journal tells.
#[derive(Debug, Default)]
struct Known {
    list: String,
    next: u64,
    unfinished: BTreeMap<u64, Unfinished<String>>,
    /// Their entries by unique name.
    entries: HashMap<Arc<str>, u64>,
    /// Unique names of those that ended, with how often, and whether well the last time.
    ended: BTreeMap<String, (usize, bool)>,
}

impl Known {
    fn apply(&mut self, line: Line) {
        match line {
            Line::Begin { list } => *self = Self { list, next: self.next, ..Self::default() },
            Line::Submitted { entry, key, class, cost, unique, note } => {
                self.next = self.next.max(entry + 1);
                let (unique, note) = (unique.map(Arc::<str>::from), Arc::from(note.into_bytes()));
                if let Some(unique) = &unique {
                    self.entries.insert(Arc::clone(unique), entry);
                }
                let entry_of = Entry(entry);
                let started = false;
                let job = Unfinished { entry: entry_of, key, class, cost, unique, note, started };
                self.unfinished.insert(entry, job);
            }
            Line::Started { entry } => {
                if let Some(job) = self.unfinished.get_mut(&entry) {
                    job.started = true;
                }
            }
            Line::Ended { entry, is_done } => {
                let unique = self.unfinished.remove(&entry).and_then(|job| job.unique);
                if let Some(unique) = unique {
                    self.entries.remove(&unique);
                    let (times, done) = self.ended.entry(unique.to_string()).or_default();
                    (*times, *done) = (*times + 1, is_done);
                }
            }
        }
    }
}

impl ModelJournal {
    /// Opens or creates a journal, in a folder that is created if need be.
    ///
    /// # Errors
    ///
    /// [`LogError`]; `InUse` while another process has it.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let files: Arc<dyn FileSystem> = Arc::new(OsFiles::new());
        let folder = path.parent().unwrap_or(Path::new("."));
        // What cannot be created cannot be opened, and that says why.
        let _ = disk::create_folders(folder);
        let options = LogOptions { log_bytes_max: JOURNAL_BYTES_MAX, ..LogOptions::default() };
        let mut known = Known::default();
        let mut readable = true;
        let log = AppendLog::open(&files, path, options, |bytes| {
            match serde_json::from_slice(bytes) {
                Ok(line) if readable => known.apply(line),
                // Written by another version: less is known, and done again.
                _ => readable = false,
            }
        })?;
        Ok(Self { state: Arc::new(Mutex::new(State { log, known })) })
    }

    /// Goes on with a list of models, told by its name or digest; returns whether there is something to
    /// go on with. Otherwise begins it anew.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the journal cannot be written.
    pub fn resume(&self, list: &str) -> Result<bool, LogError> {
        let mut state = self.state.lock();
        if state.known.list == list && !state.known.unfinished.is_empty() {
            return Ok(true);
        }
        let line = Line::Begin { list: list.to_owned() };
        state.log.rewrite([encode(&line)])?;
        state.known.apply(line);
        Ok(false)
    }

    /// Returns how often the model of this unique name has ended since the list was begun, and whether
    /// well the last time.
    #[must_use]
    pub fn ended_times(&self, unique: &str) -> Option<(usize, bool)> {
        self.state.lock().known.ended.get(unique).copied()
    }

    /// Returns the record of the model of this unique name, if it was submitted and has not ended.
    #[must_use]
    pub fn unfinished(&self, unique: &str) -> Option<Unfinished<String>> {
        let state = self.state.lock();
        let entry = state.known.entries.get(unique)?;
        state.known.unfinished.get(entry).cloned()
    }

    /// Returns how many models have ended since the list was begun, each counted as often as it ended,
    /// and how many were submitted and have not.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        let ended = state.known.ended.values().map(|(times, _)| times).sum();
        (ended, state.known.unfinished.len())
    }

    /// Waits until what is recorded survives a power cut. Blocks as long as the disk takes.
    ///
    /// # Errors
    ///
    /// [`LogError`] when the disk refuses.
    pub fn commit(&self) -> Result<(), LogError> {
        let state = self.state.lock();
        let line = Line::Started { entry: u64::MAX };
        state.log.append_durably(&encode(&line))
    }

    fn write(&self, line: Line) -> io::Result<()> {
        let mut state = self.state.lock();
        state.log.append(&encode(&line)).map_err(io::Error::other)?;
        state.known.apply(line);
        Ok(())
    }
}

impl queue::Journal<String> for ModelJournal {
    fn submitted(&mut self, job: &Record<'_, String>) -> io::Result<Entry> {
        let entry = self.state.lock().known.next;
        self.write(Line::Submitted {
            entry,
            key: job.key.clone(),
            class: job.class,
            cost: job.cost,
            unique: job.unique.map(str::to_owned),
            note: String::from_utf8_lossy(job.note).into_owned(),
        })?;
        Ok(Entry(entry))
    }

    fn started(&mut self, entry: Entry) -> io::Result<()> {
        self.write(Line::Started { entry: entry.0 })
    }

    fn ended(&mut self, entry: Entry, outcome: Outcome) -> io::Result<()> {
        self.write(Line::Ended { entry: entry.0, is_done: outcome == Outcome::Done })
    }

    fn replay(&mut self) -> io::Result<Vec<Unfinished<String>>> {
        Ok(self.state.lock().known.unfinished.values().cloned().collect())
    }
}

fn encode(line: &Line) -> Vec<u8> {
    serde_json::to_vec(line).expect("lines hold texts and numbers")
}

#[cfg(test)]
mod tests {
    use queue::Journal;

    use super::*;

    fn record<'a>(key: &'a String, unique: &'a str) -> Record<'a, String> {
        Record { key, class: 1, cost: 1, unique: Some(unique), note: b"note" }
    }

    #[test]
    fn what_was_not_ended_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("queue");
        let key = "org".to_owned();
        let mut journal = ModelJournal::open(&path).unwrap();
        assert!(!journal.resume("list").unwrap());
        let a = journal.submitted(&record(&key, "a")).unwrap();
        let b = journal.submitted(&record(&key, "b")).unwrap();
        journal.started(b).unwrap();
        journal.ended(a, Outcome::Done).unwrap();
        journal.commit().unwrap();
        assert!(ModelJournal::open(&path).is_err(), "one at a time");
        drop(journal);

        let mut journal = ModelJournal::open(&path).unwrap();
        assert!(journal.resume("list").unwrap());
        let unfinished = journal.replay().unwrap();
        assert_eq!(
            (1, true, Some("b")),
            (unfinished.len(), unfinished[0].started, unfinished[0].unique.as_deref())
        );
        assert_eq!((Some((1, true)), None), (journal.ended_times("a"), journal.ended_times("b")));
        assert!(
            b < journal.submitted(&record(&key, "c")).unwrap(),
            "entries are never given again"
        );
        assert_eq!((1, 2), journal.counts());
    }

    #[test]
    fn another_list_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = ModelJournal::open(&folder.path().join("queue")).unwrap();
        journal.resume("list").unwrap();
        journal.submitted(&record(&"org".to_owned(), "a")).unwrap();
        assert!(!journal.resume("other").unwrap());
        assert!(journal.replay().unwrap().is_empty());
    }
}
