//! Redirects, signed addresses, credentials, and servers that want to be left alone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use download::{Event, Job, headers};

use crate::world::{NAME, SIZE, World, fetch, options};

#[test]
fn signed_addresses_that_end_are_renewed_by_one_flight() {
    let world = World::new(&["expire=60ms"]);
    world.origin.update(|settings| settings.bandwidth = Some(10_000_000));
    fetch(&world.job(true), &options(), |_| ()).unwrap();
    assert_eq!(Some(true), world.is_right());
    let stats = world.origin.stats();
    let refused = stats.by_status.get(&403).copied().unwrap_or(0);
    let signed = stats.by_status.get(&302).copied().unwrap_or(0);
    assert!(0 < refused, "no signature ended: {stats:?}");
    // One renewal for each time that signatures ended, however many connections found out.
    assert!(signed <= refused + 1, "{signed} signatures for {refused} refusals");
}

#[test]
fn credentials_go_to_their_origin_alone() {
    let target = World::new(&[]);
    let rule = format!("redirect=http://{}", target.origin.address());
    let world = World::new(&[&rule]);
    let mut given = headers::HeaderMap::new();
    given.insert(headers::AUTHORIZATION, "Bearer secret".parse().unwrap());
    given.insert("x-token", "secret".parse().unwrap());
    let told = std::sync::Mutex::new(String::new());
    let job = Job { headers: given, ..world.job(false) };
    fetch(&job, &options(), |event| told.lock().unwrap().push_str(&format!("{event:?}"))).unwrap();
    let path = format!("/{NAME}");
    assert_eq!(0, target.origin.stats().paths[&path].authorization);
    assert!(0 < world.origin.stats().paths[&path].authorization);
    assert!(!told.lock().unwrap().contains("secret"));
    // The redirect is followed once, not for each part.
    assert_eq!(1, world.origin.stats().requests);
    assert!(SIZE <= target.origin.stats().sent_bytes);
}

#[test]
fn one_refusal_holds_all_connections_back() {
    let world = World::new(&["retry-after=1#3"]);
    let retries = AtomicUsize::new(0);
    let start = Instant::now();
    fetch(&world.job(true), &options(), |event| {
        if let Event::Retry { wait, .. } = event {
            assert_eq!(Duration::from_secs(1), wait);
            retries.fetch_add(1, Ordering::Relaxed);
        }
    })
    .unwrap();
    assert_eq!(Some(true), world.is_right());
    assert!(Duration::from_secs(1) <= start.elapsed());
    assert_eq!(1, retries.load(Ordering::Relaxed));
}

#[test]
fn dates_are_understood_as_waits() {
    let world = World::new(&["retry-after=date+1s#2"]);
    fetch(&world.job(true), &options(), |_| ()).unwrap();
    assert_eq!(Some(true), world.is_right());
}

#[test]
fn nonsense_and_absurd_waits_do_not_hold_for_ever() {
    let world = World::new(&["retry-after=soon#2"]);
    fetch(&world.job(true), &options(), |_| ()).unwrap();
    let world = World::new(&["retry-after=86400"]);
    let start = Instant::now();
    fetch(&world.job(true), &options(), |_| ()).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5));
}
