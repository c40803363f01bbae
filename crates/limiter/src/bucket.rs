//! The token bucket, in exact integers.

mod low_water;

use std::fmt;

use crate::bucket::low_water::LowWater;
use crate::{Burst, Moment, Rate};

/// A token bucket: tokens drip in at a rate, at most a burst of them is kept, a request takes some.
///
/// Pure: it reads no clock and waits for nobody; it says when to come again. A `now` before an earlier
/// one counts as the earlier one, so a clock that goes back admits nothing extra.
///
/// # The guarantee
///
/// Over any interval of length `t`, at most `burst + rate · t` tokens are taken, and beside them what
/// the last request of the interval exceeds the burst by. Exactly: the level is kept in whole
/// fractions of a token, so no rate is rounded and nothing drifts (only a change to a rate of another
/// period rounds, once, down, by less than a token's `period`-th part).
///
/// # Requests larger than the burst
///
/// Such a request is admitted when the bucket is full and puts it into debt: what follows waits until
/// the debt has dripped in. So every request is served after a wait of at most `burst / rate` at the
/// head of the line, and the mean rate holds.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use limiter::{Burst, Moment, Rate, TokenBucket};
///
/// let start = Moment::ZERO;
/// let mut bucket = TokenBucket::new(Rate::per_second(10), Burst::new(5)?, start);
/// bucket.try_take(5, start)?;
///
/// let refusal = bucket.try_take(1, start).unwrap_err();
/// let ready_at = refusal.moment().expect("the rate is not 0");
/// assert_eq!(start.saturating_add(Duration::from_millis(100)), ready_at);
/// bucket.try_take(1, ready_at)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
///
/// The token bucket of ITU-T I.371 (the dual of its generic cell rate algorithm), scaled by the period of
/// the rate so that each nanosecond adds a whole number. What is kept is not the level but what is
/// missing: then each step is one addition or subtraction that stops at zero.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate: Rate,
    burst: Burst,
    /// What the bucket lacks to be full, in `1 / unit` tokens; more than `level_max` in debt. Below 2¹²⁸:
    /// the bucket is not in debt when something is taken, and that is below 2¹²⁷.
    missing: u128,
    /// A full bucket, in `1 / unit` tokens: at most 2¹²⁶.
    level_max: u128,
    /// The period in nanoseconds of the rate at which the bucket was last filled.
    unit: u64,
    /// The level is of this moment.
    updated: Moment,
    /// How full the bucket has been, for those who give tokens back.
    low_water: LowWater,
}

/// A request that was refused, and when it would not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUntil {
    moment: Moment,
}

impl NotUntil {
    pub(crate) const fn new(moment: Moment) -> Self {
        Self { moment }
    }

    /// Returns the first moment at which the request is admitted if nobody takes anything before;
    /// `None` when the rate is 0 or the wait exceeds 584 years.
    pub fn moment(self) -> Option<Moment> {
        (self.moment != Moment::MAX).then_some(self.moment)
    }
}

impl TokenBucket {
    /// Returns a full bucket.
    pub fn new(rate: Rate, burst: Burst, now: Moment) -> Self {
        let unit = rate.period_nanos();
        let level_max = full(burst, unit);
        let low_water = LowWater::new(level_max);
        Self { rate, burst, missing: 0, level_max, unit, updated: now, low_water }
    }

    /// Takes `tokens` out, all or none of them, and returns the moment to name when giving some back:
    /// `now`, or the latest moment that the bucket has seen.
    ///
    /// Any number may be asked for; see [above](TokenBucket#requests-larger-than-the-burst) for those
    /// larger than the burst. 0 tokens wait only for a debt or a pause to end.
    ///
    /// # Errors
    ///
    /// [`NotUntil`] when fewer than `tokens` (or than the burst, if that is less) are in the bucket, or
    /// the rate is 0; nothing is taken.
    #[inline]
    pub fn try_take(&mut self, tokens: u64, now: Moment) -> Result<Moment, NotUntil> {
        if self.rate.is_unlimited() {
            return Ok(self.updated.max(now));
        }
        self.fill(now);
        let cost = self.cost(tokens);
        let needed = if tokens <= self.burst.tokens() { cost } else { self.level_max };
        if self.level_max - needed < self.missing || self.rate.is_paused() {
            return Err(self.refusal(tokens, now));
        }
        self.charge(cost);
        Ok(self.updated)
    }

    /// Out of the way of those who are admitted.
    #[inline(never)]
    fn refusal(&mut self, tokens: u64, now: Moment) -> NotUntil {
        NotUntil { moment: self.ready_at(tokens, now) }
    }

    /// Returns when `tokens` could be taken: a moment not after `now` if at once, [`Moment::MAX`] if
    /// never.
    pub fn ready_at(&mut self, tokens: u64, now: Moment) -> Moment {
        self.ready_behind(0, tokens, now)
    }

    /// Like [`TokenBucket::ready_at`], when `ahead` other tokens are to be taken first.
    pub(crate) fn ready_behind(&mut self, ahead: u64, tokens: u64, now: Moment) -> Moment {
        self.fill(now);
        if self.rate.is_paused() {
            return Moment::MAX;
        }
        let tokens = u128::from(ahead) + u128::from(tokens.min(self.burst.tokens()));
        let needed = tokens.saturating_mul(self.unit.into()).saturating_add(self.missing);
        if needed <= self.level_max || self.rate.is_unlimited() {
            return self.updated;
        }
        self.filled_by(needed - self.level_max)
    }

    /// Takes out what [`TokenBucket::ready_at`] has just found ready.
    pub(crate) fn take(&mut self, tokens: u64) {
        if !self.rate.is_unlimited() {
            self.charge(self.cost(tokens));
        }
    }

    #[inline]
    fn charge(&mut self, cost: u128) {
        self.low_water.mark(self.updated, self.missing);
        self.missing += cost;
    }

    /// Puts `tokens` back that were taken at `taken_at` and not used.
    ///
    /// The bucket is then as full as if they had never been taken, and no fuller: what would have
    /// overflowed meanwhile is gone. (Someone may hold tokens until the bucket is full again and give
    /// them back when others have emptied it; a plain refund would then grant two bursts at once.)
    /// Up to a 64th of the burst less comes back when the bucket was emptied in more than 64 steps
    /// meanwhile.
    ///
    /// Each token must be given back at most once; whoever holds one value per grant has that for free.
    pub fn give_back(&mut self, tokens: u64, taken_at: Moment, now: Moment) {
        self.fill(now);
        if self.rate.is_unlimited() {
            return;
        }
        let unused = self.cost(tokens).min(self.missing);
        self.missing -= self.low_water.restore(unused, taken_at);
    }

    /// Changes the rate from `now` on; what has dripped in stays.
    pub fn set_rate(&mut self, rate: Rate, now: Moment) {
        self.fill(now);
        if self.rate.is_unlimited() {
            // What was taken without limit was never charged, so none of it comes back.
            self.low_water.forget_until(self.updated);
        }
        self.rate = rate;
    }

    /// Changes the burst from `now` on: a smaller one drops what no longer fits, a larger one begins
    /// with what is there.
    pub fn set_burst(&mut self, burst: Burst, now: Moment) {
        self.fill(now);
        self.low_water.mark(self.updated, self.missing);
        let level_max_before = self.level_max;
        self.burst = burst;
        self.level_max = full(burst, self.unit);
        let with_room = self.missing + self.level_max;
        if with_room < level_max_before {
            self.low_water.forget_until(self.updated);
        }
        self.missing = with_room.saturating_sub(level_max_before);
        self.low_water.rescale(1, 1, self.level_max);
    }

    /// Returns the rate.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Returns the burst.
    pub fn burst(&self) -> Burst {
        self.burst
    }

    /// Returns the whole tokens in the bucket; 0 in debt.
    pub fn available(&mut self, now: Moment) -> u64 {
        self.fill(now);
        // No more than the burst, so it fits.
        (self.level_max.saturating_sub(self.missing) / u128::from(self.unit)) as u64
    }

    /// Returns the tokens that must drip in before the bucket is merely empty, rounded up.
    pub fn debt(&mut self, now: Moment) -> u64 {
        self.fill(now);
        let owed = self.missing.saturating_sub(self.level_max);
        u64::try_from(owed.div_ceil(self.unit.into())).unwrap_or(u64::MAX)
    }

    /// Whether the bucket is as full as a new one.
    pub fn is_full(&mut self, now: Moment) -> bool {
        self.fill(now);
        self.missing == 0
    }

    /// Tokens in units of the level: below 2⁶⁴ · 2⁶³.
    #[inline]
    fn cost(&self, tokens: u64) -> u128 {
        u128::from(tokens) * u128::from(self.unit)
    }

    /// Lets drip in what is due.
    #[inline]
    fn fill(&mut self, now: Moment) {
        let elapsed_nanos = now.as_nanos().saturating_sub(self.updated.as_nanos());
        if elapsed_nanos == 0 {
            return;
        }
        self.updated = now;
        if self.rate.is_paused() {
            return;
        }
        if self.unit != self.rate.period_nanos() {
            self.change_unit();
        }
        let gained = u128::from(elapsed_nanos) * u128::from(self.rate.tokens());
        self.missing = self.missing.saturating_sub(gained);
    }

    /// Counts in the unit of the present rate. Done only once time has passed, so that a change and its
    /// reverse at one moment leave no trace.
    #[cold]
    fn change_unit(&mut self) {
        let (from, to) = (self.unit, self.rate.period_nanos());
        self.unit = to;
        self.level_max = full(self.burst, to);
        // What is there is rounded down.
        self.missing = rescale_up(self.missing, from, to);
        self.low_water.rescale(from, to, self.level_max);
    }

    /// When `missing` units more will be in the bucket.
    fn filled_by(&self, missing: u128) -> Moment {
        let period = self.rate.period_nanos();
        let missing =
            if self.unit == period { missing } else { rescale_up(missing, self.unit, period) };
        let wait_nanos = div_ceil(missing, self.rate.tokens());
        let nanos = u128::from(self.updated.as_nanos()).saturating_add(wait_nanos);
        Moment::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// A full bucket in `1 / unit` tokens: at most 2⁶³ · 2⁶³.
fn full(burst: Burst, unit: u64) -> u128 {
    u128::from(burst.tokens()) * u128::from(unit)
}

/// `value · to / from`, rounded down, without leaving 128 bits on the way. No bucket lacks more than
/// 2⁶³ + 2⁶⁴ tokens, so nothing overflows.
fn rescale(value: u128, from: u64, to: u64) -> u128 {
    let (from, to) = (u128::from(from), u128::from(to));
    (value / from).saturating_mul(to).saturating_add(value % from * to / from)
}

/// Like [`rescale`], rounded up.
fn rescale_up(value: u128, from: u64, to: u64) -> u128 {
    let (from, to) = (u128::from(from), u128::from(to));
    (value / from).saturating_mul(to).saturating_add((value % from * to).div_ceil(from))
}

/// Divides, rounded up; takes the short way where 64 bits are enough, as they nearly always are.
fn div_ceil(dividend: u128, divisor: u64) -> u128 {
    match u64::try_from(dividend) {
        Ok(short) => short.div_ceil(divisor).into(),
        Err(_) => dividend.div_ceil(divisor.into()),
    }
}

impl fmt::Display for NotUntil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.moment() {
            Some(moment) => write!(f, "too few tokens until {} ns", moment.as_nanos()),
            None => f.write_str("no tokens until the rate is raised"),
        }
    }
}

impl std::error::Error for NotUntil {}
