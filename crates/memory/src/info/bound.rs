//! One thing that bounds our memory, and how much of it is used.

use std::path::Path;

use super::parse::{self, Version};
use super::{Limit, LimitSource, Usage};
use crate::seam::KeptFile;

/// Bytes of the longest text that is read again and again: memory.stat has about 2 KiB.
const TEXT_BYTES_MAX: usize = 8 << 10;

/// A cgroup with its files kept open.
#[derive(Debug)]
pub(super) struct Cgroup {
    version: Version,
    /// Version 2 has two: `memory.max` kills, `memory.high` makes every allocation wait.
    limits: Vec<KeptFile>,
    usage: KeptFile,
    stat: Option<KeptFile>,
}

impl Cgroup {
    /// `None` where the folder has no memory controller.
    pub(super) fn open(folder: &Path, version: Version) -> Option<Self> {
        let (limits, usage) = match version {
            Version::V2 => (&["memory.max", "memory.high"][..], "memory.current"),
            Version::V1 => (&["memory.limit_in_bytes"][..], "memory.usage_in_bytes"),
        };
        let open = |name: &str| KeptFile::open(&folder.join(name));
        let limits: Vec<_> = limits.iter().copied().filter_map(open).collect();
        let usage = open(usage)?;
        (!limits.is_empty()).then(|| Self { version, limits, usage, stat: open("memory.stat") })
    }

    pub(super) fn limit(&self) -> Option<Limit> {
        let mut buffer = [0; 64];
        let limits = self.limits.iter().filter_map(|file| parse::bytes(file.read(&mut buffer)?));
        let source = match self.version {
            Version::V1 => LimitSource::CgroupV1,
            Version::V2 => LimitSource::CgroupV2,
        };
        limits.min().map(|bytes| Limit { bytes, source })
    }

    /// Usage less the page cache that the kernel drops first: what counts when memory runs short.
    pub(super) fn working_set_bytes(&self) -> Option<u64> {
        let mut buffer = [0; 64];
        let usage_bytes = parse::bytes(self.usage.read(&mut buffer)?)?;
        Some(usage_bytes.saturating_sub(self.inactive_file_bytes().unwrap_or(0)))
    }

    fn inactive_file_bytes(&self) -> Option<u64> {
        let mut buffer = [0; TEXT_BYTES_MAX];
        let text = self.stat.as_ref()?.read(&mut buffer)?;
        match self.version {
            Version::V2 => parse::field(text, "inactive_file"),
            // Version 1 counts children in the lines that begin with `total_`.
            Version::V1 => parse::field(text, "total_inactive_file")
                .or_else(|| parse::field(text, "inactive_file")),
        }
    }
}

/// The machine itself.
#[derive(Debug)]
pub(super) struct Host(KeptFile);

impl Host {
    pub(super) fn open(proc: &Path) -> Option<Self> {
        KeptFile::open(&proc.join("meminfo")).map(Self)
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        let mut buffer = [0; TEXT_BYTES_MAX];
        let text = self.0.read(&mut buffer)?;
        let bytes = parse::kib_field(text, "MemTotal")?;
        let available = parse::kib_field(text, "MemAvailable");
        // Kernels before 3.14, and some containers' stand-ins, do not tell what is available.
        let available = available.or_else(|| {
            let free = parse::kib_field(text, "MemFree")?;
            Some(free.saturating_add(parse::kib_field(text, "Inactive(file)")?))
        })?;
        let limit = Limit { bytes, source: LimitSource::Host };
        Some(Usage { limit, working_set_bytes: bytes.saturating_sub(available) })
    }
}

/// The process's own limits (getrlimit(2)), as they were when opened, and its counters.
#[derive(Debug)]
pub(super) struct Process {
    statm: KeptFile,
    page_bytes: u64,
    address_space_bytes: Option<u64>,
    data_bytes: Option<u64>,
}

impl Process {
    pub(super) fn open(proc: &Path) -> Option<Self> {
        let statm = KeptFile::open(&proc.join("self/statm"))?;
        let limits = crate::seam::read_once(&proc.join("self/limits")).unwrap_or_default();
        Some(Self {
            statm,
            page_bytes: crate::seam::page_bytes(),
            address_space_bytes: parse::soft_limit(&limits, "Max address space"),
            data_bytes: parse::soft_limit(&limits, "Max data size"),
        })
    }

    pub(super) fn resident_bytes(&self) -> Option<u64> {
        self.pages(1)
    }

    pub(super) fn limits(&self) -> impl Iterator<Item = Limit> {
        let address_space = (self.address_space_bytes, LimitSource::AddressSpace);
        let data = (self.data_bytes, LimitSource::Data);
        [address_space, data]
            .into_iter()
            .filter_map(|(bytes, source)| bytes.map(|bytes| Limit { bytes, source }))
    }

    pub(super) fn usage(&self, limit: Limit) -> Option<Usage> {
        let column = if limit.source == LimitSource::AddressSpace { 0 } else { 5 };
        Some(Usage { limit, working_set_bytes: self.pages(column)? })
    }

    fn pages(&self, column: usize) -> Option<u64> {
        let mut buffer = [0; 128];
        parse::statm(self.statm.read(&mut buffer)?, column)?.checked_mul(self.page_bytes)
    }
}
