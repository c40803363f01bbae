//! What bounds our memory, how much of it is used, and whether anybody waits for more.

mod bound;
mod parse;

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use self::bound::{Cgroup, Host, Process};
use self::parse::Version;
use crate::seam::{KeptFile, read_once};

pub use self::parse::{Pressure, Stall};

/// What sets a limit.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum LimitSource {
    /// `memory.max` or `memory.high` of our control group or one above it.
    CgroupV2,
    /// `memory.limit_in_bytes` of our control group or one above it.
    CgroupV1,
    /// `RLIMIT_AS`: all mappings of the process.
    AddressSpace,
    /// `RLIMIT_DATA`: its writable private mappings.
    Data,
    /// The machine's memory.
    Host,
}

/// A limit and its origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limit {
    /// The largest use allowed.
    pub bytes: u64,
    /// Who allows no more.
    pub source: LimitSource,
}

/// How much of a limit is used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Usage {
    /// The limit.
    pub limit: Limit,
    /// What is used of it, without the page cache that the kernel drops first.
    pub working_set_bytes: u64,
}

impl Usage {
    /// Returns the used part of the limit: 0 none, 1 all. A limit of 0 counts as used up.
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 53 bits")]
    pub fn ratio(&self) -> f64 {
        if self.limit.bytes == 0 {
            return 1.0;
        }
        self.working_set_bytes as f64 / self.limit.bytes as f64
    }

    /// Returns how many bytes are left below the limit.
    pub fn available_bytes(&self) -> u64 {
        self.limit.bytes.saturating_sub(self.working_set_bytes)
    }
}

/// A figure that this system does not tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unknown(&'static str);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this system does not tell its {}", self.0)
    }
}

impl Error for Unknown {}

/// The kernel's figures for this process, read through descriptors that stay open.
///
/// All control groups from our own up to the root count, of both versions, because the tightest bounds
/// us wherever it is; so do the process's own limits and the machine. What is missing, unlimited or
/// unreadable is left out; a control group that vanishes while it is read is left out from then on.
///
/// **Cost.** [`resident_bytes`](Self::resident_bytes) is one system call; [`usage`](Self::usage) is two
/// per limited control group and one per other bound. Never `/proc/self/smaps`, which walks all mappings
/// under the lock that page faults need.
///
/// # Examples
///
/// ```
/// let info = memory::MemoryInfo::open();
/// if let Ok(usage) = info.usage() {
///     assert!(usage.limit.bytes <= info.effective_limit().unwrap().bytes * 64);
///     println!("{:.0} % of {:?}", 100.0 * usage.ratio(), usage.limit);
/// }
/// ```
#[derive(Debug)]
pub struct MemoryInfo {
    root: PathBuf,
    cgroups: Vec<Cgroup>,
    process: Option<Process>,
    host: Option<Host>,
    pressure: Option<(PathBuf, KeptFile)>,
}

impl MemoryInfo {
    /// Opens the files of this machine and process.
    #[must_use]
    pub fn open() -> Self {
        Self::open_at(Path::new("/"))
    }

    /// Opens the same files beneath `root`, which holds `proc/…` and what
    /// `proc/self/mountinfo` names: for tests on trees of files.
    #[must_use]
    pub fn open_at(root: &Path) -> Self {
        let proc = root.join("proc");
        let folders = |version| cgroup_folders(root, version);
        let cgroups = [Version::V2, Version::V1].into_iter().flat_map(|version| {
            folders(version).into_iter().filter_map(move |folder| Cgroup::open(&folder, version))
        });
        // Our own group tells of our own stalls; the root of all groups is the machine again.
        let own =
            folders(Version::V2).into_iter().next().map(|folder| folder.join("memory.pressure"));
        let pressures = own.into_iter().chain([proc.join("pressure/memory")]);
        Self {
            cgroups: cgroups.collect(),
            process: Process::open(&proc),
            host: Host::open(&proc),
            pressure: pressures.into_iter().find_map(|path| {
                let file = KeptFile::open(&path)?;
                Some((path, file))
            }),
            root: root.to_owned(),
        }
    }

    /// Opens everything anew: after a move to another control group, or a change of the process's limits.
    pub fn refresh(&mut self) {
        *self = Self::open_at(&self.root);
    }

    /// Returns the least of all limits, the machine's memory included.
    ///
    /// # Errors
    ///
    /// [`Unknown`] where there is none: not on Linux, or without `/proc`.
    pub fn effective_limit(&self) -> Result<Limit, Unknown> {
        let cgroups = self.cgroups.iter().filter_map(Cgroup::limit);
        let process = self.process.iter().flat_map(Process::limits);
        let host = self.host.as_ref().and_then(Host::usage).map(|usage| usage.limit);
        let limits = cgroups.chain(process).chain(host);
        limits.min_by_key(|limit| limit.bytes).ok_or(Unknown("memory limit"))
    }

    /// Returns how much is used of that limit which is used most.
    ///
    /// This need not be the least: an outer control group may be fuller with the use of others.
    ///
    /// # Errors
    ///
    /// Those of [`effective_limit`](Self::effective_limit).
    pub fn usage(&self) -> Result<Usage, Unknown> {
        let host = self.host.as_ref().and_then(Host::usage);
        // A limit above the machine's memory binds nobody, and its use need not be read.
        let binds = |limit: &Limit| host.is_none_or(|host| limit.bytes < host.limit.bytes);
        let cgroups = self.cgroups.iter().filter_map(|cgroup| {
            let limit = cgroup.limit().filter(binds)?;
            Some(Usage { limit, working_set_bytes: cgroup.working_set_bytes()? })
        });
        let process = self.process.iter().flat_map(|process| {
            process.limits().filter(binds).filter_map(|limit| process.usage(limit))
        });
        // Of two equally used limits the narrower is told, which comes later.
        let usages = host.into_iter().chain(process).chain(cgroups);
        usages.max_by(|a, b| a.ratio().total_cmp(&b.ratio())).ok_or(Unknown("memory use"))
    }

    /// Returns the resident memory of this process in bytes.
    ///
    /// # Errors
    ///
    /// [`Unknown`] where `/proc/self/statm` is missing.
    pub fn resident_bytes(&self) -> Result<u64, Unknown> {
        let process = self.process.as_ref().and_then(Process::resident_bytes);
        process.ok_or(Unknown("resident memory"))
    }

    /// Returns how long tasks stood still for want of memory: of our control group where it tells, else
    /// of the machine.
    ///
    /// # Errors
    ///
    /// [`Unknown`] on kernels built or booted without pressure stall information.
    pub fn pressure(&self) -> Result<Pressure, Unknown> {
        let mut buffer = [0; 512];
        let text = self.pressure.as_ref().and_then(|(_, file)| file.read(&mut buffer));
        text.and_then(parse::pressure).ok_or(Unknown("memory pressure"))
    }

    /// The file on which a trigger can be set; a tree of files has none.
    pub(crate) fn trigger_path(&self) -> Option<&Path> {
        let is_the_machine = self.root == Path::new("/");
        self.pressure.as_ref().filter(|_| is_the_machine).map(|(path, _)| path.as_path())
    }
}

impl Default for MemoryInfo {
    fn default() -> Self {
        Self::open()
    }
}

/// The folders of our control groups in one hierarchy, the innermost first, beneath `root`.
fn cgroup_folders(root: &Path, version: Version) -> Vec<PathBuf> {
    let find = || {
        let mounts = read_once(&root.join("proc/self/mountinfo"))?;
        let own = read_once(&root.join("proc/self/cgroup"))?;
        Some(parse::folders(&parse::mount(&mounts, version)?, parse::own_cgroup(&own, version)?))
    };
    let beneath = |folder: PathBuf| match folder.strip_prefix("/") {
        Ok(inside) => root.join(inside),
        Err(_) => folder,
    };
    find().unwrap_or_default().into_iter().map(beneath).collect()
}
