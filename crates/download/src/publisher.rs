//! Small files, published in batches: what arrives while one batch is synced makes the next.

use std::path::PathBuf;
use std::sync::Arc;

use memory::files::FileSystem;
use memory::{FileWriter, Reservation, WriteOptions, publish_all};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind};

/// Files of one batch, at most: each is an open file until the batch is published.
const BATCH_MAX: usize = 64;

/// A small file that is whole and right.
pub(crate) struct Parcel {
    pub(crate) target: PathBuf,
    pub(crate) bytes: Vec<u8>,
    /// Given back when the bytes are on the disk.
    pub(crate) reservation: Reservation,
}

type Waiting = (Parcel, oneshot::Sender<Result<(), Error>>);

#[derive(Default)]
struct Line {
    waiting: Vec<Waiting>,
    /// A thread works on it.
    is_served: bool,
}

/// Publishes small files.
pub(crate) struct Publisher {
    files: Arc<dyn FileSystem>,
    line: Mutex<Line>,
}

impl Publisher {
    pub(crate) fn new(files: Arc<dyn FileSystem>) -> Self {
        Self { files, line: Mutex::default() }
    }

    /// Writes the file, syncs it, gives it its name and syncs that, together with others.
    ///
    /// Dropping the future changes nothing: the file is whole and right, and will be published.
    pub(crate) async fn publish(self: &Arc<Self>, parcel: Parcel) -> Result<(), Error> {
        let (done, published) = oneshot::channel();
        let needs_thread = {
            let mut line = self.line.lock();
            line.waiting.push((parcel, done));
            !std::mem::replace(&mut line.is_served, true)
        };
        if needs_thread {
            let publisher = Arc::clone(self);
            tokio::task::spawn_blocking(move || publisher.serve());
        }
        let died = |_| Error::new(ErrorKind::Other, "the publishing thread died");
        published.await.map_err(died)?
    }

    fn serve(&self) {
        // Ends when the line is empty; whoever comes next begins anew.
        while let Some(batch) = self.next_batch() {
            self.publish_batch(batch);
        }
    }

    fn next_batch(&self) -> Option<Vec<Waiting>> {
        let mut line = self.line.lock();
        line.is_served = !line.waiting.is_empty();
        let n = line.waiting.len().min(BATCH_MAX);
        line.is_served.then(|| line.waiting.drain(..n).collect())
    }

    fn publish_batch(&self, batch: Vec<Waiting>) {
        let written: Result<Vec<_>, _> =
            batch.iter().map(|(parcel, _)| self.write(parcel)).collect();
        let published = written.and_then(|writers| publish_all(writers).map_err(|e| e.error));
        for (parcel, done) in batch {
            // One of them failed: each for itself, so that each learns its own fate.
            let result = match &published {
                Ok(()) => Ok(()),
                Err(_) => self.write(&parcel).and_then(FileWriter::publish),
            };
            drop(parcel.reservation);
            // Who does not wait any more does not want to know.
            let _ = done.send(result.map_err(Into::into));
        }
    }

    fn write(&self, parcel: &Parcel) -> Result<FileWriter, memory::files::FileError> {
        let options =
            WriteOptions { len_bytes: Some(parcel.bytes.len() as u64), ..WriteOptions::default() };
        let writer = FileWriter::create(&self.files, &parcel.target, options)?;
        writer.write_at(&parcel.bytes, 0)?;
        Ok(writer)
    }
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}
