//! A hub's quota is kept to, and waited for aloud.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use download::{Event, ModelEvent, ModelSpec, Models};
use testkit::{HubOptions, HubRateLimit};

use crate::shelf::{Shelf, repo};

#[test]
fn a_rate_limit_is_waited_for_as_told_and_not_overstepped() {
    let window = Duration::from_secs(2);
    let rate_limit = Some(HubRateLimit { quota: 4, window });
    let repos = vec![repo("org/a", 1)];
    let shelf = Shelf::with(HubOptions { repos, rate_limit, ..HubOptions::default() });
    let spec = ModelSpec::new("org/a".parse().unwrap(), "main".parse().unwrap());
    let start = Instant::now();
    let events = shelf.events(&spec);
    assert!(Duration::from_secs(1) < start.elapsed(), "{:?}", start.elapsed());
    assert_eq!(None, shelf.hub.origin().stats().by_status.get(&429));
    let is_held = |event: &ModelEvent| {
        matches!(event, ModelEvent::Transfer { event: Event::Held { wait }, .. }
            if *wait <= window + Duration::from_secs(1))
    };
    assert!(events.iter().any(is_held), "{events:?}");
}

/// Others may have used up what is left. The pause of our own is none of the hub's.
#[test]
fn after_a_refusal_the_wait_is_told_that_follows() {
    let rate_limit = Some(HubRateLimit { quota: 1, window: Duration::from_secs(60) });
    let repos = vec![repo("org/a", 1)];
    let shelf = Shelf::with(HubOptions { repos, rate_limit, ..HubOptions::default() });
    shelf.ensure("org/none").unwrap_err();
    let (send, receive) = futures::channel::oneshot::channel();
    let send = Mutex::new(Some(send));
    let tell = move |event| {
        let _ = send.lock().unwrap().take().map(|send| send.send(event));
    };
    let spec = "org/a".parse().unwrap();
    let first = shelf.run(async move |models: Models| {
        tokio::select! {
            event = receive => event.unwrap(),
            _ = models.ensure(&spec, tell) => panic!("there is no quota left"),
        }
    });
    let ModelEvent::Delay(Event::Retry { wait, .. }) = first else { panic!("{first:?}") };
    assert!(Duration::from_secs(50) < wait, "{wait:?}");
}

/// Also what is asked before any file is known.
#[test]
fn what_delays_the_questions_about_a_model_is_told() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    let faults = ["retry-after=1@*revision*#1", "status=503@*tree*#1"];
    shelf.hub.origin().update(|settings| {
        settings.faults = faults.map(|rule| rule.parse().unwrap()).to_vec();
    });
    let events = shelf.events(&ModelSpec::new("org/a".parse().unwrap(), "main".parse().unwrap()));
    let mut waits = events.iter().filter_map(|event| match event {
        ModelEvent::Delay(Event::Retry { wait, reason, .. }) => Some((*wait, reason.clone())),
        _ => None,
    });
    let (wait, reason) = waits.next().unwrap();
    assert!(Duration::from_secs(1) == wait && reason.contains("429"), "{wait:?}: {reason}");
    assert!(waits.next().unwrap().1.contains("503"));
}
