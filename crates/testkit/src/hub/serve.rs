//! The two origins of a hub: routes of the hub itself, and signed URLs of its content network.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Core;
use super::catalog::{Stored, StoredFile};
use super::describe::{HubOptions, HubRateLimit};
use super::pages::{Listing, capitalize, sibling};
use super::quota::{Left, Quota};
use super::refusal::Refusal;
use super::route::Route;
use crate::origin::{Answer, Handler, Reply, Request, percent_decoded, percent_encoded};

/// The routes of a hub.
#[derive(Debug)]
pub(crate) struct Routes {
    pub(crate) core: Arc<Core>,
    page_size: usize,
    upper_case_digests: bool,
    limit: Option<HubRateLimit>,
    quota: Mutex<Quota>,
    /// Where large files lie, without a slash at the end; here, if `None`.
    pub(crate) cdn: Option<String>,
}

/// The content network of a hub.
#[derive(Debug)]
pub(crate) struct Cdn(pub(crate) Arc<Core>);

/// What was found at a path, before it is made an answer.
type Found<'a> = Result<Answer, Refusal<'a>>;

impl Handler for Routes {
    fn answer(&self, request: &Request) -> Option<Answer> {
        let route = Route::parse(&request.path)?;
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            let reply = Reply::text(405, "a hub is read only").with("Allow", "GET, HEAD");
            return Some(replied(reply));
        }
        let left = self.limit.map(|limit| (limit, self.quota.lock().take(limit, self.uptime())));
        if let Some((limit, left)) = left.filter(|(_, left)| !left.granted) {
            let reply = Reply::text(429, "too many requests: wait for the next window");
            return Some(tell(replied(reply), limit, left));
        }
        let answer = self.find(request, &route).unwrap_or_else(|refusal| replied(refusal.reply()));
        Some(match left {
            Some((limit, left)) => tell(answer, limit, left),
            None => answer,
        })
    }
}

impl Routes {
    /// Makes a hub that serves large files itself.
    pub(crate) fn new(options: HubOptions, seed: u64) -> Result<Self, String> {
        let (page_size, limit) = (options.page_size, options.rate_limit);
        if page_size == 0 {
            return Err("a page of 0 entries never comes to an end".to_owned());
        }
        let upper_case_digests = options.upper_case_digests;
        let core = Core::new(options, seed)?;
        let quota = Mutex::default();
        Ok(Self { core, page_size, upper_case_digests, limit, quota, cdn: None })
    }

    fn uptime(&self) -> Duration {
        self.core.started.elapsed()
    }

    fn find(&self, request: &Request, route: &Route) -> Found<'_> {
        match route {
            Route::Revision { repo, revision } => {
                let repo = self.open(request, repo)?;
                let commit = match revision {
                    Some(revision) => repo.commit(revision),
                    None => repo.head(),
                };
                Ok(json_of(&about(request, repo, commit.ok_or(Refusal::NoRevision)?)))
            }
            Route::Refs { repo } => Ok(json_of(&refs(self.open(request, repo)?))),
            Route::Tree { repo, revision, folder } => {
                self.tree(request, self.open(request, repo)?, revision, folder)
            }
            Route::Resolve { repo, revision, path } => {
                let (repo, commit, file) = self.file(request, (repo, revision, path))?;
                Ok(self.resolve(repo, commit, path, file))
            }
            Route::Cached { repo, commit, path } => {
                let (_, commit, file) = self.file(request, (repo, commit, path))?;
                Ok(Answer::Object(file.object(), vec![("X-Repo-Commit", commit.to_owned())]))
            }
        }
    }

    /// Finds a repository that the reader may know of.
    fn open(&self, request: &Request, id: &str) -> Result<&Stored, Refusal<'_>> {
        let anonymous = request.header("authorization").is_none();
        let repo = self.core.catalog.repo(id).ok_or(Refusal::NoRepo { anonymous: false })?;
        let is_private = repo.token.is_some() && !repo.gated;
        if is_private && !presents_token(request, repo) {
            return Err(Refusal::NoRepo { anonymous });
        }
        Ok(repo)
    }

    /// Finds a file that the reader may read.
    fn file(
        &self,
        request: &Request,
        (id, revision, path): (&str, &str, &str),
    ) -> Result<(&Stored, &str, &StoredFile), Refusal<'_>> {
        let repo = self.open(request, id)?;
        if repo.gated && !presents_token(request, repo) {
            return Err(Refusal::Gated { anonymous: request.header("authorization").is_none() });
        }
        let commit = repo.commit(revision).ok_or(Refusal::NoRevision)?;
        let file = repo.files.get(path).ok_or(Refusal::NoEntry { commit })?;
        Ok((repo, commit, file))
    }

    fn tree<'a>(
        &'a self,
        request: &Request,
        repo: &'a Stored,
        revision: &str,
        folder: &str,
    ) -> Found<'a> {
        let commit = repo.commit(revision).ok_or(Refusal::NoRevision)?;
        if !folder.is_empty() && !repo.folders.contains(folder) {
            return Err(Refusal::NoEntry { commit });
        }
        let mut page = Listing::of(request).page(repo, folder, self.page_size);
        if self.upper_case_digests {
            capitalize(&mut page.entries);
        }
        let mut reply = Reply::json(200, &Value::Array(page.entries));
        if let Some(query) = page.next {
            let host = request.header("host").unwrap_or_default();
            let link = format!("<http://{host}{}?{query}>; rel=\"next\"", request.path);
            reply = reply.with("Link", link);
        }
        Ok(replied(reply))
    }

    /// Says where a file is, with all that is to be known of it: the reader may stop there.
    fn resolve(&self, repo: &Stored, commit: &str, path: &str, file: &StoredFile) -> Answer {
        let etag = format!("\"{}\"", file.etag());
        let size = file.size().to_string();
        let path = percent_encoded(path);
        let (status, location) = match &self.cdn {
            _ if !file.lfs => (
                307,
                format!(
                    "/api/resolve-cache/models/{}/{commit}/{path}?etag=%22{}%22",
                    repo.id,
                    file.etag()
                ),
            ),
            Some(cdn) => {
                let path = format!("/{}/{commit}/{path}", repo.id);
                (302, format!("{cdn}{path}?{}", self.core.signer.sign(&path, self.uptime())))
            }
            None => {
                let headers = vec![
                    ("X-Repo-Commit", commit.to_owned()),
                    ("X-Linked-Size", size),
                    ("X-Linked-Etag", etag),
                ];
                return Answer::Object(file.object(), headers);
            }
        };
        let reply = Reply::text(status, format!("it is at {location}"))
            .with("Location", location)
            .with("X-Repo-Commit", commit)
            .with("X-Linked-Size", size)
            .with("X-Linked-Etag", etag)
            .with("Accept-Ranges", "bytes");
        replied(reply)
    }
}

impl Handler for Cdn {
    fn answer(&self, request: &Request) -> Option<Answer> {
        if !self.0.signer.is_good(request, self.0.started.elapsed()) {
            return Some(replied(Reply::text(403, "the signature is missing, wrong or expired")));
        }
        // The hub made this path: ID/COMMIT/PATH, where the commit tells how long the id is.
        let path = percent_decoded(request.path.strip_prefix('/')?)?;
        let file = path.match_indices('/').skip(1).take(2).find_map(|(slash, _)| {
            let (head, path) = (&path[..slash], &path[slash + 1..]);
            let (id, commit) = head.rsplit_once('/')?;
            let repo = self.0.catalog.repo(id)?;
            repo.commit(commit).and_then(|_| repo.files.get(path))
        })?;
        Some(Answer::Object(file.object(), Vec::new()))
    }
}

fn replied(reply: Reply) -> Answer {
    Answer::Reply(Box::new(reply))
}

fn json_of(value: &Value) -> Answer {
    replied(Reply::json(200, value))
}

/// Tells what is left of the quota, as draft-ietf-httpapi-ratelimit-headers has it.
fn tell(answer: Answer, limit: HubRateLimit, left: Left) -> Answer {
    let HubRateLimit { quota, window } = limit;
    let Left { requests, seconds, .. } = left;
    let remaining = format!("\"api\";r={requests};t={seconds}");
    let policy = format!("\"fixed window\";\"api\";q={quota};w={}", window.as_secs());
    let told = [("RateLimit", remaining), ("RateLimit-Policy", policy)];
    match answer {
        Answer::Object(object, mut headers) => {
            headers.extend(told);
            Answer::Object(object, headers)
        }
        Answer::Reply(reply) => {
            let told = told.into_iter();
            replied(told.fold(*reply, |reply, (name, value)| reply.with(name, value)))
        }
        // A hub has none.
        Answer::Stream => Answer::Stream,
    }
}

fn presents_token(request: &Request, repo: &Stored) -> bool {
    let presented = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    presented.is_some() && presented == repo.token.as_deref()
}

/// A repository, told as the real hub does.
fn about(request: &Request, repo: &Stored, commit: &str) -> Value {
    let blobs =
        request.parameter("blobs").is_some_and(|value| matches!(value, "true" | "True" | "1"));
    let siblings: Vec<_> =
        repo.files.iter().map(|(path, file)| sibling(path, file, blobs)).collect();
    let gated = if repo.gated { json!("auto") } else { json!(false) };
    json!({
        "_id": &commit[..24], "id": repo.id, "modelId": repo.id,
        "author": repo.id.split_once('/').map(|(author, _)| author),
        "sha": commit, "lastModified": "2026-01-01T00:00:00.000Z",
        "createdAt": "2026-01-01T00:00:00.000Z",
        "private": repo.token.is_some() && !repo.gated, "gated": gated, "disabled": false,
        "downloads": 0, "likes": 0, "tags": [], "siblings": siblings, "spaces": [],
    })
}

fn refs(repo: &Stored) -> Value {
    let branch = |(name, commit): (&String, &String)| {
        let name_in_git = format!("refs/heads/{name}");
        json!({"name": name, "ref": name_in_git, "targetCommit": commit})
    };
    let branches: Vec<_> = repo.revisions().iter().map(branch).collect();
    json!({"branches": branches, "tags": [], "converts": []})
}
