//! Asks a hub what there is.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt, Full};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response};
use pool::http::Body;
use serde::Deserialize;
use url::Url;

use super::id::{Commit, RepoId, Revision};
use super::token::{Token, TokenScope};
use super::tree::{self, Entry};
use crate::ask::{self, Failure};
use crate::error::{Error, ErrorKind, told};
use crate::job::{Event, Tell};
use crate::redirect::{Route, origin};
use crate::retry::Backoff;
use crate::seam;
use crate::transfer::Downloader;

/// Metadata of one answer, unpacked: a page of a thousand entries has some 300 KB.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Pages of one listing: of a thousand files on the real hub, of fifty at least elsewhere.
const PAGES_MAX: usize = 40_000;
/// Files of one commit; the largest repositories of hubs have some hundred thousand.
const ENTRIES_MAX: usize = 2_000_000;

/// Which hub, and as whom.
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// Its address, such as `https://huggingface.co`.
    pub endpoint: Url,
    /// Sent to the origin of the endpoint and to nobody else.
    pub token: Option<Token>,
    /// More headers for that origin.
    pub headers: HeaderMap,
    /// Whether metadata may come compressed. Files never do.
    pub compression: bool,
}

impl HubOptions {
    /// A hub at this address, asked as nobody.
    #[must_use]
    pub fn new(endpoint: Url) -> Self {
        Self { endpoint, token: None, headers: HeaderMap::new(), compression: true }
    }
}

/// A hub that speaks the interface of Hugging Face. Clones are handles to the same.
///
/// Shares the client of a [`Downloader`], what that knows of each origin's patience, and its counters.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use download::{Downloader, FetchOptions, Hub, HubOptions};
///
/// let client = pool::http::Client::new(Default::default());
/// let downloader = Downloader::new(client, FetchOptions::default());
/// let hub = Hub::new(downloader, HubOptions::new("http://127.0.0.1:8000".parse()?));
/// let repo = "org/tiny".parse()?;
/// let commit = hub.commit(&repo, &"main".parse()?).await?;
/// println!("{} files", hub.files(&repo, &commit).await?.len());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Hub {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    downloader: Downloader,
    options: HubOptions,
    scope: TokenScope,
}

/// The part of a repository's description that is needed.
#[derive(Deserialize)]
struct About {
    sha: String,
}

impl Hub {
    /// Returns a hub that is asked over the client of a downloader.
    #[must_use]
    pub fn new(downloader: Downloader, options: HubOptions) -> Self {
        let scope = TokenScope::new(options.endpoint.clone(), options.token.clone());
        Self { inner: Arc::new(Inner { downloader, options, scope }) }
    }

    pub(crate) fn downloader(&self) -> &Downloader {
        &self.inner.downloader
    }

    /// Asks which commit a revision stands for now: one request.
    ///
    /// # Errors
    ///
    /// [`Error`], of the kinds `NotFound`, `Gated`, `NotAllowed` and `Network`; after as many attempts as
    /// the downloader's patience allows.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn commit(&self, repo: &RepoId, revision: &Revision) -> Result<Commit, Error> {
        self.commit_telling(repo, revision, &|_| {}).await
    }

    /// The same; `tell` is called with what delays it.
    pub(crate) async fn commit_telling(
        &self,
        repo: &RepoId,
        revision: &Revision,
        tell: Tell<'_>,
    ) -> Result<Commit, Error> {
        let url = self.url("api/models", repo, &["revision", revision.as_str()]);
        let told = |error: Error| error.of(&format!("{repo}@{revision}"));
        let (json, _) = self.get(url, tell).await.map_err(told)?;
        let about: About = serde_json::from_slice(&json).map_err(|error| {
            told(Error::new(ErrorKind::Network, "the hub sent no description").because(error))
        })?;
        let wrong =
            |error| Error::new(ErrorKind::Integrity, "the hub names no commit").because(error);
        about.sha.parse().map_err(|error: super::IdError| told(wrong(error)))
    }

    /// Asks for all files of a commit: one request per page, a thousand files each on the real hub.
    ///
    /// Their names are as the hub gives them: to be checked before they are used.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit); `Integrity` when a digest is none, the listing leads to another
    /// origin, or has more than two million files.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the pages that came.
    pub async fn files(&self, repo: &RepoId, commit: &Commit) -> Result<Vec<Entry>, Error> {
        self.files_telling(repo, commit, &|_| {}).await
    }

    /// The same; `tell` is called with what delays it.
    pub(crate) async fn files_telling(
        &self,
        repo: &RepoId,
        commit: &Commit,
        tell_delay: Tell<'_>,
    ) -> Result<Vec<Entry>, Error> {
        let mut url = self.url("api/models", repo, &["tree", commit.as_str()]);
        url.query_pairs_mut().append_pair("recursive", "true").append_pair("expand", "false");
        let told = |error: Error| error.of(repo.as_str());
        let mut entries = Vec::new();
        for _ in 0..PAGES_MAX {
            let (json, headers) = self.get(url.clone(), tell_delay).await.map_err(told)?;
            let page = tree::read_page(&json).map_err(|error| {
                told(
                    Error::new(ErrorKind::Integrity, "its list of files is refused").because(error),
                )
            })?;
            entries.extend(page);
            let link = headers.get(header::LINK).and_then(|link| link.to_str().ok());
            let Some(next) = link.and_then(|link| tree::next_page(link, &url)) else {
                return Ok(entries);
            };
            if !self.inner.scope.holds(&next) {
                let message = "the list of files goes on at another server, which is not asked";
                return Err(told(Error::new(ErrorKind::Integrity, message)));
            }
            if ENTRIES_MAX < entries.len() {
                break;
            }
            url = next;
        }
        Err(told(Error::new(ErrorKind::Integrity, "the list of files does not end")))
    }

    /// Where a file of a commit is asked for, and what goes along.
    pub(crate) fn file(&self, repo: &RepoId, commit: &Commit, path: &str) -> (Url, HeaderMap) {
        let mut url = self.url("", repo, &["resolve", commit.as_str()]);
        push(&mut url, path.split('/'));
        let headers = self.headers(&url);
        (url, headers)
    }

    /// Where a file beneath an address is asked for, and what goes along: nothing, unless it is of the
    /// hub's own origin.
    pub(crate) fn web_file(&self, url: &Url, path: &str) -> (Url, HeaderMap) {
        let mut url = url.clone();
        push(&mut url, path.split('/'));
        let headers = self.headers(&url);
        (url, headers)
    }

    fn url(&self, prefix: &str, repo: &RepoId, rest: &[&str]) -> Url {
        let mut url = self.inner.options.endpoint.clone();
        url.set_query(None);
        url.set_fragment(None);
        push(&mut url, prefix.split('/').filter(|part| !part.is_empty()));
        push(&mut url, repo.as_str().split('/'));
        push(&mut url, rest.iter().copied());
        url
    }

    fn headers(&self, url: &Url) -> HeaderMap {
        let Inner { options, scope, .. } = &*self.inner;
        if !scope.holds(url) {
            return HeaderMap::new();
        }
        let mut headers = options.headers.clone();
        headers.extend(scope.headers(url));
        headers
    }

    /// Asks for metadata until it comes or patience ends.
    async fn get(&self, url: Url, tell: Tell<'_>) -> Result<(Bytes, HeaderMap), Error> {
        let patience = self.inner.downloader.inner.options.patience;
        let mut backoff = Backoff::new(patience);
        loop {
            let (wish, error) = match self.get_once(&url, tell).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Transient { wish, error }) => (wish, error),
                Err(Failure::Unmarked(error)) => (None, error),
                Err(Failure::Fatal(error) | Failure::BadRange(error)) => return Err(error),
                Err(Failure::Changed(changed)) => {
                    let error =
                        Error::new(ErrorKind::Network, "the answer changed").because(changed);
                    (None, error)
                }
            };
            let Some(wait) = backoff.next(seam::chance(), wish) else { return Err(error) };
            let Inner { downloader, .. } = &*self.inner;
            let wait = wait.max(downloader.inner.sites.of(&origin(&url)).left_alone());
            downloader.inner.counters.retries.add(1);
            tell(Event::Retry { attempt: backoff.attempts(), wait, reason: told(&error) });
            tokio::time::sleep(wait).await;
        }
    }

    async fn get_once(&self, url: &Url, tell: Tell<'_>) -> Result<(Bytes, HeaderMap), Failure> {
        let mut route = Route::new(url.clone());
        loop {
            let reply = self.send(&route, tell).await?;
            if ask::is_redirect(reply.status()) {
                let location = ask::text(reply.headers(), header::LOCATION);
                route.follow(location).map_err(|error| Failure::Fatal(error.into()))?;
                continue;
            }
            let (head, body) = reply.into_parts();
            if !head.status.is_success() {
                return Err(ask::refused(head.status, &head.headers));
            }
            let bytes = collect(body).await?;
            return Ok((unpack(bytes, &head.headers)?, head.headers));
        }
    }

    async fn send(&self, route: &Route, tell: Tell<'_>) -> Result<Response<Body>, Failure> {
        let inner = &self.inner.downloader.inner;
        let url = route.url();
        let mut request = Request::get(url.as_str()).body(Full::default()).map_err(|error| {
            Failure::Fatal(
                Error::new(ErrorKind::Other, "the address cannot be asked").because(error),
            )
        })?;
        let headers = request.headers_mut();
        if route.keeps_credentials() {
            *headers = self.headers(url);
        }
        ask::introduce(headers);
        let encoding = if self.inner.options.compression { "gzip" } else { "identity" };
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding));
        let site = inner.sites.of(&origin(url));
        let question = site.turn(|wait| tell(Event::Held { wait })).await;
        inner.counters.requests.add(1);
        let mut reply = inner.client.send(request).await.map_err(ask::no_reply)?;
        question.answered(ask::quota(&reply), ask::wanted_pause(&reply));
        ask::read_aside(&mut reply).await;
        Ok(reply)
    }
}

fn push(url: &mut Url, parts: impl Iterator<Item: AsRef<str>>) {
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(parts);
    }
}

async fn collect(mut body: Body) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::Transient {
            wish: None,
            error: Error::new(ErrorKind::Network, "the answer broke off").because(error),
        })?;
        let Ok(data) = frame.into_data() else { continue };
        bytes.extend_from_slice(&data);
        if ANSWER_BYTES_MAX < bytes.len() as u64 {
            return Err(too_long());
        }
    }
    Ok(bytes.into())
}

fn too_long() -> Failure {
    let message = format!("the hub's answer has more than {ANSWER_BYTES_MAX} B");
    Failure::Fatal(Error::new(ErrorKind::Integrity, message))
}

/// Undoes the compression of metadata, which may grow to no more than an answer may have.
fn unpack(bytes: Bytes, headers: &HeaderMap) -> Result<Bytes, Failure> {
    match ask::text(headers, header::CONTENT_ENCODING).unwrap_or("identity") {
        "identity" => Ok(bytes),
        "gzip" | "x-gzip" => {
            let mut plain = Vec::new();
            let unpacked =
                MultiGzDecoder::new(&*bytes).take(ANSWER_BYTES_MAX + 1).read_to_end(&mut plain);
            let broken = |error| Failure::Transient {
                wish: None,
                error: Error::new(ErrorKind::Network, "the answer is packed wrongly")
                    .because(error),
            };
            if ANSWER_BYTES_MAX < unpacked.map_err(broken)? as u64 {
                return Err(too_long());
            }
            Ok(plain.into())
        }
        other => {
            let message = format!("the hub packs its answer as {other:?}, which was not asked for");
            Err(Failure::Fatal(Error::new(ErrorKind::Network, message)))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(encoding: &'static str, bytes: Vec<u8>) -> Result<Bytes, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        unpack(bytes.into(), &headers)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn metadata_is_unpacked() {
        assert_eq!(b"[]"[..], packed("gzip", gzip(b"[]")).unwrap()[..]);
        assert_eq!(b"[]"[..], packed("identity", b"[]".to_vec()).unwrap()[..]);
        assert!(matches!(packed("gzip", b"[]".to_vec()), Err(Failure::Transient { .. })));
        assert!(matches!(packed("br", b"[]".to_vec()), Err(Failure::Fatal(_))));
    }

    #[test]
    fn a_bomb_is_not_unpacked_whole() {
        let bomb = gzip(&vec![0; ANSWER_BYTES_MAX as usize + 1]);
        assert!(bomb.len() < 1 << 20);
        assert!(matches!(packed("gzip", bomb), Err(Failure::Fatal(_))));
    }
}
