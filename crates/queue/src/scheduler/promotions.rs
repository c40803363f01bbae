//! When the best job of a lane will count as a better class.

use std::collections::BTreeSet;

use super::rank::NEVER_NS;

/// Lanes by the instant at which they are to be looked at again.
///
/// A lane is never looked at too late, but may be too early: its best job may have been started
/// meanwhile. Putting that right each time would cost more than a look in vain.
#[derive(Debug, Default)]
pub(super) struct Promotions {
    looks: BTreeSet<(u64, u32)>,
    /// The instant of the look by lane; [`NEVER_NS`] without one.
    at_ns: Vec<u64>,
}

impl Promotions {
    /// Sees to it that a lane is looked at then, or earlier.
    pub(super) fn look_at(&mut self, lane: u32, at_ns: u64) {
        let index = lane as usize;
        if self.at_ns.len() <= index {
            self.at_ns.resize(index + 1, NEVER_NS);
        }
        let planned_ns = self.at_ns[index];
        if at_ns < planned_ns {
            self.looks.remove(&(planned_ns, lane));
            self.looks.insert((at_ns, lane));
            self.at_ns[index] = at_ns;
        }
    }

    /// A lane that is to be looked at now. It may be one that is no more.
    pub(super) fn due(&mut self, now_ns: u64) -> Option<u32> {
        let (at_ns, lane) = *self.looks.first()?;
        if now_ns < at_ns {
            return None;
        }
        self.looks.pop_first();
        self.at_ns[lane as usize] = NEVER_NS;
        Some(lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_looked_at_once_and_at_the_earliest_of_its_instants() {
        let mut promotions = Promotions::default();
        for (lane, at_ns) in [(1, 30), (2, 20), (1, 10), (2, 25)] {
            promotions.look_at(lane, at_ns);
        }
        assert_eq!(None, promotions.due(9));
        assert_eq!((Some(1), None), (promotions.due(10), promotions.due(19)));
        promotions.look_at(1, 40);
        assert_eq!((Some(2), None), (promotions.due(20), promotions.due(39)));
        assert_eq!(Some(1), promotions.due(40));
    }
}
