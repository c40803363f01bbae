//! A model, from the first question to the last name.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use limiter::Limiter;
use parking_lot::Mutex;

use super::bring::{Piece, Visit, disk_error, pieces};
use super::check::{self, Found, Place};
use super::event::{Ensured, ModelEvent, TellModel};
use super::flights::{Flights, Index};
use super::layout::Cache;
use super::manifest;
use super::prepare::Prepared;
use super::records::Records;
use super::select::sum;
use super::spec::{ModelSource, ModelSpec};
use super::usage;
use super::verify::{self, FolderOrigin};
use crate::error::{Error, ErrorKind};
use crate::fleet::{Turn, in_turn};
use crate::hub::{Entry, Hub};
use crate::job::{Fetched, How, Verified};
use crate::seam::disk;

/// A revision's file holds a commit.
pub(super) const REFERENCE_BYTES_MAX: u64 = 256;
/// Where models are kept.
#[derive(Clone, Debug)]
pub struct ModelsOptions {
    /// The cache.
    pub cache: Cache,
    /// Nobody is asked: what is here is enough, or it is an error.
    pub offline: bool,
}

/// Brings models of a hub into a cache, or into folders. Clones are handles to the same.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use download::{Cache, Downloader, FetchOptions, Hub, HubOptions, Models, ModelsOptions};
///
/// let downloader = Downloader::new(pool::http::Client::new(Default::default()), FetchOptions::default());
/// let hub = Hub::new(downloader, HubOptions::new("http://127.0.0.1:8000".parse()?));
/// let models = Models::new(hub, ModelsOptions { cache: Cache::new("models"), offline: false });
/// let here = models.ensure(&"org/tiny@v1".parse()?, |event| println!("{event:?}")).await?;
/// println!("{} B in {}", here.bytes, here.path.display());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Models {
    pub(crate) inner: Arc<Inner>,
    limiter: Option<Limiter>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) hub: Hub,
    pub(crate) options: ModelsOptions,
    pub(crate) flights: Flights,
    pub(crate) index: Index,
    /// Bytes that plans have set aside and whose files have not begun.
    pub(super) promised_bytes: Mutex<u64>,
}

impl Models {
    /// Returns a keeper of models; nothing is created before it is needed.
    #[must_use]
    pub fn new(hub: Hub, options: ModelsOptions) -> Self {
        let (flights, index) = (Flights::default(), Index::default());
        let inner = Inner { hub, options, flights, index, promised_bytes: Mutex::default() };
        Self { inner: Arc::new(inner), limiter: None }
    }

    /// Returns a handle to the same, and what it brings is held to this limiter in place of
    /// [`FetchOptions::limiter`](crate::FetchOptions::limiter); a [child](Limiter::child) of that stays below
    /// both. Repairs are held to that alone.
    #[must_use]
    pub fn limited(&self, limiter: Limiter) -> Self {
        Self { inner: Arc::clone(&self.inner), limiter: Some(limiter) }
    }

    /// Returns the cache.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.inner.options.cache
    }

    /// Sees to it that a model is here, whole and right; `tell` is called with what happens meanwhile.
    ///
    /// A revision is looked up with one request, a commit that is not known yet with one per thousand
    /// files, each file that is missing with one more. Files that were verified before count as long as
    /// length, inode and time of change are the same; others are hashed. Settings and tokenizer come
    /// before the weights. A file gets its name in the snapshot when its bytes are verified, and the
    /// revision, if it was looked up, is noted when all are here. A cache that may only be read will do for a model that is in it.
    ///
    /// # Errors
    ///
    /// [`Error`], the gravest where several files failed; the others are told as
    /// [`ModelEvent::Failed`]. What came stays, and the next call goes on from there.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends all transfers soon; what was written is kept for the next call.
    pub async fn ensure(
        &self,
        spec: &ModelSpec,
        tell: impl Fn(ModelEvent) + Send + Sync + 'static,
    ) -> Result<Ensured, Error> {
        let tell: TellModel = Arc::new(tell);
        let done = async {
            let delay = |event| tell(ModelEvent::Delay(event));
            let prepared = self.prepare_noting(spec, &delay).await?;
            let create = || self.create(&prepared.place);
            let held = usage::hold(&prepared.place.ours(), create).await;
            let _held = held.map_err(disk_error("cannot use the folder of the model"))?;
            self.carry_out(prepared, tell).await
        };
        done.await.map_err(|error: Error| named(error, spec))
    }

    /// Says what [`ensure`](Self::ensure) would do, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`ensure`](Self::ensure).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn plan(
        &self,
        spec: &ModelSpec,
        tell: impl Fn(ModelEvent) + Send + Sync + 'static,
    ) -> Result<Ensured, Error> {
        let done = async {
            let delay = |event| tell(ModelEvent::Delay(event));
            let prepared = self.prepare(spec, self.inner.options.offline, &delay).await?;
            let records = Records::load(&prepared.place.ours());
            let found = check::look(&prepared.place, &records, prepared.wanted.files.clone());
            self.tell_plan(&prepared, &found, &tell);
            Ok(ensured(&prepared, found.whole.len()))
        };
        done.await.map_err(|error: Error| named(error, spec))
    }

    /// The model, if all of it is here by what was last known; nobody is asked.
    pub(crate) async fn find(&self, spec: &ModelSpec) -> Option<Ensured> {
        let prepared = self.prepare(spec, true, &|_| {}).await.ok()?;
        let records = Records::load(&prepared.place.ours());
        let found = check::look(&prepared.place, &records, prepared.wanted.files.clone());
        let is_whole = found.missing.is_empty() && found.unnamed.is_empty();
        is_whole.then(|| ensured(&prepared, found.whole.len()))
    }

    async fn carry_out(&self, prepared: Prepared, tell: TellModel) -> Result<Ensured, Error> {
        let prepared = Arc::new(prepared);
        let looked = Arc::clone(&prepared);
        let look = move || {
            let records = Records::load(&looked.place.ours());
            let found = check::look(&looked.place, &records, looked.wanted.files.clone());
            (records, found)
        };
        let looked = tokio::task::spawn_blocking(look).await;
        let died = |error| Error::new(ErrorKind::Other, "the looking thread died").because(error);
        let (records, found) = looked.map_err(|error: tokio::task::JoinError| died(error))?;
        self.tell_plan(&prepared, &found, &*tell);
        let done = ensured(&prepared, found.whole.len());
        for file in &found.whole {
            tell(ModelEvent::File { path: file.path.to_string(), fetched: unchanged(file) });
        }
        let is_whole = found.missing.is_empty() && found.unnamed.is_empty();
        if !is_whole {
            self.keep_listing(&prepared);
            self.bring_all(&prepared, Arc::new(records), found, &tell).await?;
        }
        match self.conclude(&prepared) {
            // All is here, where others write.
            Err(error) if is_whole && disk::is_forbidden(&error) => {}
            noted => noted.map_err(disk_error("cannot note that all is here"))?,
        }
        Ok(done)
    }

    fn tell_plan(&self, prepared: &Prepared, found: &Found, tell: impl Fn(ModelEvent)) {
        for path in &prepared.notes {
            let text = format!("{path} is left out: notes of who fetched are no part of a model");
            tell(ModelEvent::Warning(text));
        }
        tell(self.plan_of(prepared, found));
    }

    fn plan_of(&self, prepared: &Prepared, found: &Found) -> ModelEvent {
        let files = &prepared.wanted.files;
        let in_cache = matches!(prepared.place, Place::Cache { .. });
        let (mut seen, mut fetch_files, mut fetch_bytes) = (BTreeSet::new(), 0, 0);
        let mut linked_files = found.unnamed.len();
        for file in &found.missing {
            let target = prepared.place.target(&file.path, file.digest);
            let is_elsewhere = || {
                let find = |digest| self.inner.index.find(self.cache(), digest, &target);
                in_cache && disk::stat(&target).is_none() && file.digest.and_then(find).is_some()
            };
            if seen.contains(&target) || is_elsewhere() {
                linked_files += 1;
            } else {
                fetch_files += 1;
                fetch_bytes = file.bytes.saturating_add(fetch_bytes);
            }
            seen.insert(target);
        }
        ModelEvent::Plan {
            files: files.len(),
            bytes: sum(files.iter().map(|file| file.bytes)),
            fetch_files,
            fetch_bytes,
            linked_files,
            skipped_files: prepared.wanted.duplicates + prepared.wanted.pickles,
        }
    }

    /// Keeps the listing, so that the next call need not ask for it.
    fn keep_listing(&self, prepared: &Prepared) {
        if let (Place::Cache { repo, commit }, true) = (&prepared.place, prepared.is_listed) {
            let path = repo.listing(commit);
            if disk::stat(&path).is_none() {
                // Without it the hub is asked again.
                let _ = disk::replace(&path, &repo.ours(), &manifest::to_json(&prepared.entries));
            }
        }
    }

    async fn bring_all(
        &self,
        prepared: &Prepared,
        records: Arc<Records>,
        found: Found,
        tell: &TellModel,
    ) -> Result<(), Error> {
        if let Place::Cache { repo, commit } = &prepared.place {
            for file in &found.unnamed {
                let digest = file.digest.expect("files of the cache have digests");
                check::name((repo, commit), &file.path, &digest)
                    .map_err(disk_error("cannot name a file"))?;
                tell(ModelEvent::File { path: file.path.to_string(), fetched: unchanged(file) });
            }
        }
        let pieces = pieces(&prepared.place, found.missing);
        let bytes = sum(pieces.iter().map(|piece| piece.file.bytes));
        let promise = Arc::new(self.promise(bytes, &prepared.place)?);
        let options = &self.inner.hub.downloader().inner.options;
        let visit = Arc::new(Visit {
            inner: Arc::clone(&self.inner),
            source: prepared.spec.source.clone(),
            place: prepared.place.clone(),
            records,
            limiter: options.share(self.limiter.as_ref()),
            tell: Arc::clone(tell),
        });
        let turn = |piece: Piece| {
            let (visit, promise) = (Arc::clone(&visit), Arc::clone(&promise));
            let object = piece.file.path.to_string();
            let class = piece.file.class;
            let work = async move {
                promise.keep(piece.file.bytes);
                visit.bring(piece).await
            };
            Turn { class, key: String::new(), object, work: work.boxed() }
        };
        let results = in_turn(options, pieces.into_iter().map(turn), Arc::new(|_, _| {})).await;
        let errors = results.into_iter().filter_map(Result::err).collect();
        let Some((gravest, others)) = Error::gravest(errors) else { return Ok(()) };
        others.iter().for_each(|other| tell(ModelEvent::failed(other)));
        Err(gravest)
    }

    /// Notes that all is here.
    fn conclude(&self, prepared: &Prepared) -> std::io::Result<()> {
        if let (Place::Folder { folder }, ModelSource::Hub { repo, .. }, Some(commit)) =
            (&prepared.place, &prepared.spec.source, &prepared.commit)
        {
            let origin = FolderOrigin {
                repo,
                commit,
                entries: &prepared.entries,
                is_listed: prepared.is_listed,
            };
            return verify::note_origin(folder, &origin);
        }
        let (Place::Cache { repo, commit }, ModelSource::Hub { revision, .. }) =
            (&prepared.place, &prepared.spec.source)
        else {
            return Ok(());
        };
        let tree = repo.tree(commit);
        // The libraries take a listing for a promise that all of it is here.
        let is_all = prepared.is_listed && prepared.wanted.files.len() == prepared.entries.len();
        if is_all && disk::stat(&tree).is_none() {
            disk::create_folders(tree.parent().unwrap_or(Path::new("")))?;
            disk::replace(&tree, &repo.ours(), &manifest::to_json(&prepared.entries))?;
        }
        // What a lock says a branch was is not what it stands for.
        let is_looked_up = prepared.is_listed && revision.commit().is_none();
        let reference = repo.reference(revision);
        let known = disk::read(&reference, REFERENCE_BYTES_MAX).unwrap_or_default();
        if !is_looked_up || known == commit.as_str().as_bytes() {
            return Ok(());
        }
        disk::create_beneath(&repo.folder(), reference.parent().unwrap_or(Path::new("")))?;
        disk::replace_durably(&reference, &repo.ours(), commit.as_str().as_bytes())
    }
}

fn unchanged(file: &super::WantedFile) -> Fetched {
    let verified = if file.digest.is_some() { Verified::Digest } else { Verified::Length };
    let (digest, how) = (file.digest, How::Unchanged);
    Fetched { bytes: file.bytes, fetched_bytes: 0, hedged_bytes: 0, digest, verified, how }
}

fn ensured(prepared: &Prepared, unchanged: usize) -> Ensured {
    let wanted = &prepared.wanted.files;
    let entry = |file: &super::WantedFile| Entry {
        path: file.path.to_string(),
        bytes: file.bytes,
        digest: file.digest,
        pointer: None,
    };
    let mut files: Vec<_> = wanted.iter().map(entry).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ensured {
        path: prepared.place.shown(),
        commit: prepared.commit.clone(),
        files,
        bytes: sum(wanted.iter().map(|file| file.bytes)),
        unchanged,
    }
}

fn named(error: Error, spec: &ModelSpec) -> Error {
    if error.object().is_empty() { error.of(&spec.name()) } else { error }
}
