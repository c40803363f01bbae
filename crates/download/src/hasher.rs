//! The hash of a file while it is fetched: one thread, always at the frontier.
//!
//! Frames that arrive at the frontier are hashed from memory. Frames that are ahead of it are kept as long
//! as there is room; the others are read back later, when they are still in the page cache: parts are
//! drawn only a bounded lag ahead.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use memory::FileWriter;
use memory::files::FileError;

use crate::digest::{Digest, Running};
use crate::ledger::Ledger;
use crate::range::ByteRange;

/// Frames on their way to the thread, at most; no more than a third of the window is for them.
const FRAMES_MAX: u64 = 16;
/// A frame has so many bytes at most.
const FRAME_BYTES_MAX: u64 = 256 << 10;
/// Bytes that are read back at a time.
const READ_BACK_BYTES: usize = 256 << 10;

/// A frame that was written.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

/// What the thread tells: all bytes before `offset` are hashed, and the state there.
pub(crate) struct Progress {
    pub(crate) offset: u64,
    pub(crate) running: Running,
}

/// The thread that hashes one file.
pub(crate) struct Hasher {
    frames: SyncSender<Frame>,
    thread: JoinHandle<Result<Digest, FileError>>,
}

impl Hasher {
    /// Starts over a file of `total` bytes of which `ledger` is written and `running` stands at `offset`,
    /// with so many bytes for frames. `tell` is called on the thread after each frame, with how far the
    /// hash has come if that is further.
    pub(crate) fn start(
        (total, ledger, window_bytes): (u64, Ledger, u64),
        (offset, running): (u64, Running),
        writer: Arc<FileWriter>,
        tell: impl FnMut(Option<Progress>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let n_frames = (window_bytes / 3 / FRAME_BYTES_MAX).clamp(1, FRAMES_MAX);
        let ahead_bytes_max = window_bytes - (n_frames * FRAME_BYTES_MAX).min(window_bytes);
        let (frames, incoming) = sync_channel(n_frames as usize);
        let (ahead, ahead_bytes) = (BTreeMap::new(), 0);
        let work =
            Work { total, offset, running, ledger, ahead, ahead_bytes, ahead_bytes_max, writer };
        let thread = std::thread::Builder::new()
            .name("hasher".to_owned())
            .spawn(move || work.run(&incoming, tell))?;
        Ok(Self { frames, thread })
    }

    /// Hands a written frame over, or gives it back while the thread is behind.
    pub(crate) fn push(&self, frame: Frame) -> Result<(), Frame> {
        match self.frames.try_send(frame) {
            Err(TrySendError::Full(frame)) => Err(frame),
            // A thread that has ended says why in `finish`.
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }

    /// Waits for the digest; every byte must have been pushed or been in the ledger.
    pub(crate) fn finish(self) -> Result<Option<Digest>, FileError> {
        drop(self.frames);
        match self.thread.join() {
            Ok(digest) => digest.map(Some),
            Err(_) => Ok(None),
        }
    }
}

struct Work {
    total: u64,
    offset: u64,
    running: Running,
    ledger: Ledger,
    /// Frames ahead of the frontier, by offset.
    ahead: BTreeMap<u64, Bytes>,
    ahead_bytes: u64,
    ahead_bytes_max: u64,
    writer: Arc<FileWriter>,
}

impl Work {
    fn run(
        mut self,
        incoming: &Receiver<Frame>,
        mut tell: impl FnMut(Option<Progress>),
    ) -> Result<Digest, FileError> {
        self.advance(&mut tell)?;
        while self.offset < self.total {
            let Ok(frame) = incoming.recv() else { break };
            self.take(frame);
            self.advance(&mut tell)?;
        }
        Ok(self.running.finish())
    }

    fn take(&mut self, Frame { offset, bytes }: Frame) {
        let end = offset + bytes.len() as u64;
        if let Some(range) = ByteRange::new(offset, end) {
            self.ledger.add(range);
        }
        let keeps = self.ahead_bytes + bytes.len() as u64 <= self.ahead_bytes_max;
        if self.offset < end && (keeps || offset <= self.offset) {
            self.ahead_bytes += bytes.len() as u64;
            if let Some(replaced) = self.ahead.insert(offset, bytes) {
                self.ahead_bytes -= replaced.len() as u64;
            }
        }
    }

    /// Hashes all that is there at the frontier.
    fn advance(&mut self, tell: &mut impl FnMut(Option<Progress>)) -> Result<(), FileError> {
        let before = self.offset;
        while self.offset < self.total && self.step()? {}
        let (offset, running) = (self.offset, &self.running);
        tell((before < offset).then(|| Progress { offset, running: running.clone() }));
        Ok(())
    }

    fn step(&mut self) -> Result<bool, FileError> {
        while let Some(entry) = self.ahead.first_entry()
            && *entry.key() <= self.offset
        {
            let (offset, bytes) = entry.remove_entry();
            self.ahead_bytes -= bytes.len() as u64;
            // What was hashed already came twice.
            let known = (self.offset - offset) as usize;
            if let Some(new) = bytes.get(known..).filter(|new| !new.is_empty()) {
                self.running.update(new);
                self.offset += new.len() as u64;
                return Ok(true);
            }
        }
        self.read_back()
    }

    fn read_back(&mut self) -> Result<bool, FileError> {
        let next_frame = self.ahead.keys().next().copied().unwrap_or(u64::MAX);
        let end = self.ledger.ranges().find(|r| r.start() <= self.offset && self.offset < r.end());
        let Some(end) = end.map(|range| range.end().min(next_frame)) else { return Ok(false) };
        let mut buffer = vec![0; READ_BACK_BYTES.min((end - self.offset) as usize)];
        let read = self.writer.read_at(&mut buffer, self.offset)?;
        self.running.update(&buffer[..read]);
        self.offset += read as u64;
        Ok(0 < read)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use memory::WriteOptions;
    use memory::files::{FileSystem, OsFiles};

    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn any_order_of_frames_gives_the_digest_of_the_file() {
        let in_turn: Vec<(usize, usize)> =
            (0..30).map(|k| (k * 100_000, (k + 1) * 100_000)).collect();
        let orders: [fn(usize) -> usize; 3] = [|k| k, |k| 29 - k, |k| k * 7 % 30];
        for order in orders {
            check(&(0..30).map(|k| in_turn[order(k)]).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_comes_twice_is_hashed_once() {
        let overlapping: Vec<(usize, usize)> = (0..30)
            .map(|k| ((k * 100_000_usize).saturating_sub(30_000), (k + 1) * 100_000))
            .collect();
        check(&overlapping);
    }

    /// Frames of a file of 3 MB, in the order in which they arrive.
    #[track_caller]
    fn check(frames: &[(usize, usize)]) {
        let folder = tempfile::tempdir().unwrap();
        let files: Arc<dyn FileSystem> = Arc::new(OsFiles::new());
        let target = folder.path().join("file");
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|k| (k * 7 % 251) as u8).collect();
        let mut expected = Running::new(Algorithm::Sha256, 0);
        expected.update(&bytes);

        let writer = FileWriter::create(&files, &target, WriteOptions::default()).unwrap();
        let writer = Arc::new(writer);
        let told = Arc::new(Mutex::new(0));
        let last = Arc::clone(&told);
        let start = (0, Running::new(Algorithm::Sha256, 3_000_000));
        let tell = move |progress: Option<Progress>| {
            if let Some(progress) = progress {
                *last.lock().unwrap() = progress.offset;
            }
        };
        let work = (3_000_000, Ledger::default(), 1 << 20);
        let hasher = Hasher::start(work, start, Arc::clone(&writer), tell).unwrap();
        for &(from, to) in frames {
            writer.write_at(&bytes[from..to], from as u64).unwrap();
            let bytes = Bytes::copy_from_slice(&bytes[from..to]);
            let mut frame = Frame { offset: from as u64, bytes };
            while let Err(refused) = hasher.push(frame) {
                frame = refused;
                std::thread::yield_now();
            }
        }
        assert_eq!(Some(expected.finish()), hasher.finish().unwrap());
        assert_eq!(3_000_000, *told.lock().unwrap());
    }
}
