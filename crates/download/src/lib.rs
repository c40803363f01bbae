//! Is the whole file here, and is it the right one.
//!
//! # The guarantee
//!
//! `published ⇒ verified`: what stands at its final path has the digest that was asked for, or, where
//! none is known, the exact length, and is then reported as such. Killed, cut off or restarted at any
//! instant, a transfer goes on where it was and never mixes two objects.
//!
//! # When to use it, and when not
//!
//! Use it for large files and whole model repositories that must arrive complete and right, on links
//! that stall and servers that change their mind. For one small request an HTTP client is simpler.
//!
//! # What is here
//!
//! **Models.** [`Models`] brings repositories of a [`Hub`] into a [`Cache`], laid out as the hub's own
//! libraries expect it, or into folders; [`ModelLine`] brings many of them in turn, and a
//! [`ModelJournal`] lets that outlive the process. [`Roster`] and [`Locked`] are the files that people
//! write and keep: `models.toml` and `model.lock`. [`verify`], [`list`] and [`collect`] look after what
//! is here.
//!
//! **Files.** [`Downloader`] fetches one file, or many in turn. [`FetchOptions`] are its limits:
//! connections, files, memory, rate, patience; a [`Job`], and what [`Models::limited`] returns, may have a rate
//! of its own. Its decisions are pure, read no clock and open nothing,
//! and can be used alone: [`Parts`] says what to fetch next, [`Ledger`] what is here, [`ContentRange`]
//! whether an answer is the one asked for, [`Validator`] whether it is still the same object, [`Route`]
//! how far to follow redirects, [`Backoff`] when to try again, [`Quota`] what a server has left for us.
//!
//! # Example
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use download::{Digest, Downloader, FetchOptions, Job};
//! use pool::http::{Client, ClientOptions};
//!
//! let downloader = Downloader::new(Client::new(ClientOptions::default()), FetchOptions::default());
//! let job = Job {
//!     digest: Some(Digest::sha256(&"ab".repeat(32))?),
//!     ..Job::new("http://127.0.0.1:8000/model.safetensors".parse()?, "model.safetensors")
//! };
//! let fetched = downloader.fetch(&job, |event| println!("{event:?}")).await?;
//! println!("{} bytes of {:?}, {:?}", fetched.bytes, fetched.digest, fetched.how);
//! # Ok(()) }
//! ```
//!
//! # Features
//!
//! - `tls`: `https`, by `pool`'s feature of that name.
//! - `cli`: the program `download`.

#![forbid(unsafe_code)]

mod ask;
mod digest;
mod error;
mod fleet;
mod hasher;
mod history;
mod hub;
mod job;
mod journal;
mod ledger;
mod local;
mod model;
mod names;
mod parts;
mod pressure;
mod publisher;
mod range;
mod redirect;
mod retry;
mod seam;
mod site;
mod store;
mod traffic;
mod transfer;
mod validator;

pub use digest::{Digest, DigestError};
pub use error::{Error, ErrorKind, told};
pub use history::{History, Learnt, ORIGINS_MAX};
pub use hub::{
    Commit, Entry, Hub, HubOptions, IdError, Refusal, RepoId, Revision, Token, TokenError,
    TokenScope,
};
pub use job::{Event, FetchOptions, Fetched, How, Job, Verified};
pub use ledger::Ledger;
pub use model::{
    Cache, CachedModel, CachedRevision, Ensured, FilePath, Finding, FindingFault, Gc, GcOptions,
    Glob, LineSnapshot, LockFileError, Locked, LockedModel, ModelEvent, ModelJournal, ModelLine,
    ModelLineOptions, ModelSource, ModelSpec, ModelTicket, Models, ModelsOptions, NameError,
    NameFault, Pinned, Priority, Removal, RepoFolder, Roster, RosterError, SelectError, Selection,
    Verification, Wanted, WantedFile, check_together, collect, link_text, list, verify,
};
pub use parts::{Arrival, FEEDERS, Flight, Next, Parts, PartsOptions};
pub use range::{ByteRange, ContentRange, RangeMismatch};
pub use redirect::{HOPS_MAX, RedirectError, Route, origin};
pub use retry::{Backoff, Patience, Quota, RETRY_AFTER_MAX, retry_after};
pub use traffic::Traffic;
pub use transfer::Downloader;
pub use validator::{Changed, Validator};

/// The types of headers, as hyper has them.
pub use hyper::header as headers;
/// The type of addresses.
pub use url::Url;

/// The example of the README is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
