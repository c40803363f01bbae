//! `download model` and `download sync`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use download::{
    Ensured, Glob, Locked, ModelJournal, ModelLine, ModelLineOptions, ModelSource, ModelSpec,
    Pinned, Priority, Roster, Selection, told,
};
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;

use crate::args::{Model, Sync, Transfer};
use crate::report::Report;
use crate::setup::{self, ModelSetup};
use crate::watch::{conclude, memory_of, reread, signaled, ticks};
use crate::{plan, replace};

/// Lists and locks are read whole; more is a mistake.
const TEXT_BYTES_MAX: u64 = 256 << 20;

/// Fetches one model, and returns the exit code.
pub(crate) fn model(model: &Model, runtime: &Runtime) -> Result<u8, String> {
    let spec = spec(model)?;
    let lock = model.write_lock.as_deref().map(lock_to_write).transpose()?;
    let setup = setup::models(&model.hub, &model.transfer)?;
    let report = Arc::new(Report::new(vec![spec.name()], model.transfer.json));
    Ok(runtime.block_on(async {
        let on_event = Arc::clone(&report);
        let tell = move |event| on_event.event(0, event);
        let work = async {
            let result = if model.dry_run {
                setup.models.plan(&spec, tell).await
            } else {
                let ensured = setup.models.ensure(&spec, tell).await;
                ensured.and_then(|here| write_lock(lock, &spec, &here).map(|()| here))
            };
            report.ended(0, result.as_ref());
        };
        beside(&model.transfer, &setup, &report, work).await
    }))
}

fn spec(model: &Model) -> Result<ModelSpec, String> {
    let globs = |texts: &[String]| texts.iter().map(|text| Glob::new(text)).collect();
    let selection = Selection {
        include: globs(&model.include),
        exclude: globs(&model.exclude),
        all_formats: model.all_formats,
        allow_pickle: model.allow_pickle,
    };
    let mut spec = ModelSpec { selection, target: model.local_dir.clone(), ..model.model.clone() };
    if let (Some(path), ModelSource::Hub { repo, revision, pinned }) =
        (&model.locked, &mut spec.source)
    {
        let name = path.display();
        let locked: Locked =
            read_text(path)?.parse().map_err(|error| format!("{name}: {error}"))?;
        let known =
            locked.find(repo).cloned().ok_or_else(|| format!("{name} does not lock {repo}"))?;
        if revision.commit().is_some_and(|commit| commit != known.commit) {
            return Err(format!("{name} locks {repo} at {}, not at {revision}", known.commit));
        }
        *pinned = Some(known);
        // What is locked was chosen when it was locked.
        spec.selection.all_formats = true;
        spec.selection.allow_pickle = true;
    }
    Ok(spec)
}

fn read_text(path: &Path) -> Result<String, String> {
    let name = path.display();
    let length =
        std::fs::metadata(path).map_err(|error| format!("cannot read {name}: {error}"))?.len();
    if TEXT_BYTES_MAX < length {
        return Err(format!("{name} has more than {TEXT_BYTES_MAX} B"));
    }
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {name}: {error}"))
}

/// The lock file as it is, to be added to.
fn lock_to_write(path: &Path) -> Result<(PathBuf, Locked), String> {
    plan::check_replaceable(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(format!("there is no folder {}: create it first", folder.display()));
    }
    let locked = if path.exists() {
        read_text(path)?.parse().map_err(|error| format!("{}: {error}", path.display()))?
    } else {
        Locked::default()
    };
    Ok((path.to_owned(), locked))
}

fn write_lock(
    lock: Option<(PathBuf, Locked)>,
    spec: &ModelSpec,
    here: &Ensured,
) -> Result<(), download::Error> {
    let (Some((path, mut locked)), ModelSource::Hub { repo, .. }, Some(commit)) =
        (lock, &spec.source, here.commit.clone())
    else {
        return Ok(());
    };
    locked.put(repo.clone(), Pinned { commit, files: here.files.clone() });
    Ok(replace::replace(&path, &locked.to_string())?)
}

/// Fetches all models of a list, and returns the exit code.
pub(crate) fn sync(sync: &Sync, runtime: &Runtime) -> Result<u8, String> {
    let text = read_text(&sync.list)?;
    let roster: Roster =
        text.parse().map_err(|error| format!("{}: {error}", sync.list.display()))?;
    if roster.models.is_empty() {
        return Err(format!(
            "{} lists no model: write [[model]] repo = \"org/name\"",
            sync.list.display()
        ));
    }
    let setup = setup::models(&sync.hub, &sync.transfer)?;
    let names = roster.models.iter().map(|(spec, _)| spec.name()).collect();
    let report = Arc::new(Report::new(names, sync.transfer.json));
    let journal = journal(&setup, &format!("{}\n{text}", sync.hub.endpoint), &report);
    Ok(runtime.block_on(async {
        let options = ModelLineOptions {
            models_max: sync.jobs,
            queue_timeout: sync.transfer.queue_timeout,
            journal,
        };
        let line = ModelLine::new(setup.models.clone(), options);
        let work = bring(&line, roster.models, &report);
        let code = beside(&sync.transfer, &setup, &report, work).await;
        line.shutdown().await;
        code
    }))
}

async fn bring(line: &ModelLine, models: Vec<(ModelSpec, Priority)>, report: &Arc<Report>) {
    let (on_event, on_end) = (Arc::clone(report), Arc::clone(report));
    let tell = move |k, event| on_event.event(k, event);
    let ended = move |k, result: &Result<Ensured, Arc<download::Error>>| {
        on_end.ended(k, result.as_ref().map_err(|error| &**error));
    };
    line.bring_all(models, tell, ended).await;
}

/// The record of the queue, if nobody else has it.
fn journal(setup: &ModelSetup, list: &str, report: &Report) -> Option<ModelJournal> {
    let digest: [u8; 32] = Sha256::digest(list).into();
    let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let opened = ModelJournal::open(&setup.models.cache().journal());
    let resumed = opened.and_then(|journal| journal.resume(&name).map(|_| journal));
    match resumed {
        Ok(journal) => Some(journal),
        Err(error) => {
            let what = told(&error);
            report.voice().say(&format!(
                "the queue is not recorded, so a killed run looks at each model again: {what}"
            ));
            None
        }
    }
}

/// Does work with all that goes on beside it; returns the exit code.
pub(crate) async fn beside(
    transfer: &Transfer,
    setup: &ModelSetup,
    report: &Arc<Report>,
    work: impl Future<Output = ()>,
) -> u8 {
    let _monitor = memory_of(&setup.downloader);
    let signal = tokio::select! {
        () = work => None,
        code = signaled() => Some(code),
        () = ticks(transfer, &**report, &setup.downloader) => None,
        () = reread(transfer, setup.limiter.as_ref(), &**report) => None,
    };
    let code = report.end(&setup.downloader.traffic(), signal);
    conclude(transfer, &**report, &setup.downloader);
    code
}
