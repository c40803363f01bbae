//! Which machine a number comes from.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What two runs must share before their numbers may be compared.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Fingerprint {
    /// The processor's name as it gives it.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: u64,
    /// Memory of the machine, in whole GiB: the exact figure changes with each boot.
    pub memory_gib: u64,
    /// The kernel's name and release.
    pub kernel: String,
    /// The architecture that this program was built for.
    pub arch: String,
}

impl Fingerprint {
    /// Reads a fingerprint off the texts of `/proc/cpuinfo`, `/proc/meminfo` and
    /// `/proc/sys/kernel/osrelease`. What is not there reads `unknown` or 0.
    #[must_use]
    pub fn read(cpuinfo: &str, meminfo: &str, osrelease: &str, cores: u64) -> Self {
        let cpu = field(cpuinfo, "model name").unwrap_or("unknown").to_owned();
        let total_kib = field(meminfo, "MemTotal").and_then(|text| text.split(' ').next());
        let total_kib: u64 = total_kib.and_then(|text| text.parse().ok()).unwrap_or(0);
        let release = osrelease.trim();
        let kernel = if release.is_empty() { "unknown" } else { release };
        Self {
            cpu,
            cores,
            memory_gib: (total_kib + (1 << 19)) >> 20,
            kernel: kernel.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
        }
    }

    /// Names the first thing in which two machines differ.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let differs = |what: &str, a: &dyn fmt::Display, b: &dyn fmt::Display| {
            let (a, b) = (a.to_string(), b.to_string());
            (a != b).then(|| format!("{what}: {a} there, {b} here"))
        };
        differs("processor", &self.cpu, &other.cpu)
            .or_else(|| differs("cores", &self.cores, &other.cores))
            .or_else(|| differs("memory (GiB)", &self.memory_gib, &other.memory_gib))
            .or_else(|| differs("kernel", &self.kernel, &other.kernel))
            .or_else(|| differs("architecture", &self.arch, &other.arch))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, memory_gib, kernel, arch } = self;
        write!(f, "{cores} × {cpu}, {memory_gib} GiB, {kernel}, {arch}")
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPUINFO: &str = "processor\t: 0\nmodel name\t: Some CPU @ 2.6\nflags\t: a\n";

    #[test]
    fn a_fingerprint_is_read_off_the_kernels_texts() {
        let read = Fingerprint::read(CPUINFO, "MemTotal:       24576000 kB\n", "6.18.44\n", 2);
        assert_eq!("Some CPU @ 2.6", read.cpu);
        assert_eq!((2, 23, "6.18.44"), (read.cores, read.memory_gib, read.kernel.as_str()));
    }

    #[test]
    fn what_is_missing_is_unknown() {
        let read = Fingerprint::read("", "", "", 1);
        assert_eq!(("unknown", 0, "unknown"), (&*read.cpu, read.memory_gib, &*read.kernel));
    }

    #[test]
    fn the_first_difference_is_named() {
        let here = Fingerprint::read(CPUINFO, "", "6.18", 2);
        let there = Fingerprint { cores: 64, ..here.clone() };
        assert_eq!(None, here.difference(&here));
        assert_eq!(Some("cores: 64 there, 2 here".to_owned()), there.difference(&here));
    }
}
