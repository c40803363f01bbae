//! A limit per key.

use limiter::{Burst, Keyed, KeyedError, KeyedOptions, Limiter, Rate};
use tokio::time::sleep;

use crate::model::millis;

fn options(keys_max: usize) -> KeyedOptions {
    KeyedOptions { rate: Rate::per_second(10), burst: Burst::new(10).unwrap(), keys_max }
}

#[tokio::test(start_paused = true)]
async fn keys_have_limits_of_their_own() {
    let keys: Keyed<String> = Keyed::new(options(10));
    keys.get("a").unwrap().try_acquire(10).unwrap();
    assert!(keys.get("a").unwrap().try_acquire(1).is_err());
    keys.get("b").unwrap().try_acquire(10).unwrap();
    assert_eq!((2, false), (keys.len(), keys.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn only_keys_that_are_like_new_are_forgotten() {
    let keys: Keyed<u64> = Keyed::new(options(2));
    keys.get(&1).unwrap().try_acquire(10).unwrap();
    let held = keys.get(&2).unwrap();
    assert_eq!(Some(KeyedError::TooManyKeys { keys_max: 2 }), keys.get(&3).err());
    assert!(keys.get(&1).unwrap().try_acquire(1).is_err(), "known keys are served");
    sleep(millis(999)).await;
    assert!(keys.get(&3).is_err());
    sleep(millis(1)).await;
    keys.get(&3).unwrap().try_acquire(10).unwrap();
    assert_eq!(2, keys.len());
    drop(held);
    keys.get(&4).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_changed_is_not_forgotten() {
    let check = |change: fn(&Limiter), undo: fn(&Limiter)| {
        let keys: Keyed<u64> = Keyed::new(options(1));
        change(&keys.get(&1).unwrap());
        assert!(keys.get(&2).is_err());
        undo(&keys.get(&1).unwrap());
        keys.get(&2).unwrap();
    };
    check(Limiter::pause, Limiter::resume);
    check(
        |limiter| limiter.set_rate(Rate::per_second(1)),
        |limiter| limiter.set_rate(options(1).rate),
    );
    let keys: Keyed<u64> = Keyed::new(options(1));
    keys.get(&1).unwrap().set_burst(Burst::ONE);
    assert!(keys.get(&2).is_err());
}

/// 999 keys in use, 1 to 999, and an idle one to be looked at last: how many new keys are refused before it
/// makes room, after so many look-ups of a known one.
fn refusals_after(known: u64) -> u64 {
    const KEYS_MAX: u64 = 1000;
    let keys: Keyed<u64> = Keyed::new(options(KEYS_MAX as usize));
    let held: Vec<_> = (1..KEYS_MAX).map(|key| keys.get(&key).unwrap()).collect();
    keys.get(&0).unwrap();
    for _ in 0..known {
        keys.get(&1).unwrap();
    }
    let refusals = (0..).take_while(|_| keys.get(&KEYS_MAX).is_err()).count() as u64;
    drop(held);
    refusals
}

#[tokio::test(start_paused = true)]
async fn an_idle_key_makes_room_after_a_bounded_number_of_refusals() {
    assert_eq!(1000 / 64, refusals_after(0));
}

#[tokio::test(start_paused = true)]
async fn known_keys_pay_for_the_search_of_an_idle_one() {
    assert_eq!(0, refusals_after(250));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_keys_is_bounded() {
    const KEYS_MAX: usize = 100;
    let keys: Keyed<usize> = Keyed::new(options(KEYS_MAX));
    for key in 0..10_000 {
        if let Ok(limiter) = keys.get(&key) {
            limiter.try_acquire(10).unwrap();
        }
        assert!(keys.len() <= KEYS_MAX);
    }
    sleep(millis(1000)).await;
    assert!(keys.get(&10_000).is_ok());
}

#[tokio::test(start_paused = true)]
async fn keys_may_share_a_limit() {
    let parent = Limiter::new(Rate::per_second(15), Burst::new(15).unwrap());
    let keys: Keyed<&'static str> = Keyed::under(parent.clone(), options(10));
    keys.get(&"a").unwrap().try_acquire(10).unwrap();
    assert!(keys.get(&"b").unwrap().try_acquire(10).is_err());
    keys.get(&"b").unwrap().try_acquire(5).unwrap();
    assert_eq!(15, parent.stats().granted_tokens);
}
