//! A model hub that the real client accepts.

mod catalog;
mod describe;
mod pages;
mod quota;
mod refusal;
mod route;
mod serve;
mod signed;

use std::sync::Arc;
use std::time::Instant;

pub(crate) use catalog::Catalog;
pub use describe::{HubContent, HubFile, HubOptions, HubRateLimit, HubRepo};
pub(crate) use serve::{Cdn, Routes};
pub(crate) use signed::Signer;

use crate::origin::{Options, Origin};
use crate::service::StartError;

/// A hub on a free port of 127.0.0.1, and beside it, on one of 127.0.0.2, the content network to which it
/// sends those who want large files.
///
/// Speaks what `huggingface_hub` speaks: `GET /api/models/ID[/revision/REV]`, the paged
/// `GET /api/models/ID/tree/REV[/FOLDER]` with `Link: …; rel="next"`, `GET /api/models/ID/refs`, and HEAD and GET of
/// `/ID/resolve/REV/PATH`, all with the headers of the real hub. Small files are redirected to a path of the
/// same origin, those of `lfs` to a signed URL of the other one, which expires. Names are served as they
/// are given, hostile ones too: it is the client's part to refuse them.
///
/// Errors carry `X-Error-Code`: `RepoNotFound`, `RevisionNotFound`, `EntryNotFound`, `GatedRepo`. A repository
/// that is gated tells its files to everybody and gives them to those with its token; one with a token
/// that is not gated is private, and there for nobody else. Above the rate limit, 429 with `RateLimit`.
///
/// There is no Xet: neither header nor hash speaks of it, so clients use HTTP.
///
/// **Cost**: a listing of 100 000 files takes no storage but their names; the digests of a blob are
/// computed when it is first listed or resolved, at about 0.5 GB/s.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use testkit::{Hub, HubFile, HubOptions, HubRepo};
///
/// let commit = "1".repeat(40);
/// let repo = HubRepo::new("org/tiny", &commit)
///     .with(HubFile::text("config.json", "{}"))
///     .with(HubFile::blob("model.safetensors", 1_000_000, 7));
/// let hub = Hub::start(HubOptions { repos: vec![repo], ..HubOptions::default() })?;
///
/// let mut connection = std::net::TcpStream::connect(hub.origin().address())?;
/// let path = "/org/tiny/resolve/main/model.safetensors";
/// write!(connection, "HEAD {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n")?;
/// let mut reply = String::new();
/// connection.read_to_string(&mut reply)?;
/// assert!(reply.contains(&format!("X-Repo-Commit: {commit}\r\n")));
/// assert!(reply.contains("X-Linked-Size: 1000000\r\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Hub {
    origin: Origin,
}

impl Hub {
    /// Starts a hub. Dropping it stops it.
    ///
    /// # Errors
    ///
    /// When the description makes no sense (a name that no hub has, a commit that is none, no page size), or the
    /// system has no port or thread to give.
    pub fn start(options: HubOptions) -> Result<Self, StartError> {
        let origin = Origin::start(Options { hub: Some(options), ..Options::default() })?;
        Ok(Self { origin })
    }

    /// Returns `http://127.0.0.1:PORT`, for `HF_ENDPOINT`.
    #[must_use]
    pub fn url(&self) -> String {
        self.origin.url("")
    }

    /// Returns the origin of the hub, with its statistics, settings and faults.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the origin of the content network; `None` where the hub serves large files itself.
    #[must_use]
    pub fn cdn(&self) -> Option<&Origin> {
        self.origin.cdn()
    }
}

/// What both origins of a hub need.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) catalog: Catalog,
    pub(crate) signer: Signer,
    pub(crate) started: Instant,
}

impl Core {
    pub(crate) fn new(options: HubOptions, seed: u64) -> Result<Arc<Self>, String> {
        let signer = Signer::new(seed, options.signed_ttl);
        let catalog = Catalog::new(options.repos)?;
        Ok(Arc::new(Self { catalog, signer, started: Instant::now() }))
    }
}
