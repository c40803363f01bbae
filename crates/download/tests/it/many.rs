//! Many files, and many who want the same one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use download::{Downloader, Event, FetchOptions, How, Job};
use limiter::{Burst, Limiter, Rate};
use memory::{Budget, Level};
use pool::http::{Client, ClientOptions};
use testkit::{Blob, Options, Origin};
use tokio::time::timeout;

use crate::world::{SIZE, World, client_options, fetch, options};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

#[test]
fn small_files_come_together_and_critical_ones_first() {
    let blobs: Vec<_> = (0..60).map(|k| Blob::new(format!("f{k}"), 100 * k, k)).collect();
    let origin = Origin::start(Options { blobs: blobs.clone(), ..Options::default() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let jobs = blobs.iter().enumerate().map(|(k, blob)| {
        let url = format!("http://{}/{}", origin.address(), blob.name());
        let class = if k < 50 { 1 } else { 0 };
        Job { class, ..Job::new(url.parse().unwrap(), folder.path().join(blob.name())) }
    });
    let jobs: Vec<_> = jobs.collect();
    let order = Arc::new(Mutex::new(Vec::new()));
    let ended = Arc::clone(&order);
    let results = block_on(async {
        let options = FetchOptions { files_max: 1, ..options() };
        let downloader = Downloader::new(Client::new(client_options()), options);
        let note = move |k, _: &_| ended.lock().unwrap().push(k);
        downloader.fetch_all(jobs, |_, _: Event| (), note).await
    });
    for (blob, result) in blobs.iter().zip(results) {
        let fetched = result.unwrap();
        assert_eq!(blob.size(), fetched.bytes);
        assert_eq!(blob.digests().sha256, fetched.digest.unwrap().to_string());
        let bytes = std::fs::read(folder.path().join(blob.name())).unwrap();
        let mut expected = vec![0; bytes.len()];
        blob.fill(0, &mut expected);
        assert_eq!(expected, bytes);
    }
    let order = order.lock().unwrap();
    // The first one was started before the others were there.
    assert!(order[1..11].iter().all(|&k| 50 <= k), "{order:?}");
    assert_eq!(60, folder.path().read_dir().unwrap().count(), "nothing else is left");
}

#[test]
fn a_file_may_have_a_limiter_of_its_own() {
    let world = World::new(&[]);
    // So slow that what was taken is seen by what is left.
    let slow = || Limiter::new("1B/s".parse().unwrap(), Burst::new(2 * SIZE).unwrap());
    let (all, own) = (slow(), slow());
    let options = FetchOptions { limiter: Some(all.clone()), ..options() };
    let job = Job { limiter: Some(own.clone()), ..world.job(true) };
    fetch(&job, &options, |_| {}).unwrap();
    let has_all = |limiter: &Limiter| limiter.try_acquire(2 * SIZE).is_ok();
    assert_eq!((true, false), (has_all(&all), has_all(&own)));
}

#[test]
fn a_file_whose_turn_does_not_come_is_told_by_its_address() {
    let world = World::new(&["hang"]);
    let first = world.job(false);
    let url = first.url.join("/next?signature=hush").unwrap();
    let next =
        Job { url: url.clone(), target: first.target.with_file_name("next"), ..first.clone() };
    let (timeout, queue_timeout) = (Some(Duration::from_millis(300)), Duration::from_millis(20));
    let options = FetchOptions { files_max: 1, timeout, queue_timeout, ..options() };
    let results = block_on(async {
        let downloader = Downloader::new(Client::new(client_options()), options);
        downloader.fetch_all(vec![first, next], |_, _| (), |_, _| ()).await
    });
    let error = results[1].as_ref().unwrap_err();
    assert_eq!(format!("http://{}/next", world.origin.address()), error.object());
}

#[test]
fn who_asks_for_the_same_file_waits_for_the_one_who_fetches_it() {
    for with_digest in [true, false] {
        let world = World::new(&[]);
        world.origin.update(|settings| settings.bandwidth = Some(20_000_000));
        let job = world.job(with_digest);
        let results = block_on(async {
            let downloader = Downloader::new(Client::new(client_options()), options());
            downloader.fetch_all(vec![job; 4], |_, _: Event| (), |_, _| ()).await
        });
        let how: Vec<_> = results.into_iter().map(|result| result.unwrap().how).collect();
        assert_eq!(1, how.iter().filter(|&&how| how == How::Fetched).count(), "{how:?}");
        assert_eq!(3, how.iter().filter(|&&how| how == How::Unchanged).count(), "{how:?}");
        assert_eq!(Some(true), world.is_right());
        let sent = world.origin.stats().sent_bytes;
        // Each may ask its first question before it sees the others.
        assert!(sent < world.blob.size() * 3 / 2, "{sent}");
    }
}

#[test]
fn a_file_that_is_here_and_right_is_not_asked_for() {
    let world = World::new(&[]);
    fetch(&world.job(true), &options(), |_| ()).unwrap();
    world.origin.reset();
    let fetched = fetch(&world.job(true), &options(), |_| ()).unwrap();
    assert_eq!((How::Unchanged, 0), (fetched.how, world.origin.stats().requests));
}

#[test]
fn a_file_that_is_here_and_wrong_is_fetched() {
    let world = World::new(&[]);
    let mut wrong = vec![0; world.blob.size() as usize];
    world.blob.fill(0, &mut wrong);
    wrong[100] ^= 1;
    std::fs::write(world.target(), wrong).unwrap();
    let fetched = fetch(&world.job(true), &options(), |_| ()).unwrap();
    assert_eq!((How::Fetched, Some(true)), (fetched.how, world.is_right()));
}

/// Premise: more files than the origin is asked for at once, so that some wait for their turn to ask while
/// others, whose answer is here, wait for memory; a limit keeps all of them under way for long enough.
#[tokio::test]
async fn who_waits_for_memory_keeps_nobody_from_asking() {
    let blobs: Vec<_> = (0..16).map(|k| Blob::new(format!("file-{k}"), 1_300_000, k)).collect();
    let origin = Origin::start(Options { blobs: blobs.clone(), ..Options::default() }).unwrap();
    let folder = testkit::temp_dir(&[]);
    let rate = Rate::per_second(40_000_000);
    let options = FetchOptions {
        limiter: Some(Limiter::new(rate, Burst::lasting(Duration::from_millis(10), rate))),
        files_max: blobs.len(),
        connections_max: blobs.len(),
        ..FetchOptions::default()
    };
    let job = |blob: &Blob| {
        let url = origin.url(blob.name()).parse().unwrap();
        Job::new(url, folder.path().join(blob.name()))
    };
    let downloader = Downloader::new(Client::new(ClientOptions::default()), options);
    let all = downloader.fetch_all(blobs.iter().map(job).collect(), |_, _| {}, |_, _| {});
    let fetched = timeout(Duration::from_secs(20), all).await.expect("nobody stands still");
    assert!(fetched.iter().all(Result::is_ok), "{fetched:?}");
}

/// Premise: large files hold the memory and want permits and connections for their parts, while answers of others
/// are here for which there is no memory. There are no more connections than permits, as in the program.
#[tokio::test]
async fn who_waits_for_memory_holds_neither_a_permit_nor_a_connection() {
    for (connections, memory, sizes) in [
        (1, 2 << 20, &[6 << 20, 1 << 20, 1 << 20, 1_000_000, 1_000_000][..]),
        (1, 2 << 20, &[4 << 20, 4 << 20, 4 << 20]),
        (2, 4 << 20, &[6 << 20, 6 << 20, 6 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20]),
        (8, 6 << 20, &[3 << 20, 1 << 20, 3 << 20, 1 << 20, 3 << 20, 1 << 20, 3 << 20, 1 << 20]),
        // As little as the smallest takes.
        (2, 1 << 20, &[1 << 20, 1000, 0]),
    ] {
        let blob = |(k, &size): (usize, &u64)| Blob::new(format!("file-{k}"), size, k as u64);
        let blobs: Vec<_> = sizes.iter().enumerate().map(blob).collect();
        let origin = Origin::start(Options { blobs: blobs.clone(), ..Options::default() }).unwrap();
        origin.update(|settings| settings.connection_bandwidth = Some(40_000_000));
        let folder = testkit::temp_dir(&[]);
        let memory = Budget::new(memory);
        let options = FetchOptions {
            connections_max: connections,
            memory: memory.clone(),
            ..FetchOptions::default()
        };
        let mut client = client_options();
        client.pool.connections_max = connections;
        let downloader = Downloader::new(Client::new(client), options);
        let job = |blob: &Blob| {
            let url = origin.url(blob.name()).parse().unwrap();
            Job::new(url, folder.path().join(blob.name()))
        };
        let all = downloader.fetch_all(blobs.iter().map(job).collect(), |_, _| {}, |_, _| {});
        let fetched = timeout(Duration::from_secs(20), all).await.expect("nobody stands still");
        for (blob, fetched) in blobs.iter().zip(fetched) {
            assert_eq!(blob.digests().sha256, fetched.unwrap().digest.unwrap().to_string());
        }
        assert_eq!(0, memory.stats().reserved_bytes);
    }
}

#[test]
fn while_memory_is_critical_one_part_is_in_flight() {
    for (level, is_one) in [(Level::Critical, true), (Level::Normal, false)] {
        let world = World::new(&[]);
        world.origin.update(|settings| settings.bandwidth = Some(6_000_000));
        block_on(async {
            let downloader = Downloader::new(Client::new(client_options()), options());
            downloader.press(level);
            downloader.fetch(&world.job(true), |_| ()).await.unwrap();
        });
        assert_eq!(Some(true), world.is_right());
        assert_eq!(is_one, world.origin.stats().connections.max_open == 1, "{level}");
    }
}
