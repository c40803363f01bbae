//! Was the machine ours while we measured?
//!
//! The kernel says how its processors spent their time (`proc_stat(5)`), and how each process did. What
//! neither was idle nor ours was somebody else's; what was stolen went to another guest.

use std::fs::read_to_string;

/// The largest share of the machine that a hypervisor may keep, in percent.
const STEAL_PCT_MAX: f64 = 2.0;
/// The largest share of the machine that other processes may take, in percent.
const FOREIGN_PCT_MAX: f64 = 10.0;
/// Below this many ticks of the whole machine a share says nothing: the kernel counts in ticks.
const TICKS_MIN: u64 = 8;

/// Ticks of the whole machine since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Ticks {
    total: u64,
    busy: u64,
    steal: u64,
}

/// What the machine did during a stretch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Noise {
    /// Time that went to other guests, in percent of the machine.
    pub(crate) steal_pct: f64,
    /// Time that went to other processes, in percent of the machine.
    pub(crate) foreign_pct: f64,
}

impl Noise {
    /// Why a measurement does not count; `None` on a quiet machine.
    pub(crate) fn too_much(&self) -> Option<String> {
        let Self { steal_pct, foreign_pct } = self;
        if STEAL_PCT_MAX < *steal_pct {
            return Some(format!("steal {steal_pct:.1} %, at most {STEAL_PCT_MAX} %"));
        }
        let foreign = format!("foreign CPU {foreign_pct:.1} %, at most {FOREIGN_PCT_MAX} %");
        (FOREIGN_PCT_MAX < *foreign_pct).then_some(foreign)
    }

    fn between(from: Ticks, to: Ticks, ours: u64) -> Self {
        let total = to.total.saturating_sub(from.total);
        if total < TICKS_MIN {
            return Self { steal_pct: 0.0, foreign_pct: 0.0 };
        }
        let percent = |ticks: u64| 100.0 * ticks as f64 / total as f64;
        let busy = to.busy.saturating_sub(from.busy);
        Self {
            steal_pct: percent(to.steal.saturating_sub(from.steal)),
            foreign_pct: percent(busy.saturating_sub(ours)),
        }
    }
}

/// A stretch being watched.
#[derive(Debug)]
pub(crate) struct Busy {
    ticks: Ticks,
    ours: u64,
}

impl Busy {
    /// Starts watching.
    pub(crate) fn start() -> Self {
        Self { ticks: read_ticks(), ours: ticks_of_self() }
    }

    /// Ends the stretch. Children count as ours once they have ended and were waited for.
    pub(crate) fn stop(&self) -> Noise {
        let ours = ticks_of_self().saturating_sub(self.ours);
        Noise::between(self.ticks, read_ticks(), ours)
    }
}

fn read_ticks() -> Ticks {
    parse_ticks(&read_to_string("/proc/stat").unwrap_or_default())
}

/// Reads the line `cpu  user nice system idle iowait irq softirq steal guest guest_nice`; guests are
/// counted in user already.
fn parse_ticks(stat: &str) -> Ticks {
    let line = stat.lines().find(|line| line.starts_with("cpu ")).unwrap_or_default();
    let numbers: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
    let at = |index: usize| numbers.get(index).copied().unwrap_or(0);
    let busy = at(0) + at(1) + at(2) + at(5) + at(6);
    let steal = at(7);
    Ticks { total: busy + at(3) + at(4) + steal, busy, steal }
}

fn ticks_of_self() -> u64 {
    ticks_of(&read_to_string("/proc/self/stat").unwrap_or_default())
}

/// User and system time of a process and of the children it waited for: fields 14 to 17 of its `stat`.
fn ticks_of(stat: &str) -> u64 {
    // The name stands in parentheses and may hold anything, parentheses included.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    fields.split_whitespace().skip(11).take(4).flat_map(str::parse::<u64>).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read() {
        let ticks = parse_ticks("cpu  10 1 5 100 7 2 3 4 0 0\ncpu0 1 1 1 1\n");
        assert_eq!(Ticks { total: 132, busy: 21, steal: 4 }, ticks);
        assert_eq!(Ticks::default(), parse_ticks(""));
    }

    #[test]
    fn a_process_counts_with_its_children() {
        let stat = "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 30 12 5 3 20 0 1 0 9";
        assert_eq!(50, ticks_of(stat));
        assert_eq!(0, ticks_of(""));
    }

    #[test]
    fn what_is_not_ours_is_foreign() {
        let from = Ticks { total: 1000, busy: 100, steal: 0 };
        let to = Ticks { total: 1200, busy: 200, steal: 6 };
        let noise = Noise::between(from, to, 70);
        assert_eq!(Noise { steal_pct: 3.0, foreign_pct: 15.0 }, noise);
        assert_eq!(Some("steal 3.0 %, at most 2 %".to_owned()), noise.too_much());
        let foreign = Noise { steal_pct: 0.0, ..noise };
        assert_eq!(Some("foreign CPU 15.0 %, at most 10 %".to_owned()), foreign.too_much());
        assert_eq!(None, Noise { foreign_pct: 10.0, ..foreign }.too_much());
    }

    #[test]
    fn a_stretch_shorter_than_the_kernels_ticks_says_nothing() {
        let from = Ticks { total: 10, busy: 5, steal: 0 };
        let to = Ticks { total: 14, busy: 9, steal: 2 };
        assert_eq!(None, Noise::between(from, to, 0).too_much());
    }
}
