//! The token bucket against the model.

use limiter::{Burst, Moment, NotUntil, Rate, TokenBucket};
use proptest::prelude::*;

use crate::model::{
    Fraction, Granted, SECOND, any_rate, assert_conforms, at, byte_rate, cases, millis,
};

fn bucket(rate: Rate, burst: u64) -> TokenBucket {
    TokenBucket::new(rate, Burst::new(burst).unwrap(), Moment::ZERO)
}

/// Requests and the time before each; sizes from nothing to far above the burst.
fn demand() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let tokens = prop_oneof![0..=3_u64, 0..=1000_u64, 0..=1_u64 << 40, 0..=u64::MAX];
    let pause = prop_oneof![Just(0_u64), 0..=1000_u64, 0..=SECOND, 0..=1_u64 << 55];
    prop::collection::vec((tokens, pause), 1..60)
}

/// Takes what it can of a demand, at the times of the demand, and logs it.
fn take_what_is_there(bucket: &mut TokenBucket, demand: &[(u64, u64)]) -> Vec<Granted> {
    let mut log = Vec::new();
    let mut nanos = 0_u64;
    for (tokens, pause) in demand {
        nanos = nanos.saturating_add(*pause);
        if bucket.try_take(*tokens, at(nanos)).is_ok() {
            log.push(Granted { nanos, asked: *tokens, used: *tokens });
        }
    }
    log
}

#[test]
fn tokens_drip_in_at_the_rate() {
    let mut bucket = bucket(Rate::per_second(10), 1);
    assert!(bucket.try_take(1, at(0)).is_ok());
    assert!(bucket.try_take(1, at(99_999_999)).is_err());
    assert!(bucket.try_take(1, at(100_000_000)).is_ok());
}

#[test]
fn a_request_above_the_burst_needs_a_full_bucket_and_leaves_a_debt() {
    let mut bucket = bucket(Rate::per_second(10), 5);
    bucket.try_take(1, at(0)).unwrap();
    assert_eq!(Some(at(SECOND / 10)), bucket.try_take(25, at(0)).unwrap_err().moment());
    bucket.try_take(25, at(SECOND / 10)).unwrap();
    assert_eq!(20, bucket.debt(at(SECOND / 10)));
    assert_eq!(Some(at(SECOND * 22 / 10)), bucket.try_take(1, at(SECOND)).unwrap_err().moment());
}

#[test]
fn nothing_is_granted_while_paused_and_nothing_is_lost() {
    let mut bucket = bucket(Rate::per_second(10), 5);
    bucket.set_rate(Rate::PAUSED, at(0));
    assert_eq!(None, bucket.try_take(1, at(SECOND)).unwrap_err().moment());
    bucket.set_rate(Rate::per_second(10), at(2 * SECOND));
    bucket.try_take(5, at(2 * SECOND)).unwrap();
    assert!(bucket.try_take(1, at(2 * SECOND)).is_err());
}

#[test]
fn tokens_held_until_the_bucket_is_full_are_not_minted() {
    let mut bucket = bucket(Rate::per_second(10), 10);
    let taken_at = bucket.try_take(10, at(0)).unwrap();
    bucket.try_take(10, at(SECOND)).unwrap();
    bucket.give_back(10, taken_at, at(SECOND));
    assert_eq!(0, bucket.available(at(SECOND)));
}

#[test]
fn two_refunds_share_the_room_that_there_was() {
    // Premise: 50 and 50 are taken at once, half of it drips in again and is taken by a third.
    let mut bucket = bucket(Rate::per_second(10), 100);
    let first = bucket.try_take(50, at(0)).unwrap();
    let second = bucket.try_take(50, at(0)).unwrap();
    let later = at(5 * SECOND);
    bucket.try_take(50, later).unwrap();
    bucket.give_back(50, first, later);
    bucket.give_back(50, second, later);
    assert_eq!(50, bucket.available(later));
}

#[test]
fn what_was_taken_without_limit_does_not_come_back() {
    let mut bucket = bucket(Rate::per_second(10), 10);
    bucket.try_take(10, at(0)).unwrap();
    bucket.set_rate(Rate::UNLIMITED, at(0));
    let taken_at = bucket.try_take(10, at(0)).unwrap();
    bucket.set_rate(Rate::per_second(10), at(0));
    bucket.give_back(10, taken_at, at(0));
    assert_eq!(0, bucket.available(at(0)));
}

#[test]
fn a_clock_that_goes_back_admits_nothing() {
    let mut bucket = bucket(Rate::per_second(10), 10);
    bucket.try_take(10, at(SECOND)).unwrap();
    assert!(bucket.try_take(1, at(0)).is_err());
    assert_eq!(Some(at(SECOND * 11 / 10)), bucket.try_take(1, at(0)).unwrap_err().moment());
    assert!(bucket.try_take(1, at(SECOND)).is_err());
}

#[test]
fn a_day_at_600_megabytes_per_second_is_exact_to_the_byte() {
    const DAY: u64 = 86_400;
    let mut bucket = bucket(Rate::bytes_per_second(600_000_000), 64 << 10);
    let mut now = at(0);
    bucket.try_take(64 << 10, now).unwrap();
    let mut taken = 0_u64;
    while let Some(moment) = bucket.try_take(16_384, now).err().and_then(NotUntil::moment) {
        if SECOND < moment.as_nanos() {
            break;
        }
        now = moment;
        bucket.try_take(16_384, now).unwrap();
        taken += 16_384;
    }
    let due = 600_000_000 - taken - bucket.available(at(SECOND));
    assert_eq!(0, due);
    // The rest of the day in one piece: the bucket in debt for all of it.
    let mut bucket = self::bucket(Rate::bytes_per_second(600_000_000), 1);
    bucket.try_take(600_000_000 * DAY + 1, at(0)).unwrap();
    assert_eq!(1, bucket.debt(at(DAY * SECOND - 1)));
    assert_eq!(0, bucket.debt(at(DAY * SECOND)));
}

proptest! {
    #![proptest_config(cases(512))]

    /// L1, at any rate, burst, demand.
    #[test]
    fn l1_no_interval_holds_more_than_rate_and_burst(
        rate in any_rate(), burst in 1..=1_u64 << 63, small in any::<bool>(), demand in demand(),
    ) {
        let burst = if small { burst % 5000 + 1 } else { burst };
        let mut bucket = bucket(rate.rate(), burst);
        let log = take_what_is_there(&mut bucket, &demand);
        assert_conforms(&log, rate, burst);
    }

    /// L2, L4: the promised moment is kept, it is the first one, and lateness costs nothing.
    #[test]
    fn l2_l4_a_request_is_served_at_the_promised_moment_and_not_before(
        rate in byte_rate(), burst in 1..=1_u64 << 20, demand in demand(),
    ) {
        let mut bucket = bucket(rate.rate(), burst);
        // The level in tokens per second of period, as the definition has it.
        let full = i128::from(burst) * i128::from(SECOND);
        let (mut now, mut level) = (Moment::ZERO, full);
        for (tokens, _) in demand {
            let tokens = tokens % (4 * burst + 1);
            let missing = i128::from(tokens.min(burst)) * i128::from(SECOND) - level;
            match bucket.clone().try_take(tokens, now) {
                Ok(_) => prop_assert!(missing <= 0),
                Err(refusal) => {
                    let moment = refusal.moment().expect("a finite wait");
                    let wait = i128::from(moment.as_nanos() - now.as_nanos());
                    let dripped = wait * i128::from(rate.tokens);
                    prop_assert!(missing <= dripped, "it would be too early");
                    prop_assert!(dripped - i128::from(rate.tokens) < missing, "a nanosecond late");
                    let before = at(moment.as_nanos() - 1);
                    prop_assert!(bucket.clone().try_take(tokens, before).is_err());
                    level = full.min(level + dripped);
                    now = moment;
                }
            }
            bucket.try_take(tokens, now).expect("the promise is kept");
            level -= i128::from(tokens) * i128::from(SECOND);
        }
    }

    /// L2: while demand is pending, late ticks of any length lose nothing.
    #[test]
    fn l2_late_ticks_lose_nothing(
        rate in byte_rate(), lateness in prop::collection::vec(0..2 * SECOND / 1000, 1..100),
    ) {
        // A burst that holds what drips in during the longest tick, and less than a request.
        let request = (rate.tokens / 1000).max(1);
        let burst = request + rate.tokens.div_ceil(500);
        let mut bucket = bucket(rate.rate(), burst);
        let (mut nanos, mut taken) = (0_u64, 0_u128);
        bucket.try_take(burst, at(0)).unwrap();
        for late in lateness {
            nanos += late;
            while bucket.try_take(request, at(nanos)).is_ok() {
                taken += u128::from(request);
            }
        }
        let dripped = u128::from(nanos) * u128::from(rate.tokens) / u128::from(SECOND);
        prop_assert!(dripped < taken + u128::from(request), "{taken} of {dripped}");
    }

    /// L5: taken and given back at once is as if never taken, with others in between.
    #[test]
    fn l5_what_is_given_back_at_once_was_never_taken(
        rate in any_rate(), burst in 1..=1_u64 << 40, demand in demand(), used in any::<u64>(),
    ) {
        let mut bucket = bucket(rate.rate(), burst);
        let mut nanos = 0_u64;
        for (tokens, pause) in demand {
            nanos = nanos.saturating_add(pause);
            let mut without = bucket.clone();
            if let Ok(taken_at) = bucket.try_take(tokens, at(nanos)) {
                let used = used.min(tokens);
                bucket.give_back(tokens - used, taken_at, at(nanos));
                without.try_take(used, at(nanos)).expect("less is there if more is");
                let later = at(nanos.saturating_add(12_345));
                prop_assert_eq!(without.available(later), bucket.available(later));
                prop_assert_eq!(without.debt(later), bucket.debt(later));
            }
        }
    }

    /// L5, L1: whenever parts are given back, what was used conforms.
    #[test]
    fn l5_held_and_given_back_never_exceeds_rate_and_burst(
        rate in byte_rate(),
        burst in 1..=5000_u64,
        steps in prop::collection::vec((0..=8000_u64, 0..=100_u64, 0..=9_usize, 0..=4_u64), 1..80),
    ) {
        let mut bucket = bucket(rate.rate(), burst);
        let burst_nanos = u128::from(burst) * u128::from(SECOND) / u128::from(rate.tokens);
        let mut log: Vec<Granted> = Vec::new();
        let mut held: Vec<(usize, Moment)> = Vec::new();
        let mut nanos = 0_u64;
        for (tokens, percent, which, quarters) in steps {
            nanos += (burst_nanos * u128::from(percent) / 100) as u64;
            if let Ok(taken_at) = bucket.try_take(tokens, at(nanos)) {
                held.push((log.len(), taken_at));
                log.push(Granted { nanos, asked: tokens, used: tokens });
            }
            if which < held.len() {
                let (index, taken_at) = held.swap_remove(which);
                let unused = log[index].asked / 4 * quarters.min(4);
                bucket.give_back(unused, taken_at, at(nanos));
                // `asked` stays: what a grant may exceed the burst by was decided by it.
                log[index].used -= unused;
            }
        }
        assert_conforms(&log, rate, burst);
    }

    /// L5: what comes back is what a bucket would hold that was never asked, to a 32nd of the burst.
    #[test]
    fn l5_a_late_refund_restores_what_would_be_there(
        rate in byte_rate(),
        burst in 64..=5000_u64,
        held_percent in 1..=100_u64,
        others in prop::collection::vec((0..=100_u64, 0..=30_u64), 0..60),
    ) {
        let mut asked = bucket(rate.rate(), burst);
        let tokens = burst * held_percent / 100;
        let taken_at = asked.try_take(tokens, at(0)).unwrap();
        let mut never_asked = bucket(rate.rate(), burst);
        let burst_nanos = u128::from(burst) * u128::from(SECOND) / u128::from(rate.tokens);
        let mut nanos = 0_u64;
        for (size_percent, pause_percent) in others {
            nanos += (burst_nanos * u128::from(pause_percent) / 100) as u64;
            let tokens = burst * size_percent / 100;
            if asked.try_take(tokens, at(nanos)).is_ok() {
                never_asked.try_take(tokens, at(nanos)).expect("it is fuller");
            }
        }
        asked.give_back(tokens, taken_at, at(nanos));
        let (is, should) = (asked.available(at(nanos)), never_asked.available(at(nanos)));
        prop_assert!(is <= should, "{is} {should}");
        prop_assert!(should <= is + burst / 32 + 1, "{is} {should}");
    }

    /// L6: a larger burst begins with what is there, a smaller one drops what no longer fits.
    #[test]
    fn l6_another_burst_changes_what_fits_and_not_what_is_there(
        bursts in (1..=1000_u64, 1..=1000_u64), taken in 0..=2000_u64, now in 0..=SECOND,
    ) {
        let mut bucket = bucket(Rate::per_second(1000), bursts.0);
        prop_assert!(bucket.try_take(taken, at(0)).is_ok());
        let (there, owed) = (bucket.available(at(now)), bucket.debt(at(now)));
        bucket.set_burst(Burst::new(bursts.1).unwrap(), at(now));
        prop_assert_eq!((there.min(bursts.1), owed), (bucket.available(at(now)), bucket.debt(at(now))));
    }

    /// L6: there and back at one moment leaves no trace; a change never mints.
    #[test]
    fn l6_a_change_and_its_reverse_leave_no_trace(
        rates in prop::collection::vec(any_rate(), 2), burst in 1..=1_u64 << 40, demand in demand(),
    ) {
        let mut changed = bucket(rates[0].rate(), burst);
        let mut unchanged = changed.clone();
        let mut nanos = 0_u64;
        for (tokens, pause) in demand {
            nanos = nanos.saturating_add(pause);
            changed.set_rate(rates[1].rate(), at(nanos));
            changed.set_rate(Rate::PAUSED, at(nanos));
            changed.set_rate(rates[0].rate(), at(nanos));
            let (expected, got) =
                (unchanged.try_take(tokens, at(nanos)), changed.try_take(tokens, at(nanos)));
            prop_assert_eq!(expected, got);
        }
    }

    /// L6, L1: under changes of rate and burst, no more than the integral of the rate and the largest
    /// burst in force.
    #[test]
    fn l6_changes_mint_nothing(
        steps in prop::collection::vec((1..=1000_u64, 1..=2000_u64, 0..=SECOND, 0..=3000_u64), 1..60),
    ) {
        let mut bucket = bucket(Rate::per_second(1000), 1);
        let (mut nanos, mut rate, mut burst_max) = (0_u64, 1000_u64, 1_u64);
        let (mut dripped, mut taken) = (0_u128, 0_u128);
        for (next_rate, next_burst, pause, tokens) in steps {
            nanos += pause;
            dripped += u128::from(rate) * u128::from(pause);
            bucket.set_rate(Rate::new(next_rate, millis(1000)).unwrap(), at(nanos));
            bucket.set_burst(Burst::new(next_burst).unwrap(), at(nanos));
            rate = next_rate;
            burst_max = burst_max.max(next_burst);
            if bucket.try_take(tokens, at(nanos)).is_ok() {
                let debt = u128::from(tokens.saturating_sub(next_burst));
                taken += u128::from(tokens);
                let bound = u128::from(SECOND) * (u128::from(burst_max) + debt) + dripped;
                prop_assert!(taken * u128::from(SECOND) <= bound);
            }
        }
    }

    /// L7: no overflow and no panic at the ends of all ranges, with a clock that jumps about.
    #[test]
    fn l7_nothing_overflows(
        rate in any_rate(), burst in 1..=1_u64 << 63,
        steps in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u8>()), 1..60),
    ) {
        let mut bucket = bucket(rate.rate(), burst);
        let (mut latest, mut last) = (0_u64, Moment::ZERO);
        for (tokens, nanos, what) in steps {
            let now = at(nanos);
            latest = latest.max(nanos);
            match what % 4 {
                0 => bucket.give_back(tokens, last, now),
                1 => drop(bucket.debt(now)),
                _ => if let Ok(taken_at) = bucket.try_take(tokens, now) {
                    prop_assert_eq!(at(latest), taken_at);
                    last = taken_at;
                },
            }
        }
    }

    /// L7: what has dripped in is the product of rate and time, to the token, however large the two are.
    #[test]
    fn l7_what_drips_in_is_exact_at_any_rate(
        rate in any_rate(), burst in 1..=1_u64 << 63, times in prop::collection::vec(any::<u64>(), 1..9),
    ) {
        let mut bucket = bucket(rate.rate(), burst);
        bucket.try_take(burst, at(0)).unwrap();
        let mut latest = 0_u64;
        for nanos in times {
            latest = latest.max(nanos);
            let dripped = u128::from(latest) * u128::from(rate.tokens) / u128::from(rate.nanos);
            prop_assert_eq!(dripped.min(burst.into()), u128::from(bucket.available(at(nanos))));
        }
    }

    /// L7, L1: a clock that jumps about admits no more than its furthest reading allows.
    #[test]
    fn l7_a_jumping_clock_admits_nothing_extra(
        rate in byte_rate(), burst in 1..=10_000_u64,
        steps in prop::collection::vec((0..=20_000_u64, 0..=2 * SECOND), 1..60),
    ) {
        let mut bucket = bucket(rate.rate(), burst);
        let mut log = Vec::new();
        let mut latest = 0;
        for (tokens, nanos) in steps {
            latest = nanos.max(latest);
            if bucket.try_take(tokens, at(nanos)).is_ok() {
                log.push(Granted { nanos: latest, asked: tokens, used: tokens });
            }
        }
        assert_conforms(&log, rate, burst);
    }

    /// L7: in one piece or in many, the same is left.
    #[test]
    fn l7_pieces_cost_the_same_as_the_whole(
        rate in any_rate(), pieces in prop::collection::vec(1..=1_u64 << 32, 1..50), nanos in any::<u64>(),
    ) {
        let whole_tokens: u64 = pieces.iter().sum();
        let mut whole = bucket(rate.rate(), whole_tokens);
        let mut parts = whole.clone();
        whole.try_take(whole_tokens, at(0)).unwrap();
        for piece in pieces {
            parts.try_take(piece, at(0)).unwrap();
        }
        prop_assert_eq!(whole.available(at(nanos)), parts.available(at(nanos)));
    }
}

#[test]
fn the_model_itself_tells_right_from_wrong() {
    let rate = Fraction { tokens: 1, nanos: 10 };
    assert!(!rate.is_exceeded(3, 30));
    assert!(rate.is_exceeded(4, 39));
}
