//! What the machine did meanwhile.

use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike;

/// Counters at one moment, to be compared with now.
pub(crate) struct Usage {
    at: Instant,
    cpu: Duration,
    /// All time of the machine and the part that the hypervisor kept, in ticks.
    ticks: Option<(u64, u64)>,
}

impl Usage {
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), cpu: own_cpu(), ticks: ticks() }
    }

    /// CPU time that the hypervisor kept for itself since, in percent of the machine.
    pub(crate) fn steal_pct(&self) -> Option<f64> {
        let (before, now) = (self.ticks?, ticks()?);
        let all = now.0.saturating_sub(before.0);
        (0 < all).then(|| 100.0 * now.1.saturating_sub(before.1) as f64 / all as f64)
    }

    /// CPU time of ours and of the emitters that have ended, in percent of the machine.
    pub(crate) fn cpu_pct(&self) -> Option<f64> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
        let wall = self.at.elapsed().as_secs_f64();
        let cpu = own_cpu().saturating_sub(self.cpu).as_secs_f64();
        (0.0 < wall).then(|| 100.0 * cpu / wall / cores)
    }
}

/// Allows as many open files as this process may have: thousands of streams are thousands of sockets.
pub(crate) fn raise_open_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Where it is refused, connecting will say what is missing.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn own_cpu() -> Duration {
    let of = |who| {
        getrusage(who).map_or(0, |usage| {
            usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
        })
    };
    let micros = of(UsageWho::RUSAGE_SELF) + of(UsageWho::RUSAGE_CHILDREN);
    Duration::from_micros(micros.unsigned_abs())
}

/// The first line of `/proc/stat` (proc(5)): user, nice, system, idle, iowait, irq, softirq, steal.
fn ticks() -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let numbers: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    Some((numbers.iter().take(8).sum(), *numbers.get(7)?))
}
