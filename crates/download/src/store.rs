//! Where a file is put together: part, journal, and what is known of an earlier attempt.

use std::sync::Arc;

use memory::files::FileSystem;
use memory::{FileWriter, LogError, WriteOptions};

use crate::digest::{Algorithm, Running};
use crate::error::Error;
use crate::journal::{Journal, Known, Object, Paths};
use crate::ledger::Ledger;
use crate::seam;
use crate::validator::Validator;

/// The state of a file in the making.
pub(crate) struct Store {
    files: Arc<dyn FileSystem>,
    paths: Paths,
    target: std::path::PathBuf,
    /// `None` while another process has it: then this one works in a part of its own.
    journal: Option<Arc<Journal>>,
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
    /// Looks at what an earlier attempt left beside the target.
    pub(crate) fn open(
        files: &Arc<dyn FileSystem>,
        target: &std::path::Path,
        algorithm: Algorithm,
    ) -> Result<Self, Error> {
        let paths = Paths::beside(target);
        // Before the journal is opened, which may write to it.
        let tampered = seam::modified(&paths.journal) < seam::modified(&paths.part);
        let (journal, known) = match Journal::open(files, &paths.journal, seam::boot()) {
            Ok((journal, known)) => (Some(Arc::new(journal)), known),
            Err(LogError::InUse { .. }) => (None, Known::default()),
            // A journal that cannot be trusted costs what it knew, not the file.
            Err(LogError::Damaged { .. } | LogError::Version { .. } | LogError::NotALog { .. }) => {
                files.remove(&paths.journal).map_err(|error| {
                    let message = "cannot remove a damaged journal";
                    Error::new(crate::ErrorKind::Disk, message).because(error)
                })?;
                let (journal, known) = Journal::open(files, &paths.journal, seam::boot())?;
                (Some(Arc::new(journal)), known)
            }
            Err(error) => return Err(error.into()),
        };
        let mut known = known;
        if tampered {
            // Every write is followed by a record of it. Where the part is younger than its journal somebody
            // else may have written to it, so what was hashed earlier is read and hashed again.
            known.hash = None;
        }
        let (files, target) = (Arc::clone(files), target.to_owned());
        Ok(Self { files, paths, target, journal, known, algorithm })
    }

    pub(crate) fn journal(&self) -> Option<Arc<Journal>> {
        self.journal.clone()
    }

    /// The validator of the bytes that are here, if they are of this address and digest and can be added
    /// to.
    pub(crate) fn resumable(
        &self,
        address: &str,
        digest: Option<&str>,
    ) -> Option<(&Validator, &Ledger)> {
        let object = self.known.object.as_ref()?;
        let same = object.address == address && object.digest.as_deref() == digest;
        let usable = same && object.validator.can_resume() && 0 < self.known.ledger.bytes();
        usable.then_some((&object.validator, &self.known.ledger))
    }

    /// Forgets what was here and begins an object from nothing.
    pub(crate) fn begin(&mut self, object: &Object) -> Result<Start, Error> {
        if let Some(journal) = &self.journal {
            journal.begin(object)?;
        }
        self.known = Known { object: Some(object.clone()), ..Known::default() };
        self.start(object.validator.total())
    }

    /// Goes on with what is here.
    pub(crate) fn go_on(&self, total: u64) -> Result<Start, Error> {
        self.start(Some(total))
    }

    fn start(&self, total: Option<u64>) -> Result<Start, Error> {
        let options = WriteOptions { len_bytes: total, ..WriteOptions::default() };
        let writer = if self.journal.is_some() {
            let there: Vec<_> = self.known.ledger.ranges().map(|r| r.start()..r.end()).collect();
            FileWriter::resume(&self.files, &self.paths.part, &self.target, &there, options)?
        } else {
            FileWriter::create(&self.files, &self.target, options)?
        };
        let fresh = || (0, Running::new(self.algorithm, total.unwrap_or(0)));
        let saved =
            self.known.hash.as_ref().and_then(|(offset, state)| {
                Some((*offset, Running::restore(self.algorithm, state)?))
            });
        let ledger = self.known.ledger.clone();
        Ok(Start { writer: Arc::new(writer), ledger, hash: saved.unwrap_or_else(fresh) })
    }

    /// Removes part and journal: the file is published, or what is here is wrong.
    pub(crate) fn clear(self) {
        let Self { files, paths, journal, .. } = self;
        if journal.is_some() {
            // What cannot be removed now is found, and judged, by the next attempt.
            let _ = files.remove(&paths.part);
            let _ = files.remove(&paths.journal);
        }
    }
}
