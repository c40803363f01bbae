//! What only the real clock shows. Limits are twice what is promised: other tests run beside these.

use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::Duration;

use inference_bench::stream::calibrate::Errors;
use inference_bench::stream::{
    Arrival, Dialect, Drive, Emitter, EmitterOptions, Figures, Plan, RequestRecord, StampSource,
    Target,
};
use testkit::{Schedule, TokenSource};

use super::server::{run, runtime};

const MS: Duration = Duration::from_millis(1);

/// An emitter on a thread of its own.
struct Source {
    url: String,
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Source {
    fn start(options: EmitterOptions) -> Self {
        let emitter = Emitter::bind(options).unwrap();
        let url = format!("http://{}", emitter.address().unwrap());
        let (until, stop) = std::io::pipe().unwrap();
        let thread = std::thread::spawn(move || emitter.run(until).unwrap());
        Self { url, stop: Some(stop.into()), thread: Some(thread) }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn errors(url: &str, streams: usize, tokens: u32, stamp: StampSource) -> Errors {
    let target = Target { tokens, ..Target::new(url) };
    let records = run(&target, Plan { stamp, ..Plan::closed(streams) });
    assert!(records.iter().all(RequestRecord::is_ok));
    Errors::of(&records)
}

/// The gate itself, 60 µs, is shown in the README and by the suite `stream`, on a quiet machine.
#[test]
fn gaps_are_measured_to_the_microsecond_under_load() {
    let source = Source::start(EmitterOptions::default());
    let errors = errors(&source.url, 512, 60, StampSource::Kernel);
    let p50_us = errors.gap_us.percentile(0.5).unwrap();
    assert!(p50_us <= 20.0, "{p50_us} µs");
}

#[test]
fn our_own_stamps_are_told_apart() {
    let source = Source::start(EmitterOptions::default());
    let drive = |stamp| {
        let plan = Plan { stamp, ..Plan::closed(4) };
        let drive = Drive::new(&Target::new(&*source.url), plan).unwrap();
        let records = runtime().block_on(drive.work(0)).unwrap();
        (records, drive.stamps())
    };
    let (records, stamps) = drive(StampSource::User);
    assert_eq!(0, stamps.kernel_reads);
    assert!(records.iter().flat_map(|r| &r.events).all(|event| event.lag_ns == 0));
    let (records, stamps) = drive(StampSource::Kernel);
    assert!(10 * stamps.user_reads <= stamps.kernel_reads, "{stamps:?}");
    assert!(records.iter().flat_map(|r| &r.events).any(|event| 0 < event.lag_ns));
}

/// Two sources that share no code give the same picture.
#[test]
fn the_emitter_and_the_token_source_agree() {
    let ours = Source::start(EmitterOptions { interval: 5 * MS, ..EmitterOptions::default() });
    let theirs = TokenSource::start(Schedule { interval: 5 * MS, ..Schedule::default() }).unwrap();
    let gap_ms = |url: &str| {
        let target = Target { tokens: 100, ..Target::new(url) };
        let records = run(&target, Plan::closed(16));
        let figures = Figures::of(&records, Dialect::Ours, None);
        assert_eq!((1600, 0), (figures.tokens.received, figures.tokens.lost));
        let error_us = Errors::of(&records).gap_us.percentile(0.5).unwrap();
        assert!(error_us <= 100.0, "{error_us} µs");
        figures.icl.percentile(0.5).unwrap()
    };
    for gap_ms in [gap_ms(&ours.url), gap_ms(&theirs.url())] {
        assert!((gap_ms - 5.0).abs() < 0.1, "{gap_ms} ms");
    }
}

/// A server that stands still for two seconds: whoever was due meanwhile waited for the rest of it.
/// With one request each 10 ms and a freeze of 2 of 4 s, the waits are uniform over the freeze:
/// the p90 is that of 50 % zeros and 50 % uniform on (0, 2 s), 1.6 s.
#[test]
fn a_frozen_server_is_not_omitted() {
    let freeze = Some((1000 * MS, 2000 * MS));
    let source = Source::start(EmitterOptions {
        interval: MS,
        ttft: MS,
        scattered: false,
        freeze,
        ..EmitterOptions::default()
    });
    let plan = Plan::open(100.0, Arrival::Constant, 4000 * MS);
    let records = run(&Target { tokens: 1, ..Target::new(&*source.url) }, plan);
    let figures = Figures::of(&records, Dialect::Ours, None);
    assert_eq!(
        (400, 400, 0),
        (figures.requests.planned, figures.requests.ok, figures.requests.not_sent)
    );
    let p90_ms = figures.ttft.percentile(0.9).unwrap();
    assert!((p90_ms / 1600.0 - 1.0).abs() < 0.05, "{p90_ms} ms");
}

/// A client that stands still for a while: what was due meanwhile is sent late, and all of it counts
/// from when it was due. The lag is uniform over the freeze.
#[test]
fn a_frozen_client_is_not_omitted() {
    let source =
        Source::start(EmitterOptions { ttft: MS, scattered: false, ..EmitterOptions::default() });
    let plan = Plan::open(1000.0, Arrival::Constant, 1000 * MS);
    let drive = Drive::new(&Target { tokens: 1, ..Target::new(&*source.url) }, plan).unwrap();
    let records = runtime().block_on(async {
        let freeze = async {
            tokio::time::sleep(500 * MS).await;
            std::thread::sleep(100 * MS);
        };
        let (records, ()) = tokio::join!(drive.work(0), freeze);
        records.unwrap()
    });
    let figures = Figures::of(&records, Dialect::Ours, None);
    assert_eq!((1000, 1000), (figures.requests.planned, figures.requests.ok));
    // One in ten was due during the freeze: the p95 of all is the middle of it, and then the requests
    // that were due before have to be sent first.
    let p95_ms = figures.ttft.percentile(0.95).unwrap();
    assert!((50.0..80.0).contains(&p95_ms), "{p95_ms} ms");
}
