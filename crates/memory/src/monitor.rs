//! A thread that watches the pressure and tells when it changes.

mod watch;

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::info::{MemoryInfo, Pressure, Usage};
use crate::level::{Change, Level, LevelTracker, Thresholds};
use crate::reclaim::{Caches, Reclaim};
use crate::seam::{Alarm, Woke, now};
use crate::sync::Mutex;

use self::watch::Board;
pub use self::watch::{Closed, Watch};

/// After so many samples all files are opened anew: a process may be moved to another control group.
const SAMPLES_PER_REFRESH: u32 = 64;

/// How a [`Monitor`] watches.
#[derive(Clone, Debug)]
pub struct MonitorOptions {
    /// When levels begin and end.
    pub thresholds: Thresholds,
    /// How long between two samples, 500 ms by default: at some 20 µs a sample that is 0.004 % of a core,
    /// and stalls wake the monitor besides. At least 1 ms.
    pub interval: Duration,
    /// From how many percent of the last 10 s in which *all* tasks stood still the level is at least
    /// [`Level::High`], whatever the ratio says: 10 by default. The kernel is then already reclaiming in
    /// everybody's way.
    pub stall_percent_high: f64,
    /// Where the kernel's files are: `/`, or a tree of files in tests.
    pub root: PathBuf,
}

impl Default for MonitorOptions {
    fn default() -> Self {
        Self {
            thresholds: Thresholds::default(),
            interval: Duration::from_millis(500),
            stall_percent_high: 10.0,
            root: PathBuf::from("/"),
        }
    }
}

/// What the monitor saw in one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// The use of the fullest limit; `None` where the system does not tell.
    pub usage: Option<Usage>,
    /// The stalls; `None` where the system does not tell.
    pub pressure: Option<Pressure>,
}

/// Watches limits, working set and stalls from one thread of its own, and needs no runtime.
///
/// It samples at an interval, and at once when the kernel's stall trigger fires, where the kernel and the
/// container allow one. A system that tells nothing stays at [`Level::Normal`]. Dropping the monitor
/// ends its thread and waits for it.
///
/// # Examples
///
/// ```
/// use memory::{Level, Monitor, MonitorOptions};
///
/// let monitor = Monitor::start(MonitorOptions::default())?;
/// monitor.on_change(|change, _sample| println!("{} -> {}", change.from, change.to));
/// let watch = monitor.watch();
/// assert!(watch.level() <= Level::Critical);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Monitor {
    shared: Arc<Shared>,
    /// Dropping it wakes the thread for the last time.
    cord: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

type Callback = Box<dyn FnMut(Change, &Sample) + Send>;

#[derive(Default)]
struct Shared {
    board: Arc<Board>,
    callbacks: Mutex<Vec<Callback>>,
    caches: Caches,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    sample: Sample,
    samples: u64,
    callback_panics: u64,
    has_trigger: bool,
}

/// The state of a [`Monitor`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct MonitorStats {
    /// The level after the last sample.
    pub level: Level,
    /// The last sample.
    pub sample: Sample,
    /// How many samples were taken; the first one before [`Monitor::start`] returned.
    pub samples: u64,
    /// How many calls of callbacks and caches panicked. A callback that panics is called again at the next
    /// change, a cache at the next sample.
    pub callback_panics: u64,
    /// Whether the kernel wakes the monitor when tasks stall; otherwise only time does.
    pub has_trigger: bool,
}

impl Monitor {
    /// Takes a first sample and starts the thread.
    ///
    /// # Errors
    ///
    /// The system's when it has no thread or descriptor left.
    ///
    /// # Panics
    ///
    /// When the thresholds are not usable; see [`LevelTracker::new`].
    pub fn start(options: MonitorOptions) -> io::Result<Self> {
        let info = MemoryInfo::open_at(&options.root);
        let (alarm, cord) = Alarm::new(info.trigger_path())?;
        let tracker = LevelTracker::new(options.thresholds);
        let shared = Arc::<Shared>::default();
        let mut watcher = Watcher { shared: Arc::clone(&shared), info, alarm, tracker, options };
        watcher.sample();
        let thread =
            thread::Builder::new().name("memory-monitor".into()).spawn(move || watcher.run())?;
        Ok(Self { shared, cord: Some(cord), thread: Some(thread) })
    }

    /// Has `callback` called from the monitor's thread at each change from now on; where the level is by
    /// now, [`level`](Self::level) tells. It may panic; it should not block, for the next sample waits.
    pub fn on_change(&self, callback: impl FnMut(Change, &Sample) + Send + 'static) {
        self.shared.callbacks.lock().push(Box::new(callback));
    }

    /// Has `cache` asked for memory from the monitor's thread at each sample at [`Level::High`] or above:
    /// at `High` for what is used above the beginning of `Warn`, at `Critical` for all it has. Held weakly.
    pub fn add_cache(&self, cache: &Arc<impl Reclaim + 'static>) {
        let cache: Weak<dyn Reclaim> = Arc::downgrade(cache) as Weak<dyn Reclaim>;
        self.shared.caches.add(cache);
    }

    /// Returns a receiver of changes of level.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch::new(Arc::clone(&self.shared.board))
    }

    /// Returns the level after the last sample.
    pub fn level(&self) -> Level {
        self.shared.board.level()
    }

    /// Returns the last sample and the counts.
    pub fn stats(&self) -> MonitorStats {
        let Seen { sample, samples, callback_panics, has_trigger } = *self.shared.seen.lock();
        MonitorStats { level: self.level(), sample, samples, callback_panics, has_trigger }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        drop(self.cord.take());
        let Some(thread) = self.thread.take() else { return };
        // Dropped from a callback, the thread cannot wait for itself; it ends by itself.
        if thread.thread().id() != thread::current().id() {
            // It catches the panics of others and has none of its own.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// What the thread owns.
struct Watcher {
    shared: Arc<Shared>,
    info: MemoryInfo,
    alarm: Alarm,
    tracker: LevelTracker,
    options: MonitorOptions,
}

impl Watcher {
    fn run(mut self) {
        let interval = self.options.interval.max(Duration::from_millis(1));
        let mut samples = 0_u32;
        while self.alarm.wait(interval) != Woke::Stop {
            samples = samples.wrapping_add(1);
            if samples % SAMPLES_PER_REFRESH == 0 {
                self.info.refresh();
            }
            self.sample();
        }
        self.shared.board.close();
    }

    fn sample(&mut self) {
        let sample = Sample { usage: self.info.usage().ok(), pressure: self.info.pressure().ok() };
        let change = self.tracker.sample(self.signal(&sample), now());
        self.note(sample);
        if let Some(change) = change {
            self.shared.board.post(change.to);
            self.tell(change, &sample);
        }
        self.reclaim(&sample);
    }

    /// The number that is held against the thresholds: the used part of the fullest limit, or where
    /// [`Level::High`] begins when everybody stands still.
    fn signal(&self, sample: &Sample) -> f64 {
        let ratio = sample.usage.map_or(0.0, |usage| usage.ratio());
        let stalled = sample
            .pressure
            .is_some_and(|pressure| self.options.stall_percent_high <= pressure.full.avg10);
        if stalled { ratio.max(self.options.thresholds.begins[1]) } else { ratio }
    }

    fn note(&self, sample: Sample) {
        let mut seen = self.shared.seen.lock();
        seen.sample = sample;
        seen.samples += 1;
        seen.has_trigger = self.alarm.has_trigger();
    }

    fn tell(&self, change: Change, sample: &Sample) {
        // Called without the lock, so that a callback may add another one.
        let mut callbacks = std::mem::take(&mut *self.shared.callbacks.lock());
        for callback in &mut callbacks {
            self.guard(|| callback(change, sample));
        }
        let mut added = self.shared.callbacks.lock();
        callbacks.append(&mut added);
        *added = callbacks;
    }

    fn reclaim(&self, sample: &Sample) {
        let wanted_bytes =
            wanted_bytes(self.tracker.level(), sample.usage, self.options.thresholds.begins[0]);
        if 0 < wanted_bytes {
            self.shared.caches.reclaim_by(wanted_bytes, |cache, wanted_bytes| {
                self.guard(|| cache.reclaim(wanted_bytes)).unwrap_or(0)
            });
        }
    }

    /// Calls a stranger's code; its panic is counted, and ends neither the watch nor the round.
    fn guard<R>(&self, call: impl FnOnce() -> R) -> Option<R> {
        let result = catch_unwind(AssertUnwindSafe(call));
        if result.is_err() {
            self.shared.seen.lock().callback_panics += 1;
        }
        result.ok()
    }
}

/// What caches should give back at this level.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a share of a limit, to the nearest of 2^53 parts"
)]
fn wanted_bytes(level: Level, usage: Option<Usage>, warn_begins: f64) -> u64 {
    match level {
        Level::Normal | Level::Warn => 0,
        Level::High => usage.map_or(u64::MAX, |usage| {
            let warn_bytes = (usage.limit.bytes as f64 * warn_begins) as u64;
            usage.working_set_bytes.saturating_sub(warn_bytes)
        }),
        Level::Critical => u64::MAX,
    }
}
