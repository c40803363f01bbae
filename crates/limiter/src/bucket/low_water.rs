//! How much room there has been in a bucket since a moment: the bound on what may be given back.

use crate::Moment;

/// Marks whose room is the same to a 64th of the burst are kept as one.
const STEPS: u32 = 64;

/// The least room (`level_max − level`) since any moment of the past.
///
/// Had some tokens never been taken, the bucket would have been fuller ever since, but never more than
/// full: so of these tokens there would be left what the least room since then allows. The room is
/// least just before tokens are taken, so those moments are marked.
///
/// A mark that has a later mark with less room below it says nothing more, so the marks are kept with
/// room ascending (a monotone stack), and marks within one step of the burst are merged to the lesser
/// room and the later moment: that only ever gives back less. So there are at most [`STEPS`] + 1.
#[derive(Clone, Debug)]
pub(super) struct LowWater {
    marks: Vec<Mark>,
    /// A step is 2 to the power of this.
    step_bits: u32,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    moment: Moment,
    room: u128,
}

impl LowWater {
    pub(super) fn new(level_max: u128) -> Self {
        Self { marks: Vec::new(), step_bits: step_bits(level_max) }
    }

    /// Says that at `moment` there was this much room, and that tokens were taken then.
    #[inline]
    pub(super) fn mark(&mut self, moment: Moment, room: u128) {
        let Some(last) = self.marks.last_mut() else {
            return self.marks.push(Mark { moment, room });
        };
        // What was forgotten is marked a nanosecond ahead.
        let moment = moment.max(last.moment);
        if room <= last.room {
            *last = Mark { moment, room };
            return self.drop_outdone();
        }
        if last.room >> self.step_bits == room >> self.step_bits {
            last.moment = moment;
            return;
        }
        self.marks.push(Mark { moment, room });
    }

    /// Drops all marks before the last that have no less room.
    #[inline]
    fn drop_outdone(&mut self) {
        while let [.., before, last] = &self.marks[..] {
            if before.room < last.room {
                break;
            }
            let last = *last;
            self.marks.pop();
            *self.marks.last_mut().expect("there were two") = last;
        }
    }

    /// Says that nothing taken up to `moment` may be given back.
    pub(super) fn forget_until(&mut self, moment: Moment) {
        self.marks.clear();
        let next = Moment::from_nanos(moment.as_nanos().saturating_add(1));
        self.marks.push(Mark { moment: next, room: 0 });
    }

    /// Returns how much of `unused`, taken at `taken_at`, would still be in the bucket, and remembers the
    /// past as if it had been there: the next to give back finds so much less room.
    pub(super) fn restore(&mut self, unused: u128, taken_at: Moment) -> u128 {
        let since = self.marks.partition_point(|mark| mark.moment <= taken_at);
        // Room ascends, so the first mark since then has the least.
        let restored = self.marks.get(since).map_or(unused, |mark| unused.min(mark.room));
        for mark in &mut self.marks[since..] {
            mark.room -= restored;
        }
        if let Some(least) = self.marks.get(since).map(|mark| mark.room) {
            let outdone = self.marks[..since].partition_point(|mark| mark.room < least);
            self.marks.drain(outdone..since);
        }
        restored
    }

    /// Counts in another unit, rounding room down, and with another burst.
    pub(super) fn rescale(&mut self, from: u64, to: u64, level_max: u128) {
        self.step_bits = step_bits(level_max);
        let marks = std::mem::take(&mut self.marks);
        for mark in marks {
            self.mark(mark.moment, super::rescale(mark.room, from, to));
        }
    }
}

/// A step is the power of 2 that is a 32nd to a 64th of a full bucket.
fn step_bits(level_max: u128) -> u32 {
    level_max.ilog2().saturating_sub(STEPS.ilog2() - 1)
}
