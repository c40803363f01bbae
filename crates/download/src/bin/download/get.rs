//! `download get`: files of web servers.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use download::{Downloader, FetchOptions, Job};
use memory::files::OsFiles;
use pool::http::{Client, ClientOptions};

use crate::args::Get;
use crate::exit::{self, Refused};
use crate::tell::Teller;
use crate::watch::{conclude, memory_of, reread, signaled, ticks};
use crate::{plan, setup};

/// What a run needs.
pub(crate) struct Prepared {
    jobs: Vec<Job>,
    client: ClientOptions,
    options: FetchOptions,
}

/// Finds every mistake of the command line before anything is done.
pub(crate) fn prepare(get: &Get) -> Result<Prepared, Refused> {
    let transfer = &get.transfer;
    let jobs = plan::jobs(get)?;
    let options = FetchOptions { require_digest: get.require_digest, ..setup::options(transfer)? };
    let needs_tls = jobs.iter().any(|job| job.url.scheme() == "https");
    let client = setup::client(transfer, needs_tls, options.limiter.is_some())?;
    let folders: BTreeSet<&Path> = jobs.iter().filter_map(|job| job.target.parent()).collect();
    for folder in folders.into_iter().filter(|folder| !folder.as_os_str().is_empty()) {
        if get.dir.is_some() {
            std::fs::create_dir_all(folder).map_err(|error| {
                let what = format!("cannot create {}: {error}", folder.display());
                Refused { what, code: exit::DISK }
            })?;
        }
        if !folder.is_dir() {
            return Err(format!("there is no folder {}: create it first", folder.display()).into());
        }
        // Left by runs that were killed; what cannot be removed does no harm.
        let _ = memory::remove_orphans(&OsFiles::new(), folder);
    }
    Ok(Prepared { jobs, client, options })
}

/// Fetches, and returns the exit code.
pub(crate) async fn run(get: &Get, prepared: Prepared) -> u8 {
    let Prepared { jobs, client, options } = prepared;
    let transfer = &get.transfer;
    let teller = Arc::new(Teller::new(&jobs, transfer.json));
    let limiter = options.limiter.clone();
    let downloader = Downloader::new(Client::new(client), options);
    let _monitor = memory_of(&downloader);
    let (on_event, on_end) = (Arc::clone(&teller), Arc::clone(&teller));
    let transfers = downloader.fetch_all(
        jobs,
        move |k, event| on_event.event(k, event),
        move |k, result| on_end.ended(k, result),
    );
    let signal = tokio::select! {
        _ = transfers => None,
        code = signaled() => Some(code),
        () = ticks(transfer, &*teller, &downloader) => None,
        () = reread(transfer, limiter.as_ref(), &*teller) => None,
    };
    let code = teller.end(&downloader.traffic(), signal);
    conclude(transfer, &*teller, &downloader);
    code
}
