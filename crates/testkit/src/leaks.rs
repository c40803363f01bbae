//! Open files and tasks that should be gone.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

/// Between two looks at what should be gone soon.
const LOOK_PAUSE: Duration = Duration::from_millis(1);
/// How often a task yields so that others can end.
const YIELDS_MAX: usize = 10_000;

/// The files, sockets and other descriptors that this process has open.
///
/// Other tests of the same process open files too: use it in a test binary of its own, or compare what
/// it names.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use testkit::OpenFiles;
///
/// let before = OpenFiles::now();
/// let file = std::fs::File::open("/proc/self/status")?;
/// assert_eq!(1, OpenFiles::now().not_in(&before).len());
/// drop(file);
/// before.assert_no_more(Duration::from_secs(1));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenFiles(BTreeMap<u32, String>);

impl OpenFiles {
    /// Looks at what is open now.
    ///
    /// # Panics
    ///
    /// Where there is no `/proc/self/fd`.
    #[must_use]
    pub fn now() -> Self {
        let entries = fs::read_dir("/proc/self/fd").expect("Linux tells what is open");
        let named = |entry: fs::DirEntry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            // The listing's own descriptor is gone by now and so cannot be read.
            let target = fs::read_link(entry.path()).ok()?;
            let listing = target.to_string_lossy().ends_with("/fd");
            (!listing).then(|| (number, target.to_string_lossy().into_owned()))
        };
        Self(entries.flatten().filter_map(named).collect())
    }

    /// Returns what is open here and was not in `before`: each with its number and its target.
    #[must_use]
    pub fn not_in(&self, before: &Self) -> Vec<String> {
        let new = self.0.iter().filter(|(number, target)| before.0.get(number) != Some(target));
        new.map(|(number, target)| format!("{number}: {target}")).collect()
    }

    /// Waits until nothing is open that was not open here; `limit` at most.
    ///
    /// # Panics
    ///
    /// When something still is; it is named.
    #[track_caller]
    pub fn assert_no_more(&self, limit: Duration) {
        let until = Instant::now() + limit;
        loop {
            let new = Self::now().not_in(self);
            if new.is_empty() {
                return;
            }
            assert!(Instant::now() < until, "still open after {limit:?}: {new:?}");
            thread::sleep(LOOK_PAUSE);
        }
    }
}

/// Returns how many tasks of the current tokio runtime have not ended.
///
/// # Panics
///
/// Outside of a runtime.
#[must_use]
pub fn alive_tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Yields until at most `expected` tasks of the current runtime are alive. No time passes: a task that
/// waits for a timer counts as leaked.
///
/// # Panics
///
/// When more are still alive after 10 000 yields; outside of a runtime.
///
/// # Cancel safety
///
/// Nothing is lost.
pub async fn assert_tasks_end(expected: usize) {
    for _ in 0..YIELDS_MAX {
        if alive_tasks() <= expected {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{} tasks are alive, expected at most {expected}", alive_tasks());
}
