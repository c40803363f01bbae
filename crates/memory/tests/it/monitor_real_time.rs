//! The monitor's thread: M6 as far as it needs one. In real time, for a thread cannot be told its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Wake};
use std::time::{Duration, Instant};

use memory::{Change, Closed, Level, Monitor, MonitorOptions, Reclaim, Thresholds, Watch};

/// Nothing here takes this long; it ends what hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A machine of 1000 KiB whose available memory can be set.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        machine.use_percent(10);
        machine
    }

    fn use_percent(&self, percent: u64) {
        let text = format!("MemTotal: 1000 kB\nMemAvailable: {} kB\n", 1000 - 10 * percent);
        self.put("meminfo", &text);
    }

    /// Replaces what the file says in one write, as the kernel's files change.
    fn put(&self, name: &str, text: &str) {
        use std::os::unix::fs::FileExt;
        let path = self.0.path().join("proc").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let options =
            std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(path);
        options.unwrap().write_all_at(format!("{text}{}", " ".repeat(40)).as_bytes(), 0).unwrap();
    }

    fn watch(&self) -> Monitor {
        let thresholds = Thresholds { dwell: Duration::ZERO, ..Thresholds::default() };
        let (interval, root) = (Duration::from_millis(1), self.0.path().to_owned());
        Monitor::start(MonitorOptions { thresholds, interval, root, ..MonitorOptions::default() })
            .unwrap()
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn changes_are_told_to_callbacks_and_watches() {
    let machine = Machine::new();
    let monitor = machine.watch();
    assert_eq!(Level::Normal, monitor.level());
    let (send, changes) = std::sync::mpsc::channel();
    monitor.on_change(move |change, sample| {
        send.send((change, sample.usage.map(|usage| usage.ratio()))).unwrap();
    });
    let mut watch = monitor.watch();
    machine.use_percent(85);
    let (change, ratio) = changes.recv_timeout(PATIENCE).unwrap();
    assert_eq!((Change { from: Level::Normal, to: Level::High }, Some(0.85)), (change, ratio));
    assert_eq!(Ok(Level::High), watch.changed_blocking());
    machine.use_percent(20);
    assert_eq!(Ok(Level::Normal), futures::executor::block_on(watch.changed()));
    assert!(!changes.recv_timeout(PATIENCE).unwrap().0.rose());
    drop(monitor);
    assert_eq!(Err(Closed), watch.changed_blocking());
    assert!(changes.recv().is_err(), "the thread is gone with its callbacks");
}

/// M6.
#[test]
fn a_callback_that_panics_does_not_stop_the_monitor() {
    let machine = Machine::new();
    let monitor = machine.watch();
    monitor.on_change(|_, _| std::panic::resume_unwind(Box::new("a callback of the test")));
    let told = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&told);
    monitor.on_change(move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    for (round, percent) in [99, 10, 99].into_iter().enumerate() {
        machine.use_percent(percent);
        let calls = u32::try_from(round + 1).unwrap();
        wait_until("the other callback", || told.load(Ordering::Relaxed) == calls);
    }
    assert_eq!(3, monitor.stats().callback_panics);
    assert_eq!(Level::Critical, monitor.level());
}

#[test]
fn a_callback_may_add_another_and_drop_the_monitor() {
    let machine = Machine::new();
    let monitor = Arc::new(parking_lot::Mutex::new(Some(machine.watch())));
    let (own, told) = (Arc::clone(&monitor), Arc::new(AtomicU32::new(0)));
    let counter = Arc::clone(&told);
    monitor.lock().as_ref().unwrap().on_change(move |_, _| {
        let monitor = own.lock().take().unwrap();
        monitor.on_change(|_, _| ());
        drop(monitor);
        counter.fetch_add(1, Ordering::Relaxed);
    });
    machine.use_percent(90);
    wait_until("the callback", || told.load(Ordering::Relaxed) == 1);
    assert!(monitor.lock().is_none());
}

/// A waker that holds a watch, as that of a task holds what the task does.
struct Holder(#[expect(dead_code, reason = "only its drop matters")] Watch);

impl Wake for Holder {
    fn wake(self: Arc<Self>) {}
}

/// With its last waker a task may go, and with it another watch of the same monitor.
#[test]
fn a_waker_may_take_a_watch_along() {
    let machine = Machine::new();
    let monitor = machine.watch();
    let mut watch = monitor.watch();
    for held in [monitor.watch(), monitor.watch()] {
        let waker = Arc::new(Holder(held)).into();
        let mut changed = std::pin::pin!(watch.changed());
        assert!(changed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(watch);
    assert_eq!(Level::Normal, monitor.level(), "nobody is left in the lock");
}

/// M6: dropping the handle joins the thread.
#[test]
fn a_dropped_monitor_is_gone() {
    let machine = Machine::new();
    let monitor = machine.watch();
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    monitor.on_change(move |_, _| drop(Arc::clone(&held)));
    wait_until("a few samples", || 3 < monitor.stats().samples);
    drop(monitor);
    assert_eq!(1, Arc::strong_count(&alive));
}

#[test]
fn a_dropped_monitor_does_not_wait_for_its_interval() {
    let interval = Duration::from_secs(3600);
    let start = Instant::now();
    drop(Monitor::start(MonitorOptions { interval, ..MonitorOptions::default() }).unwrap());
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn standing_still_is_high_whatever_the_ratio() {
    let machine = Machine::new();
    let pressure = |percent: &str| {
        let text = format!(
            "some avg10=50.00 avg60=0.00 avg300=0.00 total=1\n\
             full avg10={percent} avg60=0.00 avg300=0.00 total=1\n"
        );
        machine.put("pressure/memory", &text);
    };
    pressure("00.00");
    let monitor = machine.watch();
    assert_eq!(Level::Normal, monitor.level());
    pressure("12.00");
    wait_until("high", || monitor.level() == Level::High);
    pressure("00.00");
    wait_until("normal", || monitor.level() == Level::Normal);
}

/// Notes what it is asked for.
#[derive(Default)]
struct Cache {
    asked: AtomicU32,
    wanted_bytes: AtomicU64,
}

impl Reclaim for Cache {
    fn reclaim(&self, wanted_bytes: u64) -> u64 {
        self.wanted_bytes.store(wanted_bytes, Ordering::Relaxed);
        self.asked.fetch_add(1, Ordering::Relaxed);
        0
    }
}

#[test]
fn caches_give_back_when_the_level_is_high() {
    let machine = Machine::new();
    let monitor = machine.watch();
    let cache = Arc::new(Cache::default());
    monitor.add_cache(&cache);
    machine.use_percent(75);
    wait_until("warn", || monitor.level() == Level::Warn);
    assert_eq!(0, cache.asked.load(Ordering::Relaxed));
    machine.use_percent(90);
    wait_until("high", || 0 < cache.asked.load(Ordering::Relaxed));
    let wanted = cache.wanted_bytes.load(Ordering::Relaxed);
    assert!((199 * 1024..=201 * 1024).contains(&wanted), "from 90 % to 70 %: {wanted}");
    machine.use_percent(99);
    wait_until("critical", || cache.wanted_bytes.load(Ordering::Relaxed) == u64::MAX);
}

/// A cache with a fault, which has nothing to do with those beside it.
struct Broken;

impl Reclaim for Broken {
    fn reclaim(&self, _wanted_bytes: u64) -> u64 {
        std::panic::resume_unwind(Box::new("a cache of the test"))
    }
}

#[test]
fn a_cache_that_panics_does_not_keep_the_others_from_giving() {
    let machine = Machine::new();
    let monitor = machine.watch();
    let (broken, cache) = (Arc::new(Broken), Arc::new(Cache::default()));
    monitor.add_cache(&broken);
    monitor.add_cache(&cache);
    machine.use_percent(99);
    wait_until("the cache behind", || 1 < cache.asked.load(Ordering::Relaxed));
    assert!(0 < monitor.stats().callback_panics);
}

#[test]
fn this_machines_stalls_wake_the_monitor_where_they_may() {
    let monitor = Monitor::start(MonitorOptions::default()).unwrap();
    let stats = monitor.stats();
    assert_eq!(1, stats.samples);
    // Whether a container may set a trigger is its host's business; that time wakes is enough.
    println!("stall trigger: {}, sample: {:?}", stats.has_trigger, stats.sample);
}
