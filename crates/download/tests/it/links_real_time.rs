//! Links that are capped, distant, uneven, and servers that collapse: how much of what they can give comes.
//!
//! The rates are measured, so machine and neighbors count: here the bounds are loose, and the suite
//! `download` of `cargo xtask perf` judges by the gates.

use std::time::{Duration, Instant};

use download::{Downloader, FetchOptions, Job};
use limiter::{Burst, Limiter, Rate};
use pool::http::{Client, ClientOptions};
use testkit::{Blob, Link, LinkSettings, Options, Origin};

/// Fetches `size` bytes and returns the bytes per second.
fn rate(size: u64, options: &FetchOptions, prepare: impl FnOnce(&Origin)) -> f64 {
    let blob = Blob::new("m", size, 5);
    let origin =
        Origin::start(Options { blobs: vec![blob.clone()], ..Options::default() }).unwrap();
    prepare(&origin);
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{}/m", origin.address()).parse().unwrap();
    let job = Job::new(url, folder.path().join("m"));
    let start = Instant::now();
    let fetched = crate::world::fetch(&job, options, |_| ()).unwrap();
    assert_eq!(blob.digests().sha256, fetched.digest.unwrap().to_string());
    size as f64 / start.elapsed().as_secs_f64()
}

#[test]
fn connections_that_are_capped_are_used_in_numbers() {
    let rate = rate(60_000_000, &FetchOptions::default(), |origin| {
        origin.update(|settings| settings.connection_bandwidth = Some(2_000_000));
    });
    // One connection would get 2 MB/s.
    assert!(12e6 < rate, "{rate:.0} B/s");
}

#[test]
fn a_connection_that_is_slow_does_not_hold_up_the_end() {
    let start = Instant::now();
    let rate = rate(40_000_000, &FetchOptions::default(), |origin| {
        origin.update(|settings| {
            settings.connection_bandwidth = Some(4_000_000);
            settings.latency = Duration::from_millis(10);
            settings.faults = vec!["cap=100KB/s#2".parse().unwrap()];
        });
    });
    assert!(8e6 < rate && start.elapsed() < Duration::from_secs(10), "{rate:.0} B/s");
}

#[test]
fn while_the_first_answer_is_on_its_long_way_so_are_more_connections() {
    let blob = Blob::new("m", 1000, 5);
    let origin = Origin::start(Options { blobs: vec![blob], ..Options::default() }).unwrap();
    let far = LinkSettings { latency: Duration::from_millis(30), ..LinkSettings::default() };
    let link = Link::start(origin.address(), far).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{}/m", link.address()).parse().unwrap();
    let job = Job::new(url, folder.path().join("m"));
    crate::world::fetch(&job, &FetchOptions::default(), |_| ()).unwrap();
    assert_eq!((8, 1), (link.stats().opened, origin.stats().requests));
}

/// Premise: the search for the best number of connections ends within two seconds.
#[tokio::test]
async fn what_a_limit_of_rate_holds_back_teaches_nothing_of_the_server() {
    let blob = Blob::new("m", 8_000_000, 5);
    let origin = Origin::start(Options { blobs: vec![blob], ..Options::default() }).unwrap();
    let rate = Rate::per_second(4_000_000);
    let limiter = Some(Limiter::new(rate, Burst::lasting(Duration::from_millis(50), rate)));
    let mut client = ClientOptions::default();
    client.http1.max_buf_size(32 << 10);
    let options = FetchOptions { limiter, ..FetchOptions::default() };
    let downloader = Downloader::new(Client::new(client), options);
    let folder = tempfile::tempdir().unwrap();
    let job = Job::new(origin.url("m").parse().unwrap(), folder.path().join("m"));
    downloader.fetch(&job, |_| ()).await.unwrap();
    assert!(downloader.learnt().is_empty());
}
