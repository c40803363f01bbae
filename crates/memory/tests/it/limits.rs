//! Limits and use, read from trees of files: M7.

use std::path::Path;

use memory::{LimitSource, MemoryInfo};
use proptest::prelude::*;

use crate::support::cases;

const GIB: u64 = 1 << 30;
/// What version 1 says when nothing is limited.
const V1_NO_LIMIT: u64 = 9_223_372_036_854_771_712;

/// A root with `proc` and `sys`, of a machine with 16 GiB, 12 GiB of them available.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.host(16 * GIB, 12 * GIB);
        tree.file("proc/self/statm", "1000 500 300 10 0 600 0\n");
        tree
    }

    fn host(&self, total: u64, available: u64) -> &Self {
        let text = format!(
            "MemTotal: {:>12} kB\nMemFree:   99 kB\nMemAvailable: {} kB\nInactive(file): 1 kB\n",
            total / 1024,
            available / 1024
        );
        self.file("proc/meminfo", &text)
    }

    fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn remove(&self, path: &str) {
        let path = self.0.path().join(path);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }

    /// Mounts version 2 at its place, with this path of the process.
    fn with_v2(&self, own: &str) -> &Self {
        self.file("proc/self/cgroup", &format!("0::{own}\n"));
        self.file("proc/self/mountinfo", "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    }

    fn v2(&self, group: &str, max: &str, current: u64, inactive_file: u64) -> &Self {
        let folder = format!("sys/fs/cgroup{group}");
        self.file(&format!("{folder}/memory.max"), &format!("{max}\n"));
        self.file(&format!("{folder}/memory.current"), &format!("{current}\n"));
        let stat = format!("anon 1\nfile 2\ninactive_file {inactive_file}\nactive_file 3\n");
        self.file(&format!("{folder}/memory.stat"), &stat)
    }

    /// Mounts both, the memory controller on version 1.
    fn with_hybrid(&self, own: &str) -> &Self {
        self.file("proc/self/cgroup", &format!("9:name=systemd:/\n4:memory:{own}\n0::/\n"));
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        self.file("proc/self/mountinfo", mounts)
    }

    fn v1(&self, group: &str, limit: u64, usage: u64, inactive_file: u64) -> &Self {
        let folder = format!("sys/fs/cgroup/memory{group}");
        self.file(&format!("{folder}/memory.limit_in_bytes"), &format!("{limit}\n"));
        self.file(&format!("{folder}/memory.usage_in_bytes"), &format!("{usage}\n"));
        let stat = format!("inactive_file 7\ntotal_inactive_file {inactive_file}\n");
        self.file(&format!("{folder}/memory.stat"), &stat)
    }

    fn info(&self) -> MemoryInfo {
        MemoryInfo::open_at(self.0.path())
    }

    #[track_caller]
    fn check_limit(&self, bytes: u64, source: LimitSource) {
        let limit = self.info().effective_limit().unwrap();
        assert_eq!((bytes, source), (limit.bytes, limit.source));
    }

    #[track_caller]
    fn check_usage(&self, limit_bytes: u64, working_set_bytes: u64) {
        let usage = self.info().usage().unwrap();
        assert_eq!((limit_bytes, working_set_bytes), (usage.limit.bytes, usage.working_set_bytes));
    }
}

#[test]
fn without_groups_the_machine_is_the_limit() {
    let tree = Tree::new();
    tree.check_limit(16 * GIB, LimitSource::Host);
    tree.check_usage(16 * GIB, 4 * GIB);
}

#[test]
fn a_machine_that_tells_too_much_is_free() {
    let tree = Tree::new();
    let most = u64::MAX / 1024;
    let text = format!("MemTotal: 9 kB\nMemFree: {most} kB\nInactive(file): {most} kB\n");
    tree.file("proc/meminfo", &text);
    tree.check_usage(9 * 1024, 0);
}

#[test]
fn the_tightest_group_above_counts_in_version_2() {
    let tree = Tree::new();
    tree.with_v2("/pod/task").v2("/pod/task", "max", 0, 0).v2("/pod", "1073741824", 900, 100);
    tree.check_limit(GIB, LimitSource::CgroupV2);
    // Of the machine a quarter is used, of the pod almost nothing.
    tree.check_usage(16 * GIB, 4 * GIB);
    tree.host(16 * GIB, 16 * GIB);
    tree.check_usage(GIB, 800);
}

#[test]
fn the_tightest_group_above_counts_in_version_1_and_on_a_hybrid() {
    let tree = Tree::new();
    tree.with_hybrid("/api/own").v1("/api/own", 2 * GIB, GIB, GIB / 2).v1(
        "/api",
        V1_NO_LIMIT,
        5,
        0,
    );
    tree.v1("", V1_NO_LIMIT, 9 * GIB, 0);
    tree.check_limit(2 * GIB, LimitSource::CgroupV1);
    tree.host(16 * GIB, 16 * GIB);
    tree.check_usage(2 * GIB, GIB / 2);
}

#[test]
fn pages_of_files_that_can_be_dropped_are_no_use() {
    let tree = Tree::new();
    tree.host(16 * GIB, 16 * GIB);
    tree.with_v2("/").v2("", "1073741824", GIB - 4096, GIB - 8192);
    tree.check_usage(GIB, 4096);
    // A counter that runs ahead of the other does not wrap.
    tree.v2("", "1073741824", 100, 200);
    tree.check_usage(GIB, 0);
}

#[test]
fn a_limit_above_the_machine_binds_nobody() {
    let tree = Tree::new();
    tree.with_v2("/a").v2("/a", &(64 * GIB).to_string(), 8 * GIB, 0);
    tree.check_limit(16 * GIB, LimitSource::Host);
    tree.check_usage(16 * GIB, 4 * GIB);
    tree.v2("/a", &(17 * GIB).to_string(), 15 * GIB, 0);
    tree.check_usage(16 * GIB, 4 * GIB);
}

#[test]
fn the_high_mark_counts_because_allocations_wait_there() {
    let tree = Tree::new();
    tree.with_v2("/a").v2("/a", &(2 * GIB).to_string(), 0, 0);
    tree.file("sys/fs/cgroup/a/memory.high", "1073741824\n");
    tree.check_limit(GIB, LimitSource::CgroupV2);
    tree.file("sys/fs/cgroup/a/memory.high", "max\n");
    tree.check_limit(2 * GIB, LimitSource::CgroupV2);
}

#[test]
fn a_container_sees_its_own_part_of_the_tree() {
    let tree = Tree::new();
    // Its path is told from outside, its mount shows only the inside.
    tree.file("proc/self/cgroup", "0::/docker/abc\n");
    let mount = "30 1 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
    tree.file("proc/self/mountinfo", mount).v2("", "1073741824", 0, 0);
    tree.check_limit(GIB, LimitSource::CgroupV2);
    // Or the path leads out of what is shown.
    tree.file("proc/self/cgroup", "0::/../elsewhere\n");
    tree.check_limit(GIB, LimitSource::CgroupV2);
}

#[test]
fn the_processs_own_limits_count() {
    let tree = Tree::new();
    let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                Max data size             2147483648           unlimited            bytes     \n\
                Max address space         unlimited            unlimited            bytes     \n";
    tree.file("proc/self/limits", text);
    tree.check_limit(2 * GIB, LimitSource::Data);
    tree.file("proc/self/limits", &text.replace("2147483648", "2457600   "));
    // 600 pages of data of 600 allowed: full.
    tree.check_usage(2_457_600, 600 * 4096);
    tree.file(
        "proc/self/limits",
        "Max address space         8192000              8192000   bytes\n",
    );
    tree.check_limit(8_192_000, LimitSource::AddressSpace);
    tree.check_usage(8_192_000, 1000 * 4096);
}

#[test]
fn a_limit_of_nothing_is_used_up() {
    let tree = Tree::new();
    tree.with_v2("/a").v2("/a", "0", 0, 0);
    let usage = tree.info().usage().unwrap();
    assert_eq!((1.0, 0), (usage.ratio(), usage.available_bytes()));
}

#[test]
fn what_is_missing_or_garbled_is_unknown_and_no_error_of_ours() {
    let nothing = tempfile::tempdir().unwrap();
    let info = MemoryInfo::open_at(nothing.path());
    assert_eq!(
        "this system does not tell its memory limit",
        info.effective_limit().unwrap_err().to_string()
    );
    assert!(info.usage().is_err() && info.resident_bytes().is_err() && info.pressure().is_err());

    let tree = Tree::new();
    tree.with_v2("/a").v2("/a", "soon", 0, 0);
    tree.file("sys/fs/cgroup/memory.max", "").file("sys/fs/cgroup/memory.current", "\u{FFFD}");
    tree.file("proc/pressure/memory", "none\n");
    tree.check_limit(16 * GIB, LimitSource::Host);
    assert!(tree.info().pressure().is_err());
    tree.file("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 300 kB\nInactive(file): 100 kB\n");
    tree.check_usage(1000 * 1024, 600 * 1024);
}

#[test]
fn files_that_vanish_or_change_while_open_are_read_as_they_are() {
    let tree = Tree::new();
    tree.with_v2("/a/b").v2("/a/b", "1073741824", 100, 0).v2("/a", "2147483648", 100, 0);
    let mut info = tree.info();
    assert_eq!(GIB, info.effective_limit().unwrap().bytes);
    tree.v2("/a/b", "4096", 100, 0);
    assert_eq!(4096, info.effective_limit().unwrap().bytes, "limits are read each time");
    tree.file("sys/fs/cgroup/a/b/memory.max", "");
    assert_eq!(2 * GIB, info.effective_limit().unwrap().bytes);
    tree.remove("sys/fs/cgroup/a/b");
    info.refresh();
    assert_eq!(2 * GIB, info.effective_limit().unwrap().bytes);
    tree.remove("sys/fs/cgroup");
    info.refresh();
    assert_eq!(LimitSource::Host, info.effective_limit().unwrap().source);
}

#[test]
fn pressure_is_that_of_our_group_where_it_tells() {
    let tree = Tree::new();
    let text = |avg10: &str| {
        format!(
            "some avg10={avg10} avg60=0.00 avg300=0.00 total=1\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=1\n"
        )
    };
    tree.with_v2("/a").file("proc/pressure/memory", &text("1.00"));
    assert_eq!(1.0, tree.info().pressure().unwrap().some.avg10);
    tree.file("sys/fs/cgroup/a/memory.pressure", &text("2.00"));
    let pressure = tree.info().pressure().unwrap();
    assert_eq!((2.0, 0.5), (pressure.some.avg10, pressure.full.avg10));
}

#[test]
fn this_machine_tells_something_sensible() {
    let info = MemoryInfo::open();
    if !Path::new("/proc/self/statm").exists() {
        return;
    }
    let (limit, usage) = (info.effective_limit().unwrap(), info.usage().unwrap());
    let resident = info.resident_bytes().unwrap();
    assert!((1 << 20..limit.bytes).contains(&resident), "{resident} of {limit:?}");
    assert!(0.0 < usage.ratio() && usage.ratio() < 2.0, "{usage:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(48)))]

    /// M7: the least of all groups up to the root, of the machine and of the process's own limits.
    #[test]
    fn the_effective_limit_is_the_least_of_all(
        v2 in any::<bool>(),
        limits in prop::collection::vec(prop::option::of(4096_u64..32 * GIB), 1..5),
        host in GIB..32 * GIB,
        data in prop::option::of(GIB..32 * GIB),
    ) {
        let tree = Tree::new();
        tree.host(host, host / 2);
        if let Some(data) = data {
            tree.file("proc/self/limits", &format!("Max data size   {data}  unlimited  bytes\n"));
        }
        let own = "/g".repeat(limits.len());
        if v2 { tree.with_v2(&own) } else { tree.with_hybrid(&own) };
        for (depth, limit) in limits.iter().enumerate() {
            let group = "/g".repeat(depth + 1);
            if v2 {
                tree.v2(&group, &limit.map_or("max".to_owned(), |limit| limit.to_string()), 1, 0);
            } else {
                tree.v1(&group, limit.unwrap_or(V1_NO_LIMIT), 1, 0);
            }
        }
        let least = limits.iter().flatten().copied().chain(data).chain([host / 1024 * 1024]).min();
        prop_assert_eq!(least, Some(tree.info().effective_limit().unwrap().bytes));
    }
}
