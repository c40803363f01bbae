//! What the machine did meanwhile.

use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike;

/// The largest share of the machine that a hypervisor may keep, in percent.
const STEAL_PCT_MAX: f64 = 2.0;
/// The largest share of the machine that other processes may take, in percent.
const FOREIGN_PCT_MAX: f64 = 10.0;
/// Below this many ticks of the whole machine a share says nothing: the kernel counts in ticks.
const TICKS_MIN: u64 = 50;

/// Counters at one moment, to be compared with now.
pub(crate) struct Usage {
    at: Instant,
    cpu: Duration,
    ticks: Option<Ticks>,
}

/// What the machine did with its time so far.
#[derive(Clone, Copy)]
struct Ticks {
    all: u64,
    /// The part in which it worked.
    busy: u64,
    /// The part that the hypervisor kept.
    steal: u64,
}

/// Whether the machine was ours during a stretch: the largest shares that were not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Noise {
    pub(crate) steal_pct: Option<f64>,
    pub(crate) foreign_pct: Option<f64>,
}

impl Noise {
    /// The worse of two stretches.
    pub(crate) fn worse(self, other: Self) -> Self {
        let larger = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        Self {
            steal_pct: larger(self.steal_pct, other.steal_pct),
            foreign_pct: larger(self.foreign_pct, other.foreign_pct),
        }
    }

    /// Why times do not count; `None` on a quiet machine.
    pub(crate) fn too_much(&self) -> Option<String> {
        let above = |what: &str, pct: Option<f64>, max: f64| {
            let pct = pct.filter(|pct| max < *pct)?;
            Some(format!("the machine was not quiet: {what} {pct:.1} %, at most {max} %"))
        };
        above("steal", self.steal_pct, STEAL_PCT_MAX)
            .or_else(|| above("foreign CPU", self.foreign_pct, FOREIGN_PCT_MAX))
    }
}

impl Usage {
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), cpu: own_cpu(), ticks: ticks() }
    }

    /// What the hypervisor and other processes had of the machine since. Children are ours once they
    /// have ended and were waited for.
    pub(crate) fn noise(&self) -> Noise {
        let (Some(before), Some(now)) = (self.ticks, ticks()) else { return Noise::default() };
        let all = now.all.saturating_sub(before.all);
        if all < TICKS_MIN {
            return Noise::default();
        }
        let percent =
            |now: u64, before: u64| 100.0 * now.saturating_sub(before) as f64 / all as f64;
        let busy_pct = percent(now.busy, before.busy);
        Noise {
            steal_pct: Some(percent(now.steal, before.steal)),
            foreign_pct: self.cpu_pct().map(|ours_pct| (busy_pct - ours_pct).max(0.0)),
        }
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
fn ticks() -> Option<Ticks> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let numbers: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = numbers[..] else {
        return None;
    };
    let busy = user + nice + system + irq + softirq;
    Some(Ticks { all: busy + idle + iowait + steal, busy, steal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_told_by_its_worse_stretch() {
        let quiet = Noise { steal_pct: Some(2.0), foreign_pct: Some(10.0) };
        assert_eq!(None, quiet.too_much());
        let worse = quiet.worse(Noise { steal_pct: None, foreign_pct: Some(10.1) });
        assert!(worse.too_much().unwrap().contains("foreign CPU 10.1 %"));
        let stolen = Noise { steal_pct: Some(2.1), foreign_pct: None }.worse(quiet);
        assert!(stolen.too_much().unwrap().contains("steal 2.1 %"));
        assert_eq!(None, Noise::default().too_much());
    }
}
