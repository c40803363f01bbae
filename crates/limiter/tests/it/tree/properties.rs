//! Random requests: lines and limits against the model.

use std::collections::BTreeMap;

use limiter::{Grant, Moment, Rate, Share, Ticket, Tree};
use proptest::prelude::*;

use super::{burst, child, run_until, serve_backlog, tree, weight};
use crate::model::{Fraction, Granted, SECOND, assert_conforms, at, byte_rate, cases};

/// Requests: which line, how many tokens, how long after the one before.
fn requests(lines: usize) -> impl Strategy<Value = Vec<(usize, u64, u64)>> {
    let tokens = prop_oneof![0..=10_u64, 0..=2000_u64, 0..=20_000_u64];
    let pause = prop_oneof![Just(0_u64), 0..=SECOND / 100, 0..=SECOND];
    prop::collection::vec((0..lines, tokens, pause), 1..60)
}

proptest! {
    #![proptest_config(cases(256))]

    /// L1, L3, L4, L9: one line is served in order, as soon as the bucket allows, with one wake each.
    #[test]
    fn l3_l4_l9_one_line_is_served_in_order_and_in_time(
        rate in 100..=1_000_000_u64, burst_tokens in 1..=5000_u64, requests in requests(1),
    ) {
        let mut tree = tree(rate, burst_tokens);
        let root = tree.root();
        let mut nanos = 0;
        let (mut asked, mut log, mut wakes) = (Vec::new(), Vec::new(), 0);
        // The exact level, in tokens times SECOND, after all grants so far.
        let full = i128::from(burst_tokens) * i128::from(SECOND);
        let (mut level, mut level_at) = (full, 0_u64);
        let mut due: Vec<(Ticket, u64)> = Vec::new();
        for (_, tokens, pause) in requests {
            nanos += pause;
            let (granted, woken) = run_until(&mut tree, at(nanos));
            wakes += woken;
            log.extend(granted);
            // L4: the model serves strictly in order, each as soon as its tokens are there.
            let begins = level_at.max(nanos);
            let needed = i128::from(tokens.min(burst_tokens)) * i128::from(SECOND);
            let then = full.min(level + i128::from(begins - level_at) * i128::from(rate));
            let wait = (needed - then).max(0).unsigned_abs().div_ceil(rate.into()) as u64;
            level = full.min(then + i128::from(wait) * i128::from(rate))
                - i128::from(tokens) * i128::from(SECOND);
            level_at = begins + wait;
            let ticket = tree.enqueue(root, tokens, at(nanos));
            asked.push(ticket);
            due.push((ticket, level_at));
        }
        let (granted, woken) = run_until(&mut tree, Moment::MAX);
        log.extend(granted);
        wakes += woken;
        prop_assert_eq!(&asked, &log.iter().map(|grant| grant.ticket).collect::<Vec<_>>());
        for (grant, (ticket, nanos)) in log.iter().zip(due) {
            prop_assert_eq!((ticket, at(nanos)), (grant.ticket, grant.taken_at));
        }
        prop_assert!(wakes <= 2 * asked.len(), "{} wakes for {} requests", wakes, asked.len());
        let log: Vec<_> = log
            .iter()
            .map(|Grant { tokens, taken_at, .. }| Granted {
                nanos: taken_at.as_nanos(), asked: *tokens, used: *tokens,
            })
            .collect();
        assert_conforms(&log, Fraction { tokens: rate, nanos: SECOND }, burst_tokens);
    }

    /// L5: a request that is canceled while it waits was never made.
    #[test]
    fn l5_a_canceled_request_was_never_made(
        requests in requests(3), canceled in prop::collection::vec(any::<bool>(), 60),
    ) {
        let build = || {
            let mut tree = tree(1000, 500);
            let root = tree.root();
            let model = child(&mut tree, root, weight(3));
            let file = child(&mut tree, model, weight(1));
            (tree, [root, model, file])
        };
        let ((mut with, nodes), (mut without, _)) = (build(), build());
        let (mut nanos, mut expected, mut got) = (0, Vec::new(), Vec::new());
        let numbered = requests.iter().zip(&canceled).enumerate();
        let mut numbers: [BTreeMap<Ticket, usize>; 2] = Default::default();
        for (number, ((line, tokens, pause), cancels)) in numbered {
            nanos += pause;
            for (tree, log) in [(&mut with, &mut got), (&mut without, &mut expected)] {
                log.extend(run_until(tree, at(nanos)).0);
            }
            let ticket = with.enqueue(nodes[*line], *tokens, at(nanos));
            if *cancels {
                prop_assert!(with.cancel(ticket));
                prop_assert!(!with.cancel(ticket));
                continue;
            }
            numbers[0].insert(ticket, number);
            numbers[1].insert(without.enqueue(nodes[*line], *tokens, at(nanos)), number);
        }
        for (tree, log) in [(&mut with, &mut got), (&mut without, &mut expected)] {
            log.extend(run_until(tree, Moment::MAX).0);
        }
        let name = |log: &[Grant], numbers: &BTreeMap<Ticket, usize>| -> Vec<_> {
            log.iter().map(|grant| (numbers[&grant.ticket], grant.taken_at)).collect()
        };
        prop_assert_eq!(name(&expected, &numbers[1]), name(&got, &numbers[0]));
    }

    /// L8: L1 at every node at once; all are served; each line in order.
    #[test]
    fn l8_every_limit_of_the_tree_holds(
        rates in prop::collection::vec(100..=10_000_u64, 5),
        bursts in prop::collection::vec(1..=5000_u64, 5),
        guarantee in 0..=90_u64,
        requests in requests(5),
    ) {
        let mut tree = tree(rates[0], bursts[0]);
        let root = tree.root();
        let share = |index: usize, weight: u32| Share {
            weight, ceiling: Rate::per_second(rates[index]), burst: burst(bursts[index]),
            guarantee: Rate::PAUSED,
        };
        let left = child(&mut tree, root, Share { guarantee: Rate::per_second(guarantee), ..share(1, 1) });
        let right = child(&mut tree, root, share(2, 2));
        let nodes = [root, left, right, child(&mut tree, left, share(3, 1)), child(&mut tree, left, share(4, 7))];
        let ancestors = [vec![0], vec![1, 0], vec![2, 0], vec![3, 1, 0], vec![4, 1, 0]];
        let mut nanos = 0;
        let mut lines: BTreeMap<Ticket, usize> = BTreeMap::new();
        let mut log = Vec::new();
        for (line, tokens, pause) in &requests {
            nanos += pause;
            log.extend(run_until(&mut tree, at(nanos)).0);
            lines.insert(tree.enqueue(nodes[*line], *tokens, at(nanos)), *line);
        }
        log.extend(run_until(&mut tree, Moment::MAX).0);
        prop_assert_eq!(requests.len(), log.len(), "all are served");
        prop_assert_eq!(0, tree.waiting());
        for node in 0..5 {
            let passes: Vec<_> = log
                .iter()
                .filter(|grant| ancestors[lines[&grant.ticket]].contains(&node))
                .map(|Grant { tokens, taken_at, .. }| Granted {
                    nanos: taken_at.as_nanos(), asked: *tokens, used: *tokens,
                })
                .collect();
            assert_conforms(&passes, Fraction { tokens: rates[node], nanos: SECOND }, bursts[node]);
            let own: Vec<Ticket> = log
                .iter()
                .map(|grant| grant.ticket)
                .filter(|ticket| lines[ticket] == node)
                .collect();
            prop_assert!(own.is_sorted(), "line {node} is served in order: {own:?}");
        }
    }

    /// L8: siblings that always wait differ by one request of each at most, per weight.
    #[test]
    fn l8_siblings_share_by_weight(
        rate in byte_rate(),
        members in prop::collection::vec((1..=16_u32, 1..=10_000_u64), 2..6),
    ) {
        let mut tree = Tree::new(rate.rate(), burst(20_000), Moment::ZERO);
        let root = tree.root();
        let children: Vec<_> = members
            .iter()
            .map(|(parts, tokens)| (child(&mut tree, root, weight(*parts)), *tokens))
            .collect();
        // A burst serves each child's one request as fast as it comes back: not by weight.
        tree.try_take(root, 20_000, at(0)).unwrap();
        // As long as 200 of the largest requests take.
        let until = 2_000_000 * u128::from(SECOND) / u128::from(rate.tokens);
        let served = serve_backlog(&mut tree, &children, at(until.min(1 << 62) as u64));
        for (left, (left_weight, left_size)) in served.iter().zip(&members) {
            for (right, (right_weight, right_size)) in served.iter().zip(&members) {
                let normal = |tokens: &u64, weight: &u32| *tokens as f64 / f64::from(*weight);
                let gap = normal(left, left_weight) - normal(right, right_weight);
                let bound = normal(left_size, left_weight) + normal(right_size, right_weight);
                prop_assert!(gap <= bound + 1e-6, "{served:?} {members:?}");
            }
        }
    }

    /// L5, L8: parts given back anywhere in the tree never let any limit be exceeded.
    #[test]
    fn l5_l8_giving_back_in_a_tree_mints_nothing(
        requests in requests(3), used_percent in prop::collection::vec(0..=100_u64, 60),
    ) {
        let rates = [1000, 700, 500];
        let mut tree = tree(rates[0], 500);
        let root = tree.root();
        let share = |rate| Share { ceiling: Rate::per_second(rate), burst: burst(500), ..weight(1) };
        let model = child(&mut tree, root, share(rates[1]));
        let file = child(&mut tree, model, share(rates[2]));
        let nodes = [root, model, file];
        let mut logs: [Vec<Granted>; 3] = Default::default();
        let mut held: Vec<(usize, u64, Moment, [usize; 3])> = Vec::new();
        let mut nanos = 0;
        for ((line, tokens, pause), percent) in requests.into_iter().zip(used_percent) {
            nanos += pause;
            if let Ok(taken_at) = tree.try_take(nodes[line], tokens, at(nanos)) {
                for log in &mut logs[..=line] {
                    log.push(Granted { nanos, asked: tokens, used: tokens });
                }
                let places = logs.each_ref().map(|log| log.len().saturating_sub(1));
                held.push((line, tokens, taken_at, places));
            }
            if percent % 3 == 0 && !held.is_empty() {
                let (line, tokens, taken_at, places) =
                    held.remove(percent as usize % held.len());
                let unused = tokens * percent / 100;
                tree.give_back(nodes[line], unused, taken_at, at(nanos));
                for (log, place) in logs.iter_mut().zip(places).take(line + 1) {
                    log[place].used -= unused;
                }
            }
        }
        for (log, rate) in logs.iter().zip(rates) {
            assert_conforms(log, Fraction { tokens: rate, nanos: SECOND }, 500);
        }
    }
}
