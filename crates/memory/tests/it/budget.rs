//! Budget and reservations: M1, M2, M3, M4, M5 one thread at a time.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};

use memory::{Budget, Reclaim, Refused, Reservation, Reserve};
use proptest::prelude::*;

use crate::support::{cases, poll_once};

fn reserve(budget: &Budget, bytes: u64) -> Reserve {
    let mut future = budget.reserve(bytes);
    assert!(poll_once(&mut future).is_pending(), "{bytes} B were granted at once");
    future
}

fn granted(future: &mut Reserve) -> Reservation {
    match poll_once(future) {
        Poll::Ready(Ok(reservation)) => reservation,
        other => panic!("not granted: {other:?}"),
    }
}

/// A waker that holds a reservation, as that of a task holds what the task does.
struct Holder(#[expect(dead_code, reason = "only its drop matters")] Reservation);

impl Wake for Holder {
    fn wake(self: Arc<Self>) {}
}

/// With its last waker a task may go, and with it a reservation of the same budget.
#[test]
fn a_waker_may_take_a_reservation_along() {
    let budget = Budget::new(10);
    let [_held, replaced, abandoned] = [2, 4, 4].map(|bytes| budget.try_reserve(bytes).unwrap());
    let mut future = reserve(&budget, 10);
    for held in [replaced, abandoned] {
        let waker = Arc::new(Holder(held)).into();
        assert!(Pin::new(&mut future).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(4, budget.available_bytes(), "the first went with its waker");
    drop(future);
    assert_eq!(8, budget.available_bytes(), "and the second with the place in the line");
}

#[test]
fn a_small_request_does_not_overtake_a_large_one() {
    let budget = Budget::new(10);
    let held = budget.try_reserve(5).unwrap();
    let mut large = reserve(&budget, 8);
    let mut small = reserve(&budget, 1);
    assert_eq!(1 + 1, budget.stats().waiting);
    assert!(budget.try_reserve(1).is_err(), "nobody overtakes the line");
    drop(held);
    let large = granted(&mut large);
    assert_eq!(8, large.bytes());
    assert_eq!(1, granted(&mut small).bytes());
}

#[test]
fn a_large_head_that_gives_up_lets_the_next_go() {
    let budget = Budget::new(10);
    let _held = budget.try_reserve(5).unwrap();
    let large = reserve(&budget, 8);
    let mut small = reserve(&budget, 5);
    drop(large);
    assert_eq!(5, granted(&mut small).bytes());
}

#[test]
fn bytes_granted_to_a_future_that_is_dropped_come_back() {
    let budget = Budget::new(10);
    let held = budget.try_reserve(10).unwrap();
    let waiting = reserve(&budget, 10);
    drop(held);
    assert_eq!(0, budget.available_bytes(), "they are set aside for the one who waits");
    drop(waiting);
    assert_eq!(10, budget.available_bytes());
}

/// M5.
#[test]
fn more_than_the_limit_fails_at_once_and_the_limit_itself_succeeds() {
    let budget = Budget::new(10);
    for bytes in [11, u64::MAX] {
        let Poll::Ready(Err(refused)) = poll_once(&mut budget.reserve(bytes)) else {
            panic!("{bytes} B wait forever");
        };
        assert!(refused.is_final());
    }
    let one = budget.try_reserve(1).unwrap();
    let mut all = reserve(&budget, 10);
    drop(one);
    assert_eq!(10, granted(&mut all).bytes());
}

#[test]
fn nothing_is_always_granted() {
    let budget = Budget::new(10);
    let _all = budget.try_reserve(10).unwrap();
    let _waiting = reserve(&budget, 1);
    let mut none = budget.try_reserve(0).unwrap();
    assert!(none.try_grow(1).is_err());
    assert_eq!(0, none.bytes());
}

/// M1: after a cut, no new grants until below.
#[test]
fn after_a_cut_nothing_is_granted_until_enough_has_come_back() {
    let budget = Budget::new(100);
    let mut held = budget.try_reserve(80).unwrap();
    budget.set_limit(50);
    assert_eq!((50, 80, 0), {
        let stats = budget.stats();
        (stats.limit_bytes, stats.reserved_bytes, stats.available_bytes)
    });
    let mut waiting = reserve(&budget, 10);
    held.shrink(35);
    assert!(poll_once(&mut waiting).is_pending());
    held.shrink(5);
    assert_eq!(10, granted(&mut waiting).bytes());
}

#[test]
fn a_cut_refuses_those_who_would_wait_forever() {
    let budget = Budget::new(100);
    let _held = budget.try_reserve(100).unwrap();
    let mut small = reserve(&budget, 20);
    let mut large = reserve(&budget, 60);
    budget.set_limit(50);
    assert!(matches!(poll_once(&mut large), Poll::Ready(Err(refused)) if refused.is_final()));
    assert!(poll_once(&mut small).is_pending());
    budget.set_limit(120);
    assert_eq!(20, granted(&mut small).bytes());
}

#[test]
fn the_refusal_names_the_largest() {
    let budget = Budget::new(100);
    let held: Vec<_> = [("parts", 10), ("journal", 20), ("window", 30), ("cache", 40)]
        .into_iter()
        .map(|(name, bytes)| budget.named(name).try_reserve(bytes).unwrap())
        .collect();
    let refused = budget.try_reserve(1).unwrap_err();
    let message = "memory budget exhausted: 1 B asked for, 0 B of 100 B left; \
                   largest: cache 40 B, window 30 B, journal 20 B";
    assert_eq!(message, refused.to_string());
    assert_eq!(4, budget.top(9).len());
    drop(held);
    assert_eq!(0, budget.top(9).len());
    let refused = budget.try_reserve(101).unwrap_err();
    let message = "memory budget exhausted: 101 B asked for, which is more than its limit of 100 B";
    assert_eq!(message, refused.to_string());
}

#[test]
fn one_name_is_one_consumer() {
    let budget = Budget::new(100);
    let (one, two) = (budget.named("parts"), budget.named("parts"));
    let _held = (one.try_reserve(10).unwrap(), two.try_reserve(5).unwrap());
    assert_eq!((15, 15), (one.reserved_bytes(), two.reserved_bytes()));
}

#[test]
fn what_is_merged_counts_in_the_new_name() {
    let budget = Budget::new(100);
    let (parts, window) = (budget.named("parts"), budget.named("window"));
    let mut held = window.try_reserve(10).unwrap();
    held.merge(parts.try_reserve(20).unwrap());
    assert_eq!(
        (0, 30, 70),
        (parts.reserved_bytes(), window.reserved_bytes(), budget.available_bytes())
    );
    assert_eq!("window", held.consumer());
}

#[test]
#[should_panic(expected = "merged reservations of two budgets")]
fn bytes_of_another_budget_are_not_ours() {
    let mut ours = Budget::new(1).try_reserve(1).unwrap();
    ours.merge(Budget::new(1).try_reserve(1).unwrap());
}

#[test]
#[should_panic(expected = "asked for 11 B of a reservation of 10 B")]
fn no_more_is_split_off_than_there_is() {
    let _part = Budget::new(10).try_reserve(10).unwrap().split(11);
}

#[test]
fn a_budget_without_a_limit_counts() {
    let budget = Budget::new(u64::MAX);
    let _held = budget.try_reserve(1 << 40).unwrap();
    assert_eq!(i64::MAX as u64 - (1 << 40), budget.available_bytes());
    assert!(budget.try_reserve(u64::MAX).unwrap_err().is_final());
}

#[test]
fn a_thread_without_a_runtime_can_wait() {
    let budget = Budget::new(1);
    let held = budget.try_reserve(1).unwrap();
    let other = budget.clone();
    let waiter = std::thread::spawn(move || other.reserve_blocking(1).map(|it| it.bytes()));
    drop(held);
    assert_eq!(Ok(1), waiter.join().unwrap());
}

struct Cache(parking_lot::Mutex<Vec<Reservation>>);

impl Reclaim for Cache {
    fn reclaim(&self, wanted_bytes: u64) -> u64 {
        let mut given_bytes = 0;
        while given_bytes < wanted_bytes {
            let Some(entry) = self.0.lock().pop() else { break };
            given_bytes += entry.bytes();
        }
        given_bytes
    }
}

#[test]
fn caches_give_back_before_anybody_is_refused_or_waits() {
    let budget = Budget::new(10);
    let entries = (0..10).map(|_| budget.try_reserve(1).unwrap()).collect();
    let cache = Arc::new(Cache(parking_lot::Mutex::new(entries)));
    budget.add_cache(&cache);
    let asked = budget.try_reserve(3).unwrap();
    assert_eq!(7, cache.0.lock().len());
    assert!(budget.try_reserve(11).is_err());
    assert_eq!(7, cache.0.lock().len(), "what can never be granted empties no cache");
    let Poll::Ready(Ok(waited)) = poll_once(&mut budget.reserve(7)) else { panic!("waits") };
    assert_eq!((3, 7), (asked.bytes(), waited.bytes()));
}

/// A cache may have nothing to give when the limit is cut, and fill later.
#[test]
fn caches_give_back_what_a_cut_left_above_the_limit_too() {
    let budget = Budget::new(10);
    let entries: Vec<_> = (0..9).map(|_| budget.try_reserve(1).unwrap()).collect();
    budget.set_limit(5);
    let cache = Arc::new(Cache(parking_lot::Mutex::new(entries)));
    budget.add_cache(&cache);
    let Poll::Ready(Ok(waited)) = poll_once(&mut budget.reserve(2)) else { panic!("waits") };
    assert_eq!((2, 3), (waited.bytes(), cache.0.lock().len()));

    drop(waited);
    cache.0.lock().push(budget.try_reserve(2).unwrap());
    budget.set_limit(4);
    assert_eq!(3, cache.0.lock().len(), "the last of them gave 2 B for 1");
    assert_eq!(1, budget.try_reserve(1).unwrap().bytes());
}

/// One step of a random life of a budget.
#[derive(Clone, Debug)]
enum Step {
    Try(u64),
    Wait(u64),
    Poll(usize),
    Cancel(usize),
    Drop(usize),
    Shrink(usize, u64),
    Split(usize, u64),
    Merge(usize, usize),
    Grow(usize, u64),
    Limit(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let (bytes, index) = (0_u64..40, 0_usize..8);
    prop_oneof![
        bytes.clone().prop_map(Step::Try),
        bytes.clone().prop_map(Step::Wait),
        index.clone().prop_map(Step::Poll),
        index.clone().prop_map(Step::Poll),
        index.clone().prop_map(Step::Cancel),
        index.clone().prop_map(Step::Drop),
        index.clone().prop_map(Step::Drop),
        (index.clone(), bytes.clone()).prop_map(|(i, n)| Step::Shrink(i, n)),
        (index.clone(), bytes.clone()).prop_map(|(i, n)| Step::Split(i, n)),
        (index.clone(), index.clone()).prop_map(|(i, j)| Step::Merge(i, j)),
        (index, bytes.clone()).prop_map(|(i, n)| Step::Grow(i, n)),
        (10_u64..80).prop_map(Step::Limit),
    ]
}

/// A budget beside the simplest thing that behaves like it.
struct Pair {
    budget: Budget,
    held: Vec<Reservation>,
    /// Futures with what they ask for, in order of arrival.
    waiting: VecDeque<(Reserve, u64)>,
    limit: u64,
    /// Model: of those who wait, in order, who has its bytes.
    granted: VecDeque<Option<bool>>,
}

impl Pair {
    fn new(limit: u64) -> Self {
        let (held, waiting, granted) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Self { budget: Budget::new(limit), held, waiting, limit, granted }
    }

    fn taken(&self) -> u64 {
        let held: u64 = self.held.iter().map(Reservation::bytes).sum();
        let granted = self.waiting.iter().zip(&self.granted);
        held + granted.filter(|(_, state)| **state == Some(true)).map(|((_, n), _)| n).sum::<u64>()
    }

    /// The model's rule: in order, as long as it fits; those above the limit are refused.
    fn serve(&mut self) {
        for index in 0..self.waiting.len() {
            if self.granted[index].is_some() {
                continue;
            }
            if self.limit < self.waiting[index].1 {
                self.granted[index] = Some(false);
            } else if self.taken() + self.waiting[index].1 <= self.limit {
                self.granted[index] = Some(true);
            } else {
                return;
            }
        }
    }

    fn nobody_waits(&self) -> bool {
        self.granted.iter().all(Option::is_some)
    }

    fn would_grant(&self, bytes: u64) -> bool {
        bytes == 0 || (self.nobody_waits() && self.taken() + bytes <= self.limit)
    }

    fn wait(&mut self, bytes: u64) {
        let expected = self.would_grant(bytes);
        let mut future = self.budget.reserve(bytes);
        match poll_once(&mut future) {
            Poll::Ready(Ok(reservation)) => {
                assert!(expected, "reserve({bytes}) overtook or overbooked");
                self.held.push(reservation);
            }
            Poll::Ready(Err(refused)) => {
                assert!(refused.is_final() && self.limit < bytes);
            }
            Poll::Pending => {
                assert!(!expected && bytes <= self.limit, "reserve({bytes}) waits");
                self.waiting.push_back((future, bytes));
                self.granted.push_back(None);
            }
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Try(bytes) => {
                let expected = self.would_grant(bytes);
                let result: Result<Reservation, Refused> = self.budget.try_reserve(bytes);
                assert_eq!(expected, result.is_ok(), "try_reserve({bytes})");
                self.held.extend(result);
            }
            Step::Wait(bytes) => self.wait(bytes),
            Step::Poll(index) if index < self.waiting.len() => {
                let result = poll_once(&mut self.waiting[index].0);
                match (result, self.granted[index]) {
                    (Poll::Pending, None) => return,
                    (Poll::Ready(Ok(reservation)), Some(true)) => self.held.push(reservation),
                    (Poll::Ready(Err(_)), Some(false)) => {}
                    (result, model) => panic!("{result:?} where the model says {model:?}"),
                }
                self.waiting.remove(index);
                self.granted.remove(index);
            }
            Step::Cancel(index) => {
                self.waiting.remove(index);
                self.granted.remove(index);
            }
            Step::Drop(index) if index < self.held.len() => drop(self.held.swap_remove(index)),
            Step::Shrink(index, bytes) if index < self.held.len() => {
                let bytes = bytes.min(self.held[index].bytes());
                self.held[index].shrink(bytes);
            }
            Step::Split(index, bytes) if index < self.held.len() => {
                let bytes = bytes.min(self.held[index].bytes());
                let part = self.held[index].split(bytes);
                self.held.push(part);
            }
            Step::Merge(into, from) if into.max(from) < self.held.len() && into != from => {
                let (into, from) = (into.min(from), into.max(from));
                let other = self.held.swap_remove(from);
                self.held[into].merge(other);
            }
            Step::Grow(index, bytes) if index < self.held.len() => {
                let expected = self.would_grant(bytes);
                assert_eq!(expected, self.held[index].try_grow(bytes).is_ok());
            }
            Step::Limit(limit) => {
                self.limit = limit;
                self.budget.set_limit(limit);
                for (index, (_, bytes)) in self.waiting.iter().enumerate() {
                    if self.granted[index].is_none() && limit < *bytes {
                        self.granted[index] = Some(false);
                    }
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    /// M1, M2, M3, M5: against a model that is nothing but a list.
    #[test]
    fn a_budget_is_its_model(limit in 10_u64..80, steps in prop::collection::vec(step(), 1..60)) {
        let mut pair = Pair::new(limit);
        for step in steps {
            let before = pair.taken();
            pair.run(&step);
            pair.serve();
            let stats = pair.budget.stats();
            prop_assert_eq!(pair.taken(), stats.reserved_bytes);
            prop_assert_eq!(pair.limit.saturating_sub(pair.taken()), stats.available_bytes);
            prop_assert!(pair.taken() <= pair.limit.max(before), "M1");
        }
        let Pair { budget, held, waiting, limit, .. } = pair;
        drop(waiting);
        drop(held);
        prop_assert_eq!(limit, budget.available_bytes(), "M2: all of it is back");
        prop_assert_eq!(0, budget.reserved_bytes());
        prop_assert!(budget.top(1).is_empty());
    }
}
