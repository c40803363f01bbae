//! What of a cache need not be kept. Pure.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use super::GcOptions;

/// A repository in a cache.
#[derive(Clone, Debug, Default)]
pub(super) struct Repo {
    /// Somebody brings, repairs or removes something of it now.
    pub(super) in_use: bool,
    pub(super) revisions: Vec<Revision>,
    pub(super) blobs: Vec<Blob>,
    pub(super) partials: Vec<Partial>,
}

/// Remains of a transfer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Partial {
    pub(super) bytes: u64,
    pub(super) written: SystemTime,
}

/// A revision: which blobs it refers to.
#[derive(Clone, Debug)]
pub(super) struct Revision {
    pub(super) blobs: BTreeSet<usize>,
    pub(super) used: SystemTime,
}

/// Bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blob {
    pub(super) bytes: u64,
    /// The same for the same bytes under several names: then they count once.
    pub(super) inode: u64,
    pub(super) written: SystemTime,
    /// They lie in a store that others keep.
    pub(super) is_foreign: bool,
}

/// What is to be taken away from one repository, by number.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Decision {
    pub(super) revisions: BTreeSet<usize>,
    pub(super) blobs: BTreeSet<usize>,
    pub(super) partials: BTreeSet<usize>,
}

impl Decision {
    pub(super) fn is_nothing(&self) -> bool {
        self.revisions.is_empty() && self.blobs.is_empty() && self.partials.is_empty()
    }
}

/// Decides for each repository.
pub(super) fn decide(repos: &[Repo], options: &GcOptions, now: SystemTime) -> Vec<Decision> {
    let age = |then: SystemTime| now.duration_since(then).unwrap_or(Duration::ZERO);
    let mut decisions: Vec<_> = repos.iter().map(|_| Decision::default()).collect();
    for (repo, decision) in idle(repos, &mut decisions) {
        if let Some(max_age) = options.max_age {
            let old = repo.revisions.iter().enumerate().filter(|(_, r)| max_age < age(r.used));
            decision.revisions = old.map(|(k, _)| k).collect();
        }
        let is_stale = |partial: &Partial| options.partial_age < age(partial.written);
        let stale = repo.partials.iter().enumerate().filter(|(_, partial)| is_stale(partial));
        decision.partials = stale.map(|(k, _)| k).collect();
        take_what_is_left(repo, decision, |blob| options.grace <= age(blob.written));
    }
    if let Some(max_bytes) = options.max_bytes {
        shrink(repos, &mut decisions, options, max_bytes, now);
    }
    decisions
}

fn idle<'a>(
    repos: &'a [Repo],
    decisions: &'a mut [Decision],
) -> impl Iterator<Item = (&'a Repo, &'a mut Decision)> {
    repos.iter().zip(decisions).filter(|(repo, _)| !repo.in_use)
}

/// Takes revisions and remains away, the longest unused first, until what is left is small enough.
fn shrink(
    repos: &[Repo],
    decisions: &mut [Decision],
    options: &GcOptions,
    max_bytes: u64,
    now: SystemTime,
) {
    // A revision; or all remains of a model, of which one is nothing without the others.
    let mut candidates: Vec<(SystemTime, usize, Option<usize>)> = Vec::new();
    for (at, repo) in repos.iter().enumerate().filter(|(_, repo)| !repo.in_use) {
        candidates.extend(repo.revisions.iter().enumerate().map(|(k, r)| (r.used, at, Some(k))));
        let written = repo.partials.iter().map(|partial| partial.written).max();
        candidates.extend(written.map(|written| (written, at, None)));
    }
    candidates.sort_unstable();
    let age = |then: SystemTime| now.duration_since(then).unwrap_or(Duration::ZERO);
    let mut kept = Kept::of(repos, decisions);
    for (_, at, revision) in candidates {
        if kept.bytes <= max_bytes {
            return;
        }
        let (repo, decision) = (&repos[at], &mut decisions[at]);
        kept.take(repo, decision);
        match revision {
            Some(k) => decision.revisions.extend([k]),
            None => decision.partials = (0..repo.partials.len()).collect(),
        }
        take_what_is_left(repo, decision, |blob| options.grace <= age(blob.written));
        kept.give(repo, decision);
    }
}

/// Takes away what has no use without the revisions that go: blobs, and with the last one all remains.
fn take_what_is_left(repo: &Repo, decision: &mut Decision, is_old: impl Fn(&Blob) -> bool) {
    decision.blobs = unreferenced(repo, decision, is_old);
    if !repo.revisions.is_empty() && decision.revisions.len() == repo.revisions.len() {
        decision.partials = (0..repo.partials.len()).collect();
    }
}

/// The blobs that no revision refers to which stays: those that one referred to which goes, and of the
/// others those that are old enough.
fn unreferenced(
    repo: &Repo,
    decision: &Decision,
    is_old: impl Fn(&Blob) -> bool,
) -> BTreeSet<usize> {
    let (mut kept, mut lost) = (BTreeSet::new(), BTreeSet::new());
    for (k, revision) in repo.revisions.iter().enumerate() {
        let into = if decision.revisions.contains(&k) { &mut lost } else { &mut kept };
        into.extend(revision.blobs.iter().copied());
    }
    let goes = |(k, blob): (usize, &Blob)| {
        let is_free = !kept.contains(&k) && !blob.is_foreign;
        (is_free && (lost.contains(&k) || is_old(blob))).then_some(k)
    };
    repo.blobs.iter().enumerate().filter_map(goes).collect()
}

/// What stays, by how many names bytes have.
#[derive(Default)]
struct Kept {
    names: HashMap<u64, usize>,
    bytes: u64,
}

impl Kept {
    fn of(repos: &[Repo], decisions: &[Decision]) -> Self {
        let mut kept = Self::default();
        repos.iter().zip(decisions).for_each(|(repo, decision)| kept.give(repo, decision));
        kept
    }

    /// Counts what stays of a repository.
    fn give(&mut self, repo: &Repo, decision: &Decision) {
        for blob in staying(&repo.blobs, &decision.blobs) {
            let names = self.names.entry(blob.inode).or_default();
            *names += 1;
            self.bytes += if *names == 1 { blob.bytes } else { 0 };
        }
        self.bytes += partial_bytes(repo, decision);
    }

    /// Counts it no more.
    fn take(&mut self, repo: &Repo, decision: &Decision) {
        for blob in staying(&repo.blobs, &decision.blobs) {
            let names = self.names.entry(blob.inode).or_default();
            *names = names.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(if *names == 0 { blob.bytes } else { 0 });
        }
        self.bytes = self.bytes.saturating_sub(partial_bytes(repo, decision));
    }
}

fn staying<'a, T>(all: &'a [T], going: &BTreeSet<usize>) -> impl Iterator<Item = &'a T> {
    all.iter().enumerate().filter(|(k, _)| !going.contains(k)).map(|(_, one)| one)
}

fn partial_bytes(repo: &Repo, decision: &Decision) -> u64 {
    staying(&repo.partials, &decision.partials).map(|partial| partial.bytes).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + 10_000 * DAY
    }

    fn days_ago(days: u32) -> SystemTime {
        now() - days * DAY
    }

    fn repo() -> impl Strategy<Value = Repo> {
        let blob = (0_u64..1000, 0_u32..30, prop::bool::weighted(0.1));
        let blob = blob.prop_map(|(inode, days, is_foreign)| Blob {
            // Bytes of one inode are as many.
            bytes: inode % 100,
            inode,
            written: days_ago(days),
            is_foreign,
        });
        let revision = (prop::collection::btree_set(0_usize..8, 0..6), 0_u32..30);
        let revision = revision.prop_map(|(blobs, days)| Revision { blobs, used: days_ago(days) });
        let parts = (
            prop::bool::weighted(0.2),
            prop::collection::vec(revision, 0..4),
            prop::collection::vec(blob, 8),
            prop::collection::vec((0_u64..100, 0_u32..30), 0..3),
        );
        parts.prop_map(|(in_use, revisions, blobs, days)| Repo {
            in_use,
            revisions,
            blobs,
            partials: days
                .into_iter()
                .map(|(bytes, days)| Partial { bytes, written: days_ago(days) })
                .collect(),
        })
    }

    fn options() -> impl Strategy<Value = GcOptions> {
        let max_age = prop::option::of((0_u32..30).prop_map(|days| days * DAY));
        (max_age, prop::option::of(0_u64..2000)).prop_map(|(max_age, max_bytes)| GcOptions {
            max_age,
            max_bytes,
            grace: DAY,
            ..GcOptions::default()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn what_is_referenced_or_in_use_stays(
            repos in prop::collection::vec(repo(), 1..5),
            options in options(),
        ) {
            let decisions = decide(&repos, &options, now());
            for (repo, decision) in repos.iter().zip(&decisions) {
                prop_assert!(!repo.in_use || decision.is_nothing());
                for (k, revision) in repo.revisions.iter().enumerate() {
                    if !decision.revisions.contains(&k) {
                        prop_assert!(revision.blobs.is_disjoint(&decision.blobs));
                    }
                    let may_go = options.max_bytes.is_some()
                        || options.max_age.is_some_and(|age| days_ago(0) > revision.used + age);
                    prop_assert!(may_go || !decision.revisions.contains(&k));
                }
                for (k, blob) in repo.blobs.iter().enumerate() {
                    let was_referenced = repo.revisions.iter().any(|r| r.blobs.contains(&k));
                    let is_young = now() < blob.written + options.grace;
                    let gone = decision.blobs.contains(&k);
                    prop_assert!(!(gone && blob.is_foreign));
                    prop_assert!(!(gone && is_young && !was_referenced));
                }
            }
        }

        #[test]
        fn what_is_to_go_goes(
            repos in prop::collection::vec(repo(), 1..5),
            options in options(),
        ) {
            let decisions = decide(&repos, &options, now());
            for (repo, decision) in repos.iter().zip(&decisions).filter(|(repo, _)| !repo.in_use) {
                for (k, revision) in repo.revisions.iter().enumerate() {
                    let is_old = options.max_age.is_some_and(|age| revision.used + age < now());
                    prop_assert!(!is_old || decision.revisions.contains(&k));
                }
                for (k, blob) in repo.blobs.iter().enumerate() {
                    let is_kept = repo.revisions.iter().enumerate()
                        .any(|(r, revision)| !decision.revisions.contains(&r) && revision.blobs.contains(&k));
                    let is_old = blob.written + options.grace <= now();
                    prop_assert!(is_kept || blob.is_foreign || !is_old || decision.blobs.contains(&k));
                }
            }
            if let Some(max_bytes) = options.max_bytes {
                let all_gone = repos.iter().zip(&decisions).all(|(repo, decision)| {
                    repo.in_use
                        || (decision.revisions.len() == repo.revisions.len()
                            && decision.partials.len() == repo.partials.len())
                });
                prop_assert!(Kept::of(&repos, &decisions).bytes <= max_bytes || all_gone);
            }
        }
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let blob = |inode| Blob { bytes: 10, inode, written: days_ago(9), is_foreign: false };
        let revision =
            |blob, days| Revision { blobs: BTreeSet::from([blob]), used: days_ago(days) };
        let repo = Repo {
            revisions: vec![revision(0, 1), revision(1, 5), revision(2, 3)],
            blobs: vec![blob(1), blob(2), blob(3)],
            ..Repo::default()
        };
        let options = GcOptions { max_bytes: Some(15), ..GcOptions::default() };
        let decisions = decide(&[repo], &options, now());
        assert_eq!(BTreeSet::from([1, 2]), decisions[0].revisions);
        assert_eq!(BTreeSet::from([1, 2]), decisions[0].blobs);
    }
}
