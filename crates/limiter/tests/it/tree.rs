//! Lines and trees of limits, in virtual time, without a runtime.

mod properties;

use std::collections::BTreeMap;

use limiter::{Burst, Grant, Moment, NodeId, NotUntil, Rate, Share, ShareError, Ticket, Tree};

use crate::model::{SECOND, at};

/// So many dispatches serve all that a test can ask for.
const WAKES_MAX: usize = 100_000;

/// Requests that a child of a backlog keeps waiting: more than one wake can serve, at the 100 tokens
/// a nanosecond of the fastest rate and one token a request. With fewer its line runs empty, and
/// how often it is asked again decides what it gets, not its weight.
const DEEP: usize = 128;

fn tree(rate: u64, burst: u64) -> Tree {
    Tree::new(Rate::per_second(rate), Burst::new(burst).unwrap(), Moment::ZERO)
}

fn burst(tokens: u64) -> Burst {
    Burst::new(tokens).unwrap()
}

fn grants(tree: &mut Tree) -> Vec<Grant> {
    std::iter::from_fn(|| tree.next_grant()).collect()
}

/// Wakes the tree whenever it asks for it, until the moment has come; returns grants and wakes.
fn run_until(tree: &mut Tree, until: Moment) -> (Vec<Grant>, usize) {
    let mut granted = Vec::new();
    for wakes in 0..WAKES_MAX {
        match tree.next_wake().filter(|wake| *wake <= until) {
            None => return (granted, wakes),
            Some(wake) => tree.dispatch(wake),
        }
        granted.extend(grants(tree));
    }
    panic!("the tree never comes to rest");
}

/// Serves children that always have requests of their size waiting; returns the tokens of each.
fn serve_backlog(tree: &mut Tree, children: &[(NodeId, u64)], until: Moment) -> Vec<u64> {
    let mut owners: BTreeMap<Ticket, usize> = BTreeMap::new();
    let mut served = vec![0; children.len()];
    for (owner, (node, tokens)) in children.iter().enumerate() {
        for _ in 0..DEEP {
            owners.insert(tree.enqueue(*node, *tokens, Moment::ZERO), owner);
        }
    }
    while let Some(wake) = tree.next_wake().filter(|wake| *wake <= until) {
        tree.dispatch(wake);
        for grant in grants(tree) {
            let owner = owners.remove(&grant.ticket).unwrap();
            let (node, tokens) = children[owner];
            served[owner] += grant.tokens;
            owners.insert(tree.enqueue(node, tokens, wake), owner);
        }
    }
    served
}

fn child(tree: &mut Tree, parent: NodeId, share: Share) -> NodeId {
    tree.add_child(parent, share, Moment::ZERO).unwrap()
}

fn weight(weight: u32) -> Share {
    Share { weight, ..Share::default() }
}

#[test]
fn a_newcomer_does_not_pass_those_who_wait() {
    let mut tree = tree(10, 10);
    let root = tree.root();
    tree.try_take(root, 10, at(0)).unwrap();
    let large = tree.enqueue(root, 10, at(0));
    // Half a second later a small request would have its tokens; it is told when all are served.
    let refusal = tree.try_take(root, 1, at(SECOND / 2)).unwrap_err();
    assert_eq!(Some(at(SECOND * 11 / 10)), refusal.moment());
    let (granted, wakes) = run_until(&mut tree, at(SECOND));
    assert_eq!((vec![large], 1), (granted.iter().map(|grant| grant.ticket).collect(), wakes));
}

#[test]
fn children_share_by_weight_whatever_their_sizes() {
    let mut tree = tree(1_000_000, 1000);
    let root = tree.root();
    let children: Vec<_> = [(1, 1000), (2, 100), (4, 3000)]
        .map(|(parts, tokens)| (child(&mut tree, root, weight(parts)), tokens))
        .to_vec();
    let served = serve_backlog(&mut tree, &children, at(10 * SECOND));
    let per_weight = [served[0], served[1] / 2, served[2] / 4];
    let spread = per_weight.iter().max().unwrap() - per_weight.iter().min().unwrap();
    assert!(spread <= 1000 + 3000, "{served:?}");
}

#[test]
fn children_share_by_weight_at_many_tokens_a_nanosecond() {
    let mut tree = tree(42_026_063_101, 20_000);
    let root = tree.root();
    tree.try_take(root, 20_000, at(0)).unwrap();
    let children: Vec<_> = [(1, 48), (15, 1), (1, 1)]
        .map(|(parts, tokens)| (child(&mut tree, root, weight(parts)), tokens))
        .to_vec();
    let served = serve_backlog(&mut tree, &children, at(47_589));
    assert!(served[1].abs_diff(15 * served[2]) <= 1 + 15, "{served:?}");
    assert!(served[1].abs_diff(15 * served[0]) <= 1 + 15 * 48, "{served:?}");
}

#[test]
fn what_one_leaves_is_lent_to_the_others() {
    let mut tree = tree(1000, 10);
    let root = tree.root();
    let idle = child(&mut tree, root, weight(9));
    let busy = child(&mut tree, root, weight(1));
    let served = serve_backlog(&mut tree, &[(busy, 10)], at(SECOND));
    assert!(1000 <= served[0], "{served:?}");
    assert_eq!(0, tree.stats(idle, at(SECOND)).granted);
}

#[test]
fn a_ceiling_holds_and_the_rest_goes_to_the_siblings() {
    let mut tree = tree(1000, 10);
    let root = tree.root();
    let ceiling = Share { ceiling: Rate::per_second(100), burst: burst(10), ..weight(9) };
    let capped = child(&mut tree, root, ceiling);
    let free = child(&mut tree, root, weight(1));
    let served = serve_backlog(&mut tree, &[(capped, 10), (free, 10)], at(10 * SECOND));
    assert!((1000..=1010).contains(&served[0]), "{served:?}");
    assert!((8990..=9010).contains(&served[1]), "{served:?}");
}

#[test]
fn a_guarantee_comes_before_the_weights() {
    let mut tree = tree(1000, 10);
    let root = tree.root();
    // A burst of less than two requests would overflow while the parent is busy with another.
    let share = Share { guarantee: Rate::per_second(600), burst: burst(20), ..weight(1) };
    let guaranteed = child(&mut tree, root, share);
    let others = [child(&mut tree, root, weight(1)), child(&mut tree, root, weight(2))];
    let children = [(guaranteed, 10), (others[0], 10), (others[1], 10)];
    let served = serve_backlog(&mut tree, &children, at(10 * SECOND));
    // 600 of its own, and a quarter of the 400 that are left.
    assert!((6900..=7100).contains(&served[0]), "{served:?}");
    assert!((900..=1100).contains(&served[1]), "{served:?}");
    assert!((1900..=2100).contains(&served[2]), "{served:?}");
}

#[test]
fn a_late_guarantee_does_not_wait_for_a_large_request() {
    let mut tree = tree(1000, 1000);
    let root = tree.root();
    let share = Share { guarantee: Rate::per_second(500), burst: burst(10), ..weight(1) };
    let guaranteed = child(&mut tree, root, share);
    let other = child(&mut tree, root, weight(1));
    tree.try_take(root, 1000, at(0)).unwrap();
    tree.enqueue(other, 1000, at(0));
    let urgent = tree.enqueue(guaranteed, 10, at(0));
    let (granted, _) = run_until(&mut tree, at(SECOND / 100));
    assert_eq!(vec![urgent], granted.iter().map(|grant| grant.ticket).collect::<Vec<_>>());
}

/// All always wait; the guarantee of the first is more than there is for it and its sibling, the second.
fn check_nobody_starves(tree: &mut Tree, children: &[NodeId]) {
    const TOKENS: u64 = 10;
    let children: Vec<_> = children.iter().map(|child| (*child, TOKENS)).collect();
    let served = serve_backlog(tree, &children, at(20 * SECOND));
    // One in 64 goes in turn, to each of the two in its own.
    let least = (served[0] + served[1]) / 128;
    assert!(least <= served[1] + TOKENS && 0 < served[1], "{served:?}");
    assert!(served[1] <= 2 * least, "the guarantee still goes first: {served:?}");
}

#[test]
fn nobody_starves_when_the_rate_sinks_below_the_guarantees() {
    let mut tree = tree(1000, 10);
    let root = tree.root();
    let share = Share { guarantee: Rate::per_second(500), burst: burst(20), ..weight(1) };
    let guaranteed = child(&mut tree, root, share);
    let other = child(&mut tree, root, weight(1));
    tree.set_rate(root, Rate::per_second(400), at(0));
    check_nobody_starves(&mut tree, &[guaranteed, other]);
}

#[test]
fn nobody_starves_where_turns_leave_less_than_the_guarantees() {
    let mut tree = tree(1000, 10);
    let root = tree.root();
    let half = child(&mut tree, root, weight(1));
    let rival = child(&mut tree, root, weight(1));
    let share = Share { guarantee: Rate::per_second(900), burst: burst(20), ..weight(1) };
    let guaranteed = child(&mut tree, half, share);
    let other = child(&mut tree, half, weight(1));
    check_nobody_starves(&mut tree, &[guaranteed, other, rival]);
}

#[test]
fn three_levels_share_by_the_weights_of_each() {
    let mut tree = tree(900, 10);
    let root = tree.root();
    let models = [child(&mut tree, root, weight(1)), child(&mut tree, root, weight(2))];
    let files = [
        child(&mut tree, models[0], weight(1)),
        child(&mut tree, models[1], weight(1)),
        child(&mut tree, models[1], weight(5)),
    ];
    let children = files.map(|file| (file, 10));
    let served = serve_backlog(&mut tree, &children, at(100 * SECOND));
    for (served, expected) in served.iter().zip([30_000_u64, 10_000, 50_000]) {
        assert!(served.abs_diff(expected) <= 20, "{served} {expected}");
    }
}

#[test]
fn what_a_child_gives_back_is_there_for_all_above_it() {
    let mut tree = tree(10, 100);
    let root = tree.root();
    let share = Share { ceiling: Rate::per_second(10), burst: burst(100), ..weight(1) };
    let model = child(&mut tree, root, share);
    let file = child(&mut tree, model, share);
    let taken_at = tree.try_take(file, 90, at(0)).unwrap();
    let waiting = tree.enqueue(root, 50, at(0));
    tree.dispatch(at(0));
    assert_eq!(0, grants(&mut tree).len());
    tree.give_back(file, 60, taken_at, at(0));
    tree.dispatch(at(0));
    assert_eq!(
        vec![waiting],
        grants(&mut tree).iter().map(|grant| grant.ticket).collect::<Vec<_>>()
    );
    let available = [root, model, file].map(|node| tree.stats(node, at(0)).available_tokens);
    assert_eq!([20, 70, 70], available);
}

#[test]
fn a_change_of_rate_moves_those_who_wait() {
    let mut tree = tree(1, 1);
    let root = tree.root();
    tree.try_take(root, 1, at(0)).unwrap();
    tree.enqueue(root, 1, at(0));
    assert_eq!(Some(at(0)), tree.next_wake());
    tree.dispatch(at(0));
    assert_eq!(Some(at(SECOND)), tree.next_wake());
    tree.set_rate(root, Rate::per_second(10), at(SECOND / 2));
    tree.dispatch(at(SECOND / 2));
    assert_eq!(Some(at(SECOND * 55 / 100)), tree.next_wake());
    tree.set_rate(root, Rate::PAUSED, at(SECOND / 2));
    tree.dispatch(at(SECOND / 2));
    assert_eq!(None, tree.next_wake());
    tree.set_rate(root, Rate::UNLIMITED, at(SECOND));
    tree.dispatch(at(SECOND));
    assert_eq!(1, grants(&mut tree).len());
}

#[test]
fn a_pause_keeps_the_rate_that_is_set_meanwhile() {
    let mut tree = tree(1, 1);
    let root = tree.root();
    tree.pause(root, at(0));
    tree.pause(root, at(0));
    tree.set_rate(root, Rate::per_second(7), at(0));
    assert_eq!(None, tree.try_take(root, 1, at(0)).unwrap_err().moment());
    tree.resume(root, at(0));
    assert_eq!(Rate::per_second(7), tree.rate(root));
    tree.try_take(root, 1, at(0)).unwrap();
}

#[test]
fn shares_that_cannot_be_served_are_refused() {
    let mut tree = tree(1000, 10);
    let root = tree.root();
    let mut check = |share: Share, expected: &str| {
        let message = tree.add_child(root, share, at(0)).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    check(weight(0), "weight of 0");
    check(Share { guarantee: Rate::UNLIMITED, ..Share::default() }, "unlimited guarantee");
    check(Share { guarantee: Rate::per_second(1000), ..Share::default() }, "1k/s");
    let half = Share { guarantee: Rate::per_second(500), ..Share::default() };
    child(&mut tree, root, half);
    let error = tree.add_child(root, half, at(0)).unwrap_err();
    let expected =
        ShareError::Overcommitted { parent: Rate::per_second(1000), guarantee: half.guarantee };
    assert_eq!(expected, error);
    let unlimited = child(&mut tree, root, weight(1));
    let more = Share { guarantee: Rate::per_second(2000), ..Share::default() };
    let error = tree.add_child(unlimited, more, at(0)).unwrap_err();
    let expected =
        ShareError::Overcommitted { parent: Rate::per_second(1000), guarantee: more.guarantee };
    assert_eq!(expected, error, "what is above counts too");
    let mut deep = root;
    for _ in 0..15 {
        deep = child(&mut tree, deep, weight(1));
    }
    assert_eq!(Err(ShareError::TooDeep { depth_max: 16 }), tree.add_child(deep, weight(1), at(0)),);
}

#[test]
#[should_panic(expected = "was removed")]
fn a_removed_limit_cannot_be_used() {
    let mut tree = tree(1, 1);
    let root = tree.root();
    let first = child(&mut tree, root, weight(1));
    tree.remove(first);
    let second = child(&mut tree, root, weight(1));
    assert_ne!(first, second);
    let _: Result<Moment, NotUntil> = tree.try_take(first, 1, at(0));
}
