//! The limiter that tasks share.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::seam::Clock;
use crate::shared::{Claim, Door, Shared};
use crate::{Burst, Moment, NodeId, NotUntil, Rate, Share, ShareError, Stats, Tree};

/// A rate limit that tasks wait for. A clone is another handle of the same limit.
///
/// Over any interval of length `t` it grants at most `burst + rate · t` tokens, beside what the last
/// request exceeds the burst by; while somebody waits, no less than `rate · t` minus one request. The
/// limiter starts with a full burst.
///
/// # Fairness and order
///
/// First come, first served: nobody passes those who wait, not with a small request and not with
/// [`Limiter::try_acquire`]. Children of one limiter take turns by weight instead (see
/// [`Limiter::child`]).
///
/// # Cost
///
/// Granted at once: a reading of the clock and a short critical section; nothing of either while
/// unlimited. Waiting: a few nodes of ordered maps and, for one of all waiters, a timer.
///
/// # Runtimes
///
/// Works on any tokio runtime with time enabled, also while it is paused. No task is spawned. Of those
/// who wait one drives the timer for all; it must be polled when it is woken, or dropped. (A future that
/// is forgotten, or kept but never polled again, holds up those behind it until the limiter is used
/// otherwise.) A wait may begin on one runtime and go on on another.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use limiter::{Burst, Limiter, Rate};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rate: Rate = "10MB/s".parse()?;
/// let limiter = Limiter::new(rate, Burst::lasting(Duration::from_millis(10), rate));
///
/// limiter.acquire(16_384).await;
///
/// // Ask for what a read may bring, keep what it brought.
/// let permit = limiter.acquire(16_384).await;
/// let read_bytes = 1_460;
/// permit.used(read_bytes);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Limiter {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    node: NodeId,
    door: Door,
    /// Lives as long as the child does.
    parent: Option<Limiter>,
}

/// Tokens that have been granted: they count as used when this is dropped.
///
/// Dropping it does nothing, so `limiter.acquire(1).await;` is all that most need. (Were it to give its
/// tokens back, whoever forgot to keep it would have no limit at all.) Only [`Permit::used`] gives back,
/// and it consumes the permit, so nothing is given back twice.
#[derive(Debug)]
pub struct Permit<'a> {
    limiter: Cow<'a, Limiter>,
    tokens: u64,
    /// `None` when nothing was charged because nothing was limited.
    taken_at: Option<Moment>,
}

/// A request that was refused, and when to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAt {
    asked_at: Instant,
    wait: Option<Duration>,
}

impl Limiter {
    /// Returns a limiter with a full burst.
    pub fn new(rate: Rate, burst: Burst) -> Self {
        Self::with_clock(rate, burst, Clock::new())
    }

    #[cfg(any(feature = "loom", feature = "shuttle"))]
    #[doc(hidden)]
    pub fn by_hand(rate: Rate, burst: Burst, clock: Clock) -> Self {
        Self::with_clock(rate, burst, clock)
    }

    fn with_clock(rate: Rate, burst: Burst, clock: Clock) -> Self {
        let tree = Tree::new(rate, burst, clock.now());
        let root = tree.root();
        let shared = Arc::new(Shared::new(tree, clock));
        Self::of_node(shared, root, None)
    }

    fn of_node(shared: Arc<Shared>, node: NodeId, parent: Option<Self>) -> Self {
        let door = shared.add_door(node);
        Self { inner: Arc::new(Inner { shared, node, door, parent }) }
    }

    /// Returns a new limiter below this one: what it grants is charged to both, or to neither.
    ///
    /// Children that wait at the same time, and those who wait at this limiter itself (with weight 1),
    /// share it by weight, to within one request of each; what one leaves is lent to the others. Weights
    /// act only where somebody waits in line: tokens that are there go to whoever asks first, so children
    /// that only ever call [`Limiter::try_acquire`] are not weighed against each other. A child never
    /// exceeds its ceiling; up to its guarantee it is served before its siblings, of whom none starves: one
    /// token in 64 goes in turn in any case. The child is gone with its last handle and permit.
    ///
    /// # Errors
    ///
    /// [`ShareError`] when the share could not be served or would starve siblings, and below a limiter
    /// that is nested 16 deep.
    pub fn child(&self, share: Share) -> Result<Self, ShareError> {
        let Inner { shared, node, .. } = &*self.inner;
        let child = shared.with(|tree, now| tree.add_child(*node, share, now))?;
        Ok(Self::of_node(Arc::clone(shared), child, Some(self.clone())))
    }

    /// Waits until `tokens` are there and takes them. Any number may be asked for; one above the burst
    /// is granted when the bucket is full, and those behind it wait until it has been paid for.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the place in the line and nothing else: tokens that were granted but
    /// not yet received go back, and the next in line is served.
    pub async fn acquire(&self, tokens: u64) -> Permit<'_> {
        if let Some(permit) = self.acquire_unqueued(tokens) {
            return permit;
        }
        let mut pending = Pending::default();
        let taken_at = poll_fn(|cx| pending.poll(self, tokens, cx)).await;
        Permit { limiter: Cow::Borrowed(self), tokens, taken_at }
    }

    /// Takes `tokens` if that needs no wait.
    ///
    /// # Errors
    ///
    /// [`RetryAt`] when they are not there, or others wait for them; nothing is taken.
    #[inline]
    pub fn try_acquire(&self, tokens: u64) -> Result<Permit<'_>, RetryAt> {
        let Inner { shared, node, door, .. } = &*self.inner;
        if door.is_open() {
            return Ok(Permit { limiter: Cow::Borrowed(self), tokens, taken_at: None });
        }
        let now = shared.clock.now();
        match shared.try_take(*node, tokens, now) {
            Ok(taken_at) => {
                Ok(Permit { limiter: Cow::Borrowed(self), tokens, taken_at: Some(taken_at) })
            }
            Err(not_until) => Err(RetryAt::new(&shared.clock, now, not_until)),
        }
    }

    /// Changes the rate (for a child, its ceiling) from now on, for those who wait as well. Tokens that
    /// have dripped in stay. A paused limiter takes the new rate when it is resumed.
    ///
    /// The burst stays what it is: where the new rate brings more than that in 5 ms, it is not reached until
    /// [`Limiter::set_burst`] raises it too (see [`Burst`]).
    pub fn set_rate(&self, rate: Rate) {
        self.change(|tree, node, now| tree.set_rate(node, rate, now));
    }

    /// Changes the burst from now on. A larger one begins with the tokens that are there.
    pub fn set_burst(&self, burst: Burst) {
        self.change(|tree, node, now| tree.set_burst(node, burst, now));
    }

    /// Grants nothing here and below, until [`Limiter::resume`]; those who wait go on waiting.
    pub fn pause(&self) {
        self.change(Tree::pause);
    }

    /// Ends a pause; without one, does nothing.
    pub fn resume(&self) {
        self.change(Tree::resume);
    }

    /// Returns the rate (for a child, its ceiling), paused or not.
    pub fn rate(&self) -> Rate {
        self.inner.shared.with(|tree, _| tree.rate(self.inner.node))
    }

    /// Returns the burst.
    pub fn burst(&self) -> Burst {
        self.inner.shared.with(|tree, _| tree.burst(self.inner.node))
    }

    /// Returns what the limiter has done so far, what its children did through it included.
    pub fn stats(&self) -> Stats {
        self.inner.shared.with(|tree, now| tree.stats(self.inner.node, now))
    }

    /// Whether it is just like a new one of this rate and burst, and no other handle is left.
    pub(crate) fn is_like_new(&self, rate: Rate, burst: Burst) -> bool {
        let node = self.inner.node;
        let is_like_new = |tree: &mut Tree, now: Moment| tree.is_like_new(node, (rate, burst), now);
        Arc::strong_count(&self.inner) == 1 && self.inner.shared.with(is_like_new)
    }

    fn change(&self, act: impl FnOnce(&mut Tree, NodeId, Moment)) {
        self.inner.shared.change(self.inner.node, act);
    }

    /// Takes what needs no wait and no estimate when the rest would come.
    fn acquire_unqueued(&self, tokens: u64) -> Option<Permit<'_>> {
        self.try_acquire(tokens).ok()
    }

    pub(crate) fn give_back(&self, tokens: u64, taken_at: Option<Moment>) {
        if let (Some(taken_at), 1..) = (taken_at, tokens) {
            let node = self.inner.node;
            self.inner.shared.with(|tree, now| tree.give_back(node, tokens, taken_at, now));
        }
    }
}

/// A request of a task; must be polled with the same limiter and number of tokens, and is given up
/// when dropped.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    waiting: Option<(Limiter, Claim)>,
}

impl Pending {
    /// Ready with the moment of the grant; with `None` if nothing was charged.
    pub(crate) fn poll(
        &mut self,
        limiter: &Limiter,
        tokens: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Moment>> {
        if self.waiting.is_none() {
            if let Some(permit) = limiter.acquire_unqueued(tokens) {
                return Poll::Ready(permit.taken_at);
            }
        }
        let (limiter, claim) = self.waiting.get_or_insert_with(|| (limiter.clone(), Claim::new()));
        let Inner { shared, node, .. } = &*limiter.inner;
        let polled = shared.poll(claim, (*node, tokens), cx);
        if polled.is_ready() {
            self.waiting = None;
        }
        polled.map(Some)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some((limiter, claim)) = &mut self.waiting {
            limiter.inner.shared.cancel(claim, limiter.inner.node);
        }
    }
}

impl Permit<'_> {
    /// Returns the number of tokens granted.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Says that only this many were used and gives the rest back; more than granted count as all.
    ///
    /// What comes back is what would still be there had it never been taken: in a bucket that has been
    /// full meanwhile, nothing (see [`TokenBucket::give_back`](crate::TokenBucket::give_back)).
    pub fn used(self, tokens: u64) {
        self.limiter.give_back(self.tokens.saturating_sub(tokens), self.taken_at);
    }

    /// Returns the permit with a handle of its own, to be kept anywhere.
    pub fn into_owned(self) -> Permit<'static> {
        Permit { limiter: Cow::Owned(self.limiter.into_owned()), ..self }
    }
}

impl RetryAt {
    fn new(clock: &Clock, asked_at: Moment, not_until: NotUntil) -> Self {
        let wait = not_until.moment().map(|moment| moment.saturating_since(asked_at));
        Self { asked_at: clock.instant(asked_at), wait }
    }

    /// Returns how long after the refusal the tokens would be there, behind all who wait now; `None`
    /// when never, at the present rate.
    pub fn wait(self) -> Option<Duration> {
        self.wait
    }

    /// Returns the instant of tokio's clock at which they would be there.
    pub fn instant(self) -> Option<Instant> {
        self.asked_at.checked_add(self.wait?)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.parent.is_some() {
            self.shared.remove(self.node);
        }
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("node", &self.inner.node).finish_non_exhaustive()
    }
}

impl fmt::Display for RetryAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wait {
            Some(wait) => write!(f, "rate limit reached: retry in {wait:?}"),
            None => f.write_str("rate limit paused: retry when it has been resumed"),
        }
    }
}

impl std::error::Error for RetryAt {}
