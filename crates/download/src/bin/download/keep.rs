//! `download verify`, `list` and `gc`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use download::{CachedModel, Finding, FindingFault, GcOptions, ModelSpec, Verification};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::args::{Gc, List, Verify};
use crate::exit;
use crate::fetch_models::beside;
use crate::report::Report;
use crate::setup::{self, ModelSetup};
use crate::voice::Voice;

/// Reads models, and repairs them if that is asked for; returns the exit code.
pub(crate) fn verify(verify: &Verify, runtime: &Runtime) -> Result<u8, String> {
    let setup = setup::models(&verify.hub, &verify.transfer)?;
    let path = place(verify, &setup)?;
    let report = Arc::new(Report::new(vec![verify.what.clone()], verify.transfer.json));
    let work = look_into(path, verify.repair, &setup, &report);
    Ok(runtime.block_on(beside(&verify.transfer, &setup, &report, work)))
}

async fn look_into(path: PathBuf, repairs: bool, setup: &ModelSetup, report: &Arc<Report>) {
    let read = tokio::task::spawn_blocking(move || download::verify(&path)).await;
    let found = match read.expect("reading does not panic") {
        Ok(found) => found,
        Err(error) => return report.ended(0, Err(&error)),
    };
    let mut codes = Vec::new();
    for model in &found {
        codes.push(told(model, repairs, report.voice()));
        if repairs && !model.findings.is_empty() {
            codes.push(repair(setup, model, report).await);
        }
    }
    let figures = (found.iter().map(|m| m.files).sum(), found.iter().map(|m| m.bytes).sum());
    report.verified(figures, exit::worst(codes.into_iter().filter(|&code| code != exit::OK)));
}

/// An existing path wins over a model's name.
fn place(verify: &Verify, setup: &ModelSetup) -> Result<PathBuf, String> {
    let path = Path::new(&verify.what);
    if path.exists() {
        return Ok(path.to_owned());
    }
    let what = |_| format!("{:?} is neither a path nor a model's name", verify.what);
    let spec: ModelSpec = verify.what.parse().map_err(what)?;
    let name = spec.name();
    let id = name.split('@').next().unwrap_or_default().parse().map_err(what)?;
    Ok(setup.models.cache().repo(&id).folder())
}

/// Tells what was found; returns the exit code, unless it is to be repaired.
fn told(found: &Verification, repairs: bool, voice: &Voice) -> u8 {
    let name = found.repo.as_ref().map_or_else(|| "model".to_owned(), ToString::to_string);
    for finding in &found.findings {
        let (path, what) = (finding.path.display().to_string(), fault(finding));
        voice.say(&format!("wrong: {path}: {what}"));
        if !repairs {
            voice.print(
                &json!({ "event": "error", "kind": "integrity", "object": path, "path": path,
                "message": what }),
            );
        }
    }
    let (files, wrong) = (found.files, found.findings.len());
    let bytes = found.bytes as f64 / 1e6;
    voice.result(&format!("{name}: {files} files of {bytes:.1} MB, {wrong} wrong"));
    let is_wrong = !found.findings.is_empty() && !repairs;
    if is_wrong {
        voice.say("fetch them again with --repair");
    }
    if is_wrong { 5 } else { exit::OK }
}

fn fault(finding: &Finding) -> String {
    match finding.fault {
        FindingFault::Missing => "it is missing".to_owned(),
        FindingFault::Digest { found } => format!("expected {:?}, got {found:?}", finding.digest),
        _ => "it cannot be read".to_owned(),
    }
}

async fn repair(setup: &ModelSetup, found: &Verification, report: &Arc<Report>) -> u8 {
    let on_event = Arc::clone(report);
    let work = setup.models.repair(found, move |event| on_event.event(0, event));
    match work.await {
        Ok(n) => {
            report.voice().say(&format!("repaired: {n} files"));
            exit::OK
        }
        Err(error) => {
            report.voice().failure(&error, error.object());
            exit::code(error.kind())
        }
    }
}

/// Lists models, and returns the exit code.
pub(crate) fn list(list: &List) -> Result<u8, String> {
    let cache = setup::cache(&list.cache)?;
    let voice = Voice::new(list.json);
    let models = download::list(&cache);
    for model in &models {
        line(model, &voice);
    }
    let bytes = models.iter().map(|model| model.bytes - model.shared_bytes).sum::<u64>();
    let figures = (models.iter().flat_map(|m| &m.revisions).map(|r| r.files).sum(), bytes);
    voice.say(&format!(
        "{} models of {:.1} MB in {}",
        models.len(),
        bytes as f64 / 1e6,
        cache.root().display()
    ));
    voice.end(exit::OK, None, figures, &download::Traffic::default());
    Ok(exit::OK)
}

fn line(model: &CachedModel, voice: &Voice) {
    let repo = &model.repo;
    for revision in &model.revisions {
        let (commit, path) = (&revision.commit, revision.path.display().to_string());
        let ago = SystemTime::now().duration_since(revision.used).unwrap_or_default();
        let references = revision.references.join(",");
        let missing = if revision.missing == 0 {
            String::new()
        } else {
            format!("  {} missing", revision.missing)
        };
        voice.result(&format!(
            "{repo}  {commit}  {}  {} files  {:.1} MB  {}{missing}",
            if references.is_empty() { "-" } else { &references },
            revision.files,
            revision.bytes as f64 / 1e6,
            told_age(ago),
        ));
        voice.print(&json!({ "event": "model", "model": repo.as_str(), "commit": commit.as_str(),
            "references": revision.references, "files": revision.files, "bytes": revision.bytes,
            "missing_files": revision.missing, "unused_ms": ago.as_millis() as u64, "path": path }));
    }
}

fn told_age(ago: Duration) -> String {
    match ago.as_secs() {
        0..3600 => format!("used {} min ago", ago.as_secs() / 60),
        3600..86_400 => format!("used {} h ago", ago.as_secs() / 3600),
        seconds => format!("used {} days ago", seconds / 86_400),
    }
}

/// Takes away what need not be kept, and returns the exit code.
pub(crate) fn gc(gc: &Gc) -> Result<u8, String> {
    let cache = setup::cache(&gc.cache)?;
    let voice = Voice::new(gc.json);
    let options = GcOptions {
        max_age: gc.max_age,
        max_bytes: gc.max_size,
        grace: gc.grace,
        dry_run: gc.dry_run,
        ..GcOptions::default()
    };
    let nothing = download::Traffic::default();
    let done = match download::collect(&cache, &options) {
        Ok(done) => done,
        Err(error) => {
            voice.failure(&error, error.object());
            let code = exit::code(error.kind());
            voice.end(code, None, (0, 0), &nothing);
            return Ok(code);
        }
    };
    for removal in &done.removed {
        let path = removal.path.display().to_string();
        voice.result(&path);
        voice.print(&json!({ "event": "removed", "path": path, "bytes": removal.bytes, "dry_run": gc.dry_run }));
    }
    for repo in &done.in_use {
        voice.say(&format!("{repo} is in use and was left alone"));
    }
    for repo in &done.denied {
        voice.say(&format!("{repo} cannot be written to and was left alone"));
    }
    let verb = if gc.dry_run { "would free" } else { "freed" };
    voice.say(&format!("{verb} {:.1} MB", done.freed_bytes as f64 / 1e6));
    voice.end(exit::OK, None, (done.removed.len(), done.freed_bytes), &nothing);
    Ok(exit::OK)
}
