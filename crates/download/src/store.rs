//! Where a file is put together: part, journal, and what is known of an earlier attempt.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use memory::files::{FileSystem, Open};
use memory::{FileWriter, LogError, WriteOptions};
use parking_lot::Mutex;

use crate::digest::{Algorithm, Running};
use crate::error::{Error, ErrorKind};
use crate::journal::{Journal, Known, Object};
use crate::ledger::Ledger;
use crate::names::{Leftover, Names, Owner};
use crate::range::ByteRange;
use crate::seam;
use crate::validator::Validator;

/// A process of another place, whose number says nothing here, is gone when its journal was silent for so
/// long: one that lives writes to it every second or gives up.
const SILENCE: Duration = Duration::from_secs(60);
/// A sign without a journal is of one who is about to create it; after so long, of one who died there.
const SIGN_ALONE_MAX: Duration = Duration::from_secs(2);
/// A part is younger than its journal by no more than this, unless somebody else wrote to it: every
/// second of writing is followed by a record.
const CLAIM_DELAY_MAX: Duration = Duration::from_secs(5);

/// The journals that this process has open: its own number does not tell those from ones it gave up.
static OPEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Where a file is to come to be.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) files: &'a Arc<dyn FileSystem>,
    pub(crate) target: &'a Path,
    pub(crate) names: &'a Names,
    pub(crate) algorithm: Algorithm,
    pub(crate) boot: &'a Option<String>,
}

/// What stands beside a target.
pub(crate) enum Found {
    /// Nothing that can be gone on with.
    Nothing,
    /// Another transfer that is alive.
    Busy {
        /// Whether it fetches the same.
        same: bool,
    },
    /// Ours now.
    Ours(Box<Store>),
}

/// The state of a file in the making, owned.
pub(crate) struct Store {
    files: Arc<dyn FileSystem>,
    names: Names,
    own: Leftover,
    target: PathBuf,
    journal: Arc<Journal>,
    known: Known,
    algorithm: Algorithm,
}

/// What is here already, ready to go on with.
pub(crate) struct Start {
    pub(crate) writer: Arc<FileWriter>,
    pub(crate) ledger: Ledger,
    /// Offset and state of the hash.
    pub(crate) hash: (u64, Running),
}

impl Store {
    /// Looks for what earlier attempts left beside the target, and takes it over.
    pub(crate) fn find(place: &Place<'_>) -> Result<Found, Error> {
        let Place { files, names, .. } = *place;
        let sign = names.sign();
        if files.open(&sign, Open::Read).is_err() {
            return Ok(Found::Nothing);
        }
        let journals: Vec<_> =
            leftovers(files, names)?.into_iter().filter(|l| l.owner.is_some()).collect();
        let alone = journals.is_empty() && seam::age(&sign).is_some_and(|age| age < SIGN_ALONE_MAX);
        if let Some(other) = journals.iter().find(|journal| lives(files, journal)) {
            return Ok(Found::Busy { same: other.is_same() });
        }
        if alone {
            return Ok(Found::Busy { same: false });
        }
        for left in journals.iter().filter(|journal| journal.is_same()) {
            match take_over(files, left) {
                Ok(own) => return Self::open(place, own),
                // Another was quicker.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(disk("cannot take over", &left.journal())(error)),
            }
        }
        Ok(Found::Nothing)
    }

    /// Begins from nothing; `None` when another transfer has begun in the same moment.
    pub(crate) fn create(place: &Place<'_>) -> Result<Option<Box<Self>>, Error> {
        let Place { files, names, target, .. } = *place;
        let sign = names.sign();
        match files.open(&sign, Open::CreateNew) {
            Ok(_) => {}
            // One that nobody answers for has been looked at.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let journals = leftovers(files, names)?;
                if journals.iter().any(|left| lives(files, left)) {
                    return Ok(None);
                }
                if seam::age(&sign).is_some_and(|age| age < SIGN_ALONE_MAX) {
                    return Ok(None);
                }
            }
            Err(error) => return Err(disk("cannot begin", target)(error)),
        }
        match Self::open(place, names.fresh())? {
            Found::Ours(store) => {
                store.sweep();
                Ok(Some(store))
            }
            Found::Nothing | Found::Busy { .. } => Ok(None),
        }
    }

    fn open(place: &Place<'_>, own: Leftover) -> Result<Found, Error> {
        let Place { files, target, names, algorithm, boot } = *place;
        let path = own.journal();
        // Before the journal is opened, which may write to it.
        let ages = seam::modified(&path).zip(seam::modified(&own.part()));
        let (journal, mut known) = match Journal::open(files, &path, boot.clone()) {
            Ok(opened) => opened,
            Err(LogError::InUse { .. }) => return Ok(Found::Busy { same: true }),
            // A journal that cannot be trusted costs what it knew, not the file.
            Err(LogError::Damaged { .. } | LogError::Version { .. } | LogError::NotALog { .. }) => {
                files.remove(&path).map_err(disk("cannot remove the damaged journal", &path))?;
                Journal::open(files, &path, boot.clone())?
            }
            Err(error) => return Err(error.into()),
        };
        if ages.is_some_and(|(journal, part)| journal + CLAIM_DELAY_MAX < part) {
            // Somebody else may have written to it, so what was hashed earlier is read and hashed again.
            known.hash = None;
        }
        let end = known.ledger.ranges().last().map_or(0, ByteRange::end);
        let part = files.open(&own.part(), Open::Read).and_then(|part| part.len_bytes());
        if part.map_or(true, |len_bytes| len_bytes < end) {
            known = Known::default();
        }
        OPEN.lock().insert(path);
        let (files, target, names) = (Arc::clone(files), target.to_owned(), names.clone());
        let journal = Arc::new(journal);
        let store = Self { files, names, own, target, journal, known, algorithm };
        Ok(Found::Ours(Box::new(store)))
    }

    pub(crate) fn journal(&self) -> Arc<Journal> {
        Arc::clone(&self.journal)
    }

    /// The validator of the bytes that are here, if they can be added to.
    pub(crate) fn resumable(&self) -> Option<(&Validator, &Ledger)> {
        let object = self.known.object.as_ref()?;
        let usable = object.validator.can_resume() && 0 < self.known.ledger.bytes();
        usable.then_some((&object.validator, &self.known.ledger))
    }

    /// Forgets what was here and begins an object from nothing.
    pub(crate) fn begin(&mut self, object: &Object) -> Result<Start, Error> {
        self.journal.begin(object)?;
        self.known = Known::of(object.clone());
        self.start(object.validator.total())
    }

    /// Goes on with what is here.
    pub(crate) fn go_on(&mut self, total: u64) -> Result<Start, Error> {
        self.start(Some(total))
    }

    fn start(&mut self, total: Option<u64>) -> Result<Start, Error> {
        let options = WriteOptions { len_bytes: total, ..WriteOptions::default() };
        let there: Vec<_> = self.known.ledger.ranges().map(|r| r.start()..r.end()).collect();
        self.check_room(total.unwrap_or(0).saturating_sub(self.known.ledger.bytes()))?;
        let writer =
            FileWriter::resume(&self.files, &self.own.part(), &self.target, &there, options)?;
        let fresh = || (0, Running::new(self.algorithm, total.unwrap_or(0)));
        let saved =
            self.known.hash.as_ref().and_then(|(offset, state)| {
                Some((*offset, Running::restore(self.algorithm, state)?))
            });
        let ledger = self.known.ledger.clone();
        Ok(Start { writer: Arc::new(writer), ledger, hash: saved.unwrap_or_else(fresh) })
    }

    /// Before the first byte: a disk that will be full is full now.
    fn check_room(&self, needed_bytes: u64) -> Result<(), Error> {
        // Blocks that are set aside for the part already are not free, yet its own.
        let part = self.files.open(&self.own.part(), Open::Read).and_then(|part| part.len_bytes());
        let Ok(free_bytes) = self.files.free_bytes(self.names.folder()) else { return Ok(()) };
        if part.is_ok_and(|len_bytes| 0 < len_bytes) || needed_bytes <= free_bytes {
            return Ok(());
        }
        let message = format!("no room: {needed_bytes} B are to come and {free_bytes} B are free");
        Err(Error::new(ErrorKind::Disk, message))
    }

    /// Removes all that is left beside the target: the file is published, or what is here is wrong.
    pub(crate) fn clear(self) {
        // What cannot be removed now is found, and judged, by the next attempt. The sign goes last.
        let _ = self.files.remove(&self.own.part());
        let _ = self.files.remove(&self.own.journal());
        self.sweep();
        let others = leftovers(&self.files, &self.names);
        if others.is_ok_and(|others| others.is_empty()) {
            let _ = self.files.remove(&self.names.sign());
        }
    }

    /// Removes what the dead have left of other objects, and parts that nobody knows of.
    fn sweep(&self) {
        let Ok(all) = leftovers(&self.files, &self.names) else { return };
        let owned =
            |part: &Leftover| all.iter().any(|left| left.owner.is_some() && left.is_of(part));
        for left in all.iter().filter(|left| !left.is_of(&self.own)) {
            if left.owner.is_none() && !owned(left) {
                let _ = self.files.remove(&left.part());
            }
            if left.owner.is_some()
                && !lives(&self.files, left)
                && take_over(&self.files, left).is_ok()
            {
                let _ = self.files.remove(&left.part());
                let _ = self.files.remove(&left.ours().journal());
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        OPEN.lock().remove(&self.own.journal());
    }
}

/// What stands beside a target.
fn leftovers(files: &Arc<dyn FileSystem>, names: &Names) -> Result<Vec<Leftover>, Error> {
    let all = files.names(names.folder());
    let all = all.map_err(disk("cannot look into", names.folder()))?;
    Ok(all.iter().filter_map(|name| names.parse(name)).collect())
}

/// Whether the owner of a journal is alive.
fn lives(files: &Arc<dyn FileSystem>, left: &Leftover) -> bool {
    let Some(owner) = &left.owner else { return false };
    let path = left.journal();
    if *owner == Owner::this() {
        return OPEN.lock().contains(&path);
    }
    if owner.place == seam::place() {
        return seam::process_lives(owner.process);
    }
    // Where there are locks, the lock tells; where there are none, silence does.
    let is_free = files.open(&path, Open::Write).and_then(|handle| handle.try_lock());
    !is_free.unwrap_or(true) || seam::age(&path).is_some_and(|age| age < SILENCE)
}

/// Takes a journal, and so its part, from a dead owner: one who asks gets it.
fn take_over(files: &Arc<dyn FileSystem>, left: &Leftover) -> io::Result<Leftover> {
    let ours = left.ours();
    if left.owner != ours.owner {
        files.rename(&left.journal(), &ours.journal())?;
    }
    Ok(ours)
}

fn disk(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let message = format!("{what} {}", path.display());
    move |error| Error::new(ErrorKind::Disk, message).because(error)
}
