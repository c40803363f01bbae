//! Where a job stands in line: fixed when it is submitted, never sorted again.

use std::time::Duration;

use crate::rules::AGEING_MAX;

/// A job's place among all; the lesser is the better.
///
/// It does not depend on the present, so that nothing has to be sorted again while jobs age: this is
/// earliest-deadline-first with a slack of one ageing per class (Liu and Layland, 1973).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Submission plus one ageing per class: when the job reaches class 0.
    pub(super) top_at_ns: u64,
    /// First come, first served among equals.
    pub(super) sequence: u64,
}

/// How fast jobs age.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ageing {
    per_class_ns: u64,
}

impl Ageing {
    pub(super) fn new(ageing: Duration) -> Self {
        Self { per_class_ns: nanos(ageing.min(AGEING_MAX)) }
    }

    /// When a job of this class, submitted then, reaches class 0.
    pub(super) fn top_at_ns(self, submitted_ns: u64, class: u8) -> u64 {
        submitted_ns.saturating_add(self.per_class_ns * u64::from(class))
    }

    /// The class that a job counts as: its own, less one per ageing waited.
    pub(super) fn class_at(self, top_at_ns: u64, now_ns: u64) -> u8 {
        if top_at_ns <= now_ns {
            return 0;
        }
        let classes = (top_at_ns - now_ns).div_ceil(self.per_class_ns);
        u8::try_from(classes).expect("a job is never further from the top than its own class")
    }

    /// When a job that counts as this class, which is not 0, will count as a better one.
    pub(super) fn better_at_ns(self, top_at_ns: u64, class: u8) -> u64 {
        top_at_ns - self.per_class_ns * u64::from(class - 1)
    }
}

/// An instant that does not come.
pub(super) const NEVER_NS: u64 = u64::MAX;

/// Whole nanoseconds; 584 years fit.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(class: u8, submitted: u64, now: u64, expected: u8) {
        let ageing = Ageing::new(Duration::from_nanos(10));
        assert_eq!(expected, ageing.class_at(ageing.top_at_ns(submitted, class), now));
    }

    #[test]
    fn a_job_counts_one_class_less_per_ageing_waited() {
        check(3, 5, 5, 3);
        check(3, 5, 14, 3);
        check(3, 5, 15, 2);
        check(3, 5, 34, 1);
        check(3, 5, 35, 0);
        check(3, 5, 1000, 0);
        check(0, 5, 5, 0);
    }

    #[test]
    fn the_instant_of_the_next_class_is_foretold() {
        let ageing = Ageing::new(Duration::from_nanos(10));
        let top_at_ns = ageing.top_at_ns(5, 3);
        for now in 5..35 {
            let class = ageing.class_at(top_at_ns, now);
            let better_at = ageing.better_at_ns(top_at_ns, class);
            assert!(now < better_at);
            assert_eq!(class, ageing.class_at(top_at_ns, better_at - 1));
            assert_eq!(class - 1, ageing.class_at(top_at_ns, better_at));
        }
    }

    #[test]
    fn the_longest_ageing_of_the_last_class_does_not_overflow() {
        let ageing = Ageing::new(Duration::MAX);
        let century_ns = nanos(100 * AGEING_MAX);
        assert_eq!(255, ageing.class_at(ageing.top_at_ns(century_ns, 255), century_ns));
    }

    #[test]
    fn without_ageing_all_classes_are_one() {
        let ageing = Ageing::new(Duration::ZERO);
        assert_eq!(0, ageing.class_at(ageing.top_at_ns(7, 255), 7));
    }
}
