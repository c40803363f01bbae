//! A log that survives: checksummed records, a torn tail is dropped, never the rest.

mod crc32c;
mod error;
mod record;
mod recover;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::record::{HEADER, VERSION, encode};
use self::recover::{Scan, Verdict};
use crate::files::{FileError, FileSystem, Handle, Open, Step, read_full, write_full};
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::writer::{FileWriter, WriteOptions, folder_of};

pub use self::error::LogError;

/// How often the file is opened again when it was replaced between opening and locking: whoever replaces
/// it more often than this holds its lock.
const REOPENS_MAX: u32 = 10;

/// The bounds of a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogOptions {
    /// The longest record: 1 MiB by default. A log with longer ones is not opened.
    pub record_bytes_max: u32,
    /// The longest log: 1 GiB by default, some seconds of replay.
    pub log_bytes_max: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { record_bytes_max: 1 << 20, log_bytes_max: 1 << 30 }
    }
}

/// The end of a record in its log; what [`AppendLog::commit`] waits for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Position(u64);

/// A file of records, to which records are appended.
///
/// **Guarantee.** After a crash at any instant, opening it replays every record that was
/// [committed](Self::commit), in order, perhaps followed by some that were appended and not yet committed,
/// each whole, and nothing else.
///
/// **Damage.** What follows the last whole record is dropped as a torn tail, unless a later whole record
/// says that it had been committed: then the log is [damaged](LogError::Damaged), and nothing is changed.
/// Damage to the very last records cannot be told from a torn tail.
///
/// **Cost.** An append is one system call; a commit is one sync for all that wait for one.
///
/// All calls block; in a runtime they belong on a thread for that.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use memory::files::{FileSystem, OsFiles};
/// use memory::{AppendLog, LogOptions};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("journal");
/// let files: Arc<dyn FileSystem> = Arc::new(OsFiles::new());
///
/// let log = AppendLog::open(&files, &path, LogOptions::default(), |_| unreachable!("it is new"))?;
/// log.append(b"part 1 is safe")?;
/// let last = log.append(b"part 2 is safe")?;
/// log.commit(last)?;
/// drop(log);
///
/// let mut records = 0;
/// AppendLog::open(&files, &path, LogOptions::default(), |_record| records += 1)?;
/// assert_eq!(2, records);
/// # Ok::<(), memory::LogError>(())
/// # ;Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AppendLog {
    files: Arc<dyn FileSystem>,
    path: PathBuf,
    options: LogOptions,
    state: Mutex<State>,
    synced: Condvar,
}

struct State {
    handle: Arc<dyn Handle>,
    end: u64,
    durable: u64,
    /// Somebody syncs; the others wait for the result.
    syncing: bool,
    /// The end is not known any more.
    unsynced: bool,
    /// The bytes of one record, kept for the next.
    scratch: Vec<u8>,
}

impl AppendLog {
    /// Opens a log, or creates it, and gives each of its records to `replay` in order.
    ///
    /// A torn tail is cut off, durably, before this returns. The log is locked until it is dropped, where
    /// the file system has locks.
    ///
    /// # Errors
    ///
    /// [`LogError`]; `replay` may have been called already.
    pub fn open(
        files: &Arc<dyn FileSystem>,
        path: &Path,
        options: LogOptions,
        replay: impl FnMut(&[u8]),
    ) -> Result<Self, LogError> {
        let handle = open_locked(&**files, path)?;
        let end = recover(&*handle, path, options, replay)?;
        // Also the name of a new log, and what a process that died had not synced.
        handle.sync().map_err(FileError::io(Step::Sync, path))?;
        let folder = folder_of(path);
        files.sync_folder(folder).map_err(FileError::io(Step::SyncFolder, path))?;
        let state = State {
            handle,
            end,
            durable: end,
            syncing: false,
            unsynced: false,
            scratch: Vec::new(),
        };
        let (files, path) = (Arc::clone(files), path.to_owned());
        Ok(Self { files, path, options, state: Mutex::new(state), synced: Condvar::new() })
    }

    /// Appends a record, which is not yet safe: that takes a [`commit`](Self::commit).
    ///
    /// # Errors
    ///
    /// [`LogError`]; the log is as before, and can go on unless the error is [`LogError::Unsynced`].
    pub fn append(&self, record: &[u8]) -> Result<Position, LogError> {
        check_record(record, self.options)?;
        let mut state = self.usable()?;
        let State { handle, end, durable, scratch, .. } = &mut *state;
        scratch.clear();
        encode(*end, *durable, record, scratch);
        let next = *end + scratch.len() as u64;
        if self.options.log_bytes_max < next {
            return Err(LogError::Full { bytes_max: self.options.log_bytes_max });
        }
        let written = write_full(scratch, *end, |bytes, offset| handle.write_at(bytes, offset));
        if let Err((error, at)) = written {
            // Half a record would be a torn tail to the next opening, but not to the next append.
            state.unsynced = state.handle.set_len(state.end).is_err();
            return Err(FileError::io(Step::Write, &self.path)(error).at(at).into());
        }
        state.end = next;
        Ok(Position(next))
    }

    /// Waits until all records up to `position` are durable. Those who wait share one sync.
    ///
    /// # Errors
    ///
    /// [`LogError`]: after a failed sync nobody knows what is on the disk, so the log refuses everything
    /// but being opened anew.
    pub fn commit(&self, position: Position) -> Result<(), LogError> {
        let mut state = self.usable()?;
        // A rewrite may have made the log shorter; what it kept is durable.
        while state.durable < position.0.min(state.end) {
            if state.syncing {
                state = self.synced.wait(state);
            } else {
                state = self.sync_once(state)?;
            }
            if state.unsynced {
                return Err(LogError::Unsynced);
            }
        }
        Ok(())
    }

    /// Appends a record and commits it.
    ///
    /// # Errors
    ///
    /// Those of [`append`](Self::append) and [`commit`](Self::commit).
    pub fn append_durably(&self, record: &[u8]) -> Result<(), LogError> {
        let position = self.append(record)?;
        self.commit(position)
    }

    /// Replaces the whole log, in one step, by one with these records: what still counts.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the old log is still there, unless only the name of the new one could not be made
    /// durable ([`Step::SyncFolder`]).
    pub fn rewrite(
        &mut self,
        records: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<(), LogError> {
        let writer = FileWriter::create(&self.files, &self.path, WriteOptions::default())?;
        writer.write_at(&HEADER, 0)?;
        let start = HEADER.len() as u64;
        let (mut end, mut bytes) = (start, Vec::new());
        for record in records {
            check_record(record.as_ref(), self.options)?;
            bytes.clear();
            encode(end, start, record.as_ref(), &mut bytes);
            writer.write_at(&bytes, end)?;
            end += bytes.len() as u64;
            if self.options.log_bytes_max < end {
                return Err(LogError::Full { bytes_max: self.options.log_bytes_max });
            }
        }
        // The new file is locked since it was created, and takes its name with the lock held.
        let handle = writer.handle();
        let published = writer.publish();
        if published.as_ref().is_err_and(|error| error.step() != Step::SyncFolder) {
            return Ok(published?);
        }
        let mut state = self.state.lock();
        (state.handle, state.end, state.durable, state.unsynced) = (handle, end, end, false);
        Ok(published?)
    }

    /// Returns the length of the log in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.state.lock().end
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn usable(&self) -> Result<MutexGuard<'_, State>, LogError> {
        let state = self.state.lock();
        if state.unsynced { Err(LogError::Unsynced) } else { Ok(state) }
    }

    /// Syncs for everybody, without the lock.
    fn sync_once<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
    ) -> Result<MutexGuard<'a, State>, LogError> {
        state.syncing = true;
        let (handle, end) = (Arc::clone(&state.handle), state.end);
        drop(state);
        let result = handle.sync();
        let mut state = self.state.lock();
        state.syncing = false;
        match &result {
            Ok(()) => state.durable = end,
            Err(_) => state.unsynced = true,
        }
        self.synced.notify_all();
        result.map_err(FileError::io(Step::Sync, &self.path))?;
        Ok(state)
    }
}

impl fmt::Debug for AppendLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("AppendLog")
            .field("path", &self.path)
            .field("end", &state.end)
            .field("durable", &state.durable)
            .finish_non_exhaustive()
    }
}

fn check_record(record: &[u8], options: LogOptions) -> Result<(), LogError> {
    let bytes_max = options.record_bytes_max;
    let fits = u32::try_from(record.len()).is_ok_and(|bytes| 0 < bytes && bytes <= bytes_max);
    if fits { Ok(()) } else { Err(LogError::RecordSize { bytes: record.len(), bytes_max }) }
}

/// Opens and locks the file that has this name at that time.
fn open_locked(files: &dyn FileSystem, path: &Path) -> Result<Arc<dyn Handle>, LogError> {
    let error = || FileError::io(Step::Open, path);
    for _ in 0..REOPENS_MAX {
        let handle = files.open(path, Open::Create).map_err(error())?;
        // A file system without locks is the caller's risk, not a reason to fail.
        if !handle.try_lock().unwrap_or(true) {
            return Err(LogError::InUse { path: path.to_owned() });
        }
        // A rewrite may have put another file in its place before the lock.
        let named = files.open(path, Open::Read).and_then(|handle| handle.id());
        if named.is_ok_and(|id| handle.id().is_ok_and(|own| own == id)) {
            return Ok(handle);
        }
    }
    Err(LogError::InUse { path: path.to_owned() })
}

/// Replays the records and cuts a torn tail off; returns where the log ends.
fn recover(
    handle: &dyn Handle,
    path: &Path,
    options: LogOptions,
    replay: impl FnMut(&[u8]),
) -> Result<u64, LogError> {
    let error = |step| FileError::io(step, path);
    let log_bytes = handle.len_bytes().map_err(error(Step::Read))?;
    let mut header = [0; HEADER.len()];
    let read = read_full(handle, &mut header, 0).map_err(error(Step::Read))?;
    let scan = Scan { handle, log_bytes, payload_bytes_max: options.record_bytes_max };
    let begun = &header[..read];
    let is_torn =
        begun.iter().all(|&byte| byte == 0) || (read < HEADER.len() && HEADER.starts_with(begun));
    if !is_torn && header != HEADER {
        let (magic, found) = (&header[..HEADER.len() - 1], header[HEADER.len() - 1]);
        let path = path.to_owned();
        return Err(if HEADER.starts_with(magic) && found != VERSION {
            LogError::Version { path, found }
        } else {
            LogError::NotALog { path }
        });
    }
    if is_torn {
        // New, or its creation was torn: then nothing has been committed.
        if scan.has_records().map_err(error(Step::Read))? {
            return Err(LogError::Damaged { path: path.to_owned(), position: 0 });
        }
        handle.set_len(0).map_err(error(Step::Write))?;
        let written = write_full(&HEADER, 0, |bytes, offset| handle.write_at(bytes, offset));
        written.map_err(|(cause, at)| error(Step::Write)(cause).at(at))?;
        return Ok(HEADER.len() as u64);
    }
    match scan.run(replay).map_err(error(Step::Read))? {
        Verdict::Damaged { position } => Err(LogError::Damaged { path: path.to_owned(), position }),
        Verdict::TooLong { payload_bytes } => Err(LogError::RecordSize {
            bytes: payload_bytes as usize,
            bytes_max: options.record_bytes_max,
        }),
        Verdict::Whole { end } => {
            if end < log_bytes {
                handle.set_len(end).map_err(error(Step::Write))?;
            }
            Ok(end)
        }
    }
}
