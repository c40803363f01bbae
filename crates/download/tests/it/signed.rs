//! Redirects, signed addresses, credentials, and servers that want to be left alone.

use std::sync::Mutex;
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
    let told = Mutex::new(String::new());
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
    // Half a second of work: there is some left to do when one is refused.
    world.origin.update(|settings| settings.bandwidth = Some(6_000_000));
    let start = Instant::now();
    let (refused, moved) = (Mutex::new(None), Mutex::new(Vec::new()));
    fetch(&world.job(true), &options(), |event| match event {
        Event::Retry { wait, .. } => {
            assert_eq!(Duration::from_secs(1), wait);
            assert_eq!(
                None,
                refused.lock().unwrap().replace(start.elapsed()),
                "it was refused twice"
            );
        }
        Event::Held { .. } => {}
        _ => moved.lock().unwrap().push(start.elapsed()),
    })
    .unwrap();
    assert_eq!(Some(true), world.is_right());
    let refused = refused.lock().unwrap().unwrap();
    // What was on its way when the refusal came may arrive.
    let quiet = refused + Duration::from_millis(300)..refused + Duration::from_millis(900);
    let moved = moved.lock().unwrap();
    assert!(
        !moved.iter().any(|at| quiet.contains(at)),
        "refused at {refused:?}, moved at {moved:?}"
    );
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
