//! The kernel's texts. Pure; what does not parse is `None`, never a panic.

use std::path::{Path, PathBuf};

/// Share of time in which tasks stood still for want of memory, and the sum of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stall {
    /// Percent of the last 10 s.
    pub avg10: f64,
    /// Percent of the last 60 s.
    pub avg60: f64,
    /// Percent of the last 300 s.
    pub avg300: f64,
    /// Microseconds since the start.
    pub total_us: u64,
}

/// The kernel's pressure stall information (Documentation/accounting/psi.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Pressure {
    /// At least one task stood still.
    pub some: Stall,
    /// All tasks that were not idle stood still.
    pub full: Stall,
}

/// A number of bytes; `None` for `max`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The value of `key` in lines of `key value` (memory.stat).
pub(super) fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The bytes of `key` in lines of `key:  value kB` (/proc/meminfo).
pub(super) fn kib_field(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The soft limit in a line of /proc/self/limits; `None` for `unlimited`.
pub(super) fn soft_limit(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The number in column `index` of /proc/self/statm, in pages: 0 size, 1 resident, 5 data.
pub(super) fn statm(text: &str, index: usize) -> Option<u64> {
    text.split_whitespace().nth(index)?.parse().ok()
}

pub(super) fn pressure(text: &str) -> Option<Pressure> {
    let some = stall(text, "some ")?;
    // Kernels before 5.13 have no line `full` in some files.
    let full = stall(text, "full ").unwrap_or_default();
    Some(Pressure { some, full })
}

fn stall(text: &str, kind: &str) -> Option<Stall> {
    let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
    let value = |key: &str| {
        line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    };
    Some(Stall {
        avg10: value("avg10")?.parse().ok()?,
        avg60: value("avg60")?.parse().ok()?,
        avg300: value("avg300")?.parse().ok()?,
        total_us: value("total")?.parse().ok()?,
    })
}

/// The path of this process in a hierarchy, from /proc/self/cgroup: that of version 2, or that of version
/// 1 with the memory controller.
pub(super) fn own_cgroup(text: &str, version: Version) -> Option<&str> {
    text.lines().find_map(|line| {
        let (id, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let ours = match version {
            Version::V2 => id == "0" && controllers.is_empty(),
            Version::V1 => controllers.split(',').any(|name| name == "memory"),
        };
        ours.then_some(path)
    })
}

/// The two kinds of control groups; a hybrid machine has both.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Version {
    V1,
    V2,
}

/// Where a hierarchy is mounted, and which part of it.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Mount {
    /// The folder of the hierarchy that is mounted; `/` unless a container sees only its own part.
    pub(super) root: PathBuf,
    pub(super) point: PathBuf,
}

/// The first mount of a hierarchy in /proc/self/mountinfo (proc(5)).
pub(super) fn mount(text: &str, version: Version) -> Option<Mount> {
    text.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let kind = after.next()?;
        let options = after.nth(1)?;
        let ours = match version {
            Version::V2 => kind == "cgroup2",
            Version::V1 => kind == "cgroup" && options.split(',').any(|name| name == "memory"),
        };
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        ours.then(|| Mount { root: unescaped(root), point: unescaped(point) })
    })
}

/// The folders of the cgroup at `path` and of its ancestors, the innermost first, as far as the mount
/// shows them.
pub(super) fn folders(mount: &Mount, path: &str) -> Vec<PathBuf> {
    let inside = Path::new(path).strip_prefix(&mount.root).ok();
    // Outside of what the mount shows, and so of its namespace: its own root is the best that is known.
    let inside = inside.filter(|path| !path.components().any(|part| part.as_os_str() == ".."));
    let mut folder = mount.point.join(inside.unwrap_or(Path::new("")));
    let mut folders = Vec::new();
    while folder.starts_with(&mount.point) {
        folders.push(folder.clone());
        if !folder.pop() {
            break;
        }
    }
    folders
}

/// Space, tab, newline and backslash are written in octal: `\040`.
fn unescaped(text: &str) -> PathBuf {
    let pairs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 /a\\040b /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
";

    #[test]
    fn mounts_are_found_by_kind_and_controller() {
        let v1 = mount(MOUNTS, Version::V1).unwrap();
        assert_eq!((Path::new("/"), Path::new("/sys/fs/cgroup/memory")), (&*v1.root, &*v1.point));
        let v2 = mount(MOUNTS, Version::V2).unwrap();
        assert_eq!(
            (Path::new("/a b"), Path::new("/sys/fs/cgroup/unified")),
            (&*v2.root, &*v2.point)
        );
    }

    #[test]
    fn folders_end_at_the_mount() {
        let mount = Mount { root: "/pod".into(), point: "/cg".into() };
        let expect = |expected: &[&str], path| {
            let expected: Vec<_> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(expected, folders(&mount, path));
        };
        expect(&["/cg/a/b", "/cg/a", "/cg"], "/pod/a/b");
        expect(&["/cg"], "/pod");
        expect(&["/cg"], "/elsewhere");
        expect(&["/cg"], "/pod/../../etc");
    }

    #[test]
    fn own_paths_are_found() {
        let text = "9:name=systemd:/x\n4:memory,cpu:/pod/a\n0::/user.slice\n";
        assert_eq!(Some("/pod/a"), own_cgroup(text, Version::V1));
        assert_eq!(Some("/user.slice"), own_cgroup(text, Version::V2));
        assert_eq!(None, own_cgroup("1:cpu:/memory\n", Version::V1));
    }

    #[test]
    fn texts_of_old_and_broken_kernels_do_not_panic() {
        for text in ["", "max\n", "some", "some avg10=x", "MemTotal:", "a:b", " - "] {
            let _ = (bytes(text), field(text, "some"), kib_field(text, "MemTotal"));
            let _ = (pressure(text), statm(text, 5), soft_limit(text, "Max data size"));
            let _ = (own_cgroup(text, Version::V1), mount(text, Version::V2));
        }
        assert_eq!(None, bytes("max\n"));
        assert_eq!(None, kib_field("MemTotal: 18446744073709551615 kB", "MemTotal"));
    }

    #[test]
    fn pressure_is_read() {
        let text = "some avg10=1.50 avg60=0.20 avg300=0.00 total=17\n";
        let stall = Stall { avg10: 1.5, avg60: 0.2, avg300: 0.0, total_us: 17 };
        assert_eq!(Some(Pressure { some: stall, full: Stall::default() }), pressure(text));
    }
}
