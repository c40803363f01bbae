//! A file over a web at its worst: connections cut and reset, refusals, a flipped bit. What the downloader
//! meets, what it does about it, and that the bytes are right in the end.
//!
//! ```sh
//! cargo run -p download --example bad_web
//! ```

#![expect(clippy::print_stdout, reason = "an example prints")]

use download::{Digest, Downloader, Event, FetchOptions, Job};
use pool::http::{Client, ClientOptions};
use testkit::{Blob, Options, Origin, temp_dir};

const FAULTS: [&str; 5] = [
    "cut#1:at=1MiB",      // the first long answer ends after a mebibyte
    "rst#2..3",           // two more are reset half-way
    "status=503#4..5",    // then the server is busy
    "retry-after=1#8",    // and asks for a second of peace
    "flip#1:at=20000000", // and once one bit is wrong, in bytes that look fine
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (blob, folder) = (Blob::new("model", 48 << 20, 7), temp_dir(&[]));
    let origin = Origin::start(Options { blobs: vec![blob.clone()], ..Options::default() })?;
    let faults: Result<_, _> = FAULTS.iter().map(|rule| rule.parse()).collect();
    let faults = faults?;
    origin.update(|settings| settings.faults = faults);

    let client = Client::new(ClientOptions::default());
    let downloader = Downloader::new(client, FetchOptions::default());
    let job = Job {
        digest: Some(Digest::sha256(&blob.digests().sha256)?),
        ..Job::new(origin.url("model").parse()?, folder.path().join("model"))
    };
    let fetched = downloader
        .fetch(&job, |event| match event {
            Event::Plan { bytes, fetch_bytes } => println!("{fetch_bytes} of {bytes} B to fetch"),
            Event::Retry { wait, reason, .. } => println!("again in {wait:.0?}: {reason}"),
            Event::Restart { reason, .. } => println!("from the beginning: {reason}"),
            _ => {}
        })
        .await?;

    let met = origin.stats().faults;
    println!("faults met: {met:?}");
    println!(
        "{} B are here, {} B came over the network, held against its {:?}",
        fetched.bytes, fetched.fetched_bytes, fetched.verified
    );
    Ok(())
}
