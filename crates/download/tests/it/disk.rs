//! Disks that lose their power, run full, and fail to sync.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use download::{Downloader, Error, ErrorKind, Event, FetchOptions, Fetched, How, Job};
use memory::files::simulated::{Faults, SimulatedDisk};
use memory::files::{FileSystem, Handle, Open};
use pool::http::Client;

use crate::world::{Part, SIZE, World, client_options, options};

const TARGET: &str = "/model";

/// Shows its disk to `watch` after each call that changes something.
#[derive(Clone)]
struct Watched {
    disk: SimulatedDisk,
    watch: Arc<dyn Fn(&SimulatedDisk) + Send + Sync>,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.disk.fmt(f)
    }
}

impl Watched {
    fn after<T>(&self, result: T) -> T {
        (self.watch)(&self.disk);
        result
    }
}

impl FileSystem for Watched {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn Handle>> {
        let handle = self.after(self.disk.open(path, how))?;
        Ok(Arc::new(WatchedHandle { handle, watched: self.clone() }))
    }

    fn create_folders(&self, folder: &Path) -> io::Result<()> {
        self.disk.create_folders(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.after(self.disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.after(self.disk.remove(path))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.after(self.disk.sync_folder(folder))
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        self.disk.names(folder)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        self.disk.free_bytes(folder)
    }
}

struct WatchedHandle {
    handle: Arc<dyn Handle>,
    watched: Watched,
}

impl std::fmt::Debug for WatchedHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.handle.fmt(f)
    }
}

impl Handle for WatchedHandle {
    fn len_bytes(&self) -> io::Result<u64> {
        self.handle.len_bytes()
    }

    fn id(&self) -> io::Result<(u64, u64)> {
        self.handle.id()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.handle.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.watched.after(self.handle.write_at(bytes, offset))
    }

    fn allocate(&self, len_bytes: u64) -> io::Result<()> {
        self.handle.allocate(len_bytes)
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.watched.after(self.handle.set_len(len_bytes))
    }

    fn sync(&self) -> io::Result<()> {
        self.watched.after(self.handle.sync())
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.handle.try_lock()
    }
}

/// Fetches onto a simulated disk, in a boot of the machine of this name.
fn fetch_onto(
    files: Arc<dyn FileSystem>,
    boot: &str,
    job: &Job,
    tell: impl Fn(Event) + Send + Sync,
) -> Result<Fetched, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::new(client_options());
        let boot = Some(boot.to_owned());
        let options = FetchOptions { durable_bytes: 500_000, ..options() };
        Downloader::in_boot(boot, files, client, options).fetch(job, tell).await
    })
}

fn job(world: &World) -> Job {
    Job { target: TARGET.into(), ..world.job(true) }
}

fn content(world: &World, disk: &SimulatedDisk) -> Part {
    disk.read(Path::new(TARGET)).map_or(Part::Absent, |bytes| world.judge(&bytes))
}

/// The order of writes, syncs and renames, judged by what may be left of it: after each call the power is
/// cut in several ways, and each disk that this may leave holds no file or the right one; and a transfer
/// that goes on from there ends right.
#[test]
fn a_power_cut_at_any_instant_leaves_no_wrong_file_and_can_be_gone_on_from() {
    const CUTS_PER_CALL: u64 = 4;
    /// Of so many disks that were left, one is gone on from: that takes a transfer.
    const RESUMED_ONE_IN: u64 = 7;

    let world = World::new(&[]);
    let mut expected = vec![0; SIZE as usize];
    world.blob.fill(0, &mut expected);
    let (calls, left) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let left = Arc::new(left);
    let watch = {
        let left = Arc::clone(&left);
        move |disk: &SimulatedDisk| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            for cut in 0..CUTS_PER_CALL {
                let seed = call * CUTS_PER_CALL + cut;
                let after = disk.lose_power(seed);
                let published = after.read(Path::new(TARGET));
                let is_right = published.is_none_or(|bytes| bytes == expected);
                assert!(is_right, "call {call}, cut {cut}: a wrong file");
                if seed.is_multiple_of(RESUMED_ONE_IN) {
                    left.lock().unwrap().push((seed, after));
                }
            }
        }
    };
    let disk = SimulatedDisk::new(1);
    let files = Watched { disk: disk.clone(), watch: Arc::new(watch) };
    fetch_onto(Arc::new(files), "first", &job(&world), |_| ()).unwrap();
    assert_eq!(Part::Right, content(&world, &disk));
    let left = std::mem::take(&mut *left.lock().unwrap());
    assert!(10 < left.len(), "{} disks", left.len());
    let mut resumed = 0;
    for (seed, after) in left {
        let fetched = fetch_onto(Arc::new(after.clone()), "second", &job(&world), |event| {
            assert!(!matches!(event, Event::Restart { .. }), "seed {seed}: {event:?}");
        });
        let fetched = fetched.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        resumed += usize::from(fetched.how == How::Resumed);
        assert_eq!(Part::Right, content(&world, &after), "seed {seed}");
    }
    assert!(0 < resumed, "nothing was ever gone on with");
    assert_eq!(Part::Right, content(&world, &disk.lose_power(0)), "what was acknowledged stays");
}

#[test]
fn a_disk_that_would_be_full_is_refused_before_the_first_byte() {
    let world = World::new(&[]);
    let disk = SimulatedDisk::new(1);
    disk.set_faults(Faults { capacity_bytes: Some(SIZE / 2), ..Faults::default() });
    let error = fetch_onto(Arc::new(disk.clone()), "a", &job(&world), |_| ()).unwrap_err();
    assert_eq!(ErrorKind::Disk, error.kind(), "{error:?}");
    assert_eq!(Part::Absent, content(&world, &disk));
}

#[test]
fn a_disk_that_runs_full_is_gone_on_from_when_there_is_room() {
    let world = World::new(&[]);
    let disk = SimulatedDisk::new(1);
    let filling = disk.clone();
    let fill = move |event| {
        if let Event::Progress { done_bytes, .. } = event
            && SIZE / 3 < done_bytes
        {
            let capacity_bytes = Some(SIZE / 2);
            filling.set_faults(Faults { capacity_bytes, ..Faults::default() });
        }
    };
    let error = fetch_onto(Arc::new(disk.clone()), "a", &job(&world), fill).unwrap_err();
    assert_eq!((ErrorKind::Disk, true), (error.kind(), error.is_resumable()), "{error:?}");
    assert_eq!(Part::Absent, content(&world, &disk));
    disk.set_faults(Faults::default());
    world.origin.reset();
    let fetched = fetch_onto(Arc::new(disk.clone()), "a", &job(&world), |_| ()).unwrap();
    assert_eq!((How::Resumed, Part::Right), (fetched.how, content(&world, &disk)));
    assert!(world.origin.stats().sent_bytes < SIZE);
}

/// After a failed sync nobody knows what is on the disk: the part is not trusted any more.
#[test]
fn a_sync_that_fails_publishes_nothing_and_the_next_attempt_ends_right() {
    let world = World::new(&[]);
    let mut failed = 0;
    for sync in 0..12 {
        let disk = SimulatedDisk::new(sync);
        disk.set_faults(Faults { failing_sync: Some(sync), ..Faults::default() });
        let files: Arc<dyn FileSystem> = Arc::new(disk.clone());
        if let Err(error) = fetch_onto(Arc::clone(&files), "a", &job(&world), |_| ()) {
            failed += 1;
            assert_eq!(ErrorKind::Disk, error.kind(), "sync {sync}: {error:?}");
            assert_eq!(Part::Absent, content(&world, &disk), "sync {sync}");
            disk.set_faults(Faults::default());
            fetch_onto(files, "a", &job(&world), |_| ()).unwrap();
        }
        assert_eq!(Part::Right, content(&world, &disk), "sync {sync}");
    }
    assert!(1 < failed, "{failed} syncs failed");
}

#[test]
fn writes_that_are_short_and_interrupted_change_nothing() {
    let world = World::new(&[]);
    let disk = SimulatedDisk::new(3);
    disk.set_faults(Faults { shorten_one_in: 3, interrupt_one_in: 5, ..Faults::default() });
    fetch_onto(Arc::new(disk.clone()), "a", &job(&world), |_| ()).unwrap();
    assert_eq!(Part::Right, content(&world, &disk));
}

#[test]
fn a_read_only_disk_is_a_disk_error() {
    let world = World::new(&[]);
    let disk = SimulatedDisk::new(3);
    disk.set_faults(Faults { read_only: true, ..Faults::default() });
    let error = fetch_onto(Arc::new(disk), "a", &job(&world), |_| ()).unwrap_err();
    assert_eq!(ErrorKind::Disk, error.kind());
}
