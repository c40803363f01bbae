//! One limit of a tree.

use std::collections::BTreeMap;
use std::fmt;

use super::turns::{Member, OWN, Turns};
use crate::{Burst, Moment, NotUntil, Rate, Stats, TokenBucket};

/// What a child may have of its parent's rate.
///
/// # Examples
///
/// ```
/// use limiter::{Rate, Share};
///
/// let model = Share { weight: 4, ceiling: "80MB/s".parse()?, ..Share::default() };
/// assert_eq!(Rate::PAUSED, model.guarantee);
/// # Ok::<(), limiter::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// What its siblings' weights compare with; at least 1. What siblings leave idle is lent, and tokens
    /// that are there while nobody waits go to whoever asks first, whatever the weights.
    pub weight: u32,
    /// The rate at which it is served before its siblings; [`Rate::PAUSED`] for none. The guarantees of
    /// all children may be 63/64 of the parent's rate, or of the lowest above it, so that nobody starves:
    /// should they exceed it later, by a change of rate or of what others above take, one token in 64
    /// still goes in turn.
    pub guarantee: Rate,
    /// The rate that it may never exceed; [`Rate::UNLIMITED`] for the parent's alone.
    pub ceiling: Rate,
    /// What it may take at once under its ceiling and its guarantee.
    pub burst: Burst,
}

impl Default for Share {
    /// Weight 1, no guarantee, no ceiling, and a burst of 64 Ki tokens under those that are set.
    fn default() -> Self {
        Self {
            weight: 1,
            guarantee: Rate::PAUSED,
            ceiling: Rate::UNLIMITED,
            burst: Burst::new(64 << 10).expect("64 Ki is within the bounds of a burst"),
        }
    }
}

/// Why a tree refuses a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShareError {
    /// A weight of 0 would never be served.
    ZeroWeight,
    /// An unlimited guarantee would starve the siblings.
    UnlimitedGuarantee,
    /// The guarantees of the children together exceed 63/64 of the rate that there is for them.
    Overcommitted {
        /// The parent's rate, or the lowest above it.
        parent: Rate,
        /// What the child asked for.
        guarantee: Rate,
    },
    /// The tree is as deep as it may be.
    TooDeep {
        /// The largest number of limits from the root to a leaf.
        depth_max: usize,
    },
}

/// A limit, its own waiters and its place among its siblings.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) generation: u32,
    pub(super) parent: Option<Member>,
    pub(super) weight: u32,
    pub(super) limit: TokenBucket,
    /// The rate to return to after a pause.
    pub(super) resumes_at: Option<Rate>,
    pub(super) guarantee: Option<TokenBucket>,
    /// Requests that wait for this limit itself, first come first served.
    pub(super) line: BTreeMap<u64, Waiting>,
    pub(super) turns: Turns,
    pub(super) children: usize,
    /// Children with a guarantee, the one longest unserved first.
    pub(super) guaranteed: Vec<Member>,
    /// Without what is read from the bucket.
    pub(super) stats: Stats,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) tokens: u64,
    pub(super) since: Moment,
}

impl Node {
    pub(super) fn new(limit: TokenBucket, parent: Option<Member>, weight: u32) -> Self {
        Self {
            generation: 0,
            parent,
            weight,
            limit,
            resumes_at: None,
            guarantee: None,
            line: BTreeMap::new(),
            turns: Turns::default(),
            children: 0,
            guaranteed: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// The request at the head of the line.
    pub(super) fn head(&self) -> Option<(u64, Waiting)> {
        self.line.first_key_value().map(|(number, waiting)| (*number, *waiting))
    }

    pub(super) fn join_line(&mut self, number: u64, waiting: Waiting) {
        self.line.insert(number, waiting);
        self.turns.join(OWN);
    }

    pub(super) fn leave_line(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.line.remove(&number)?;
        if self.line.is_empty() {
            self.turns.leave(OWN);
        }
        Some(waiting)
    }

    /// Takes tokens for the node's own line, which has weight 1 among the children.
    pub(super) fn serve_own(&mut self, tokens: u64) {
        if 0 < self.children {
            self.turns.charge(OWN, tokens, 1);
        }
        self.take(tokens);
    }

    /// Takes what [`TokenBucket::ready_at`] has found ready, and counts it.
    pub(super) fn take(&mut self, tokens: u64) {
        self.limit.take(tokens);
        self.count(tokens);
    }

    /// Takes tokens if they are there; for a node without parent and children.
    #[inline]
    pub(super) fn try_take_alone(&mut self, tokens: u64, now: Moment) -> Result<Moment, NotUntil> {
        let taken_at = self.limit.try_take(tokens, now)?;
        self.count(tokens);
        Ok(taken_at)
    }

    #[inline]
    fn count(&mut self, tokens: u64) {
        self.stats.granted = self.stats.granted.saturating_add(1);
        self.stats.granted_tokens = self.stats.granted_tokens.saturating_add(tokens);
    }

    pub(super) fn give_back(&mut self, tokens: u64, taken_at: Moment, now: Moment) {
        self.limit.give_back(tokens, taken_at, now);
        self.stats.given_back_tokens = self.stats.given_back_tokens.saturating_add(tokens);
    }
}

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroWeight => f.write_str("a weight of 0 is never served: use at least 1"),
            Self::UnlimitedGuarantee => {
                f.write_str("an unlimited guarantee starves its siblings: use a finite rate")
            }
            Self::Overcommitted { parent, guarantee } => write!(
                f,
                "a guarantee of {guarantee} leaves too little of the parent's {parent} to siblings \
                 without one: keep the sum of guarantees within 63/64 of it"
            ),
            Self::TooDeep { depth_max } => {
                write!(f, "limits are nested {depth_max} deep at most")
            }
        }
    }
}

impl std::error::Error for ShareError {}
