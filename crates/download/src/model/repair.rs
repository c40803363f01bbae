//! What a verification found wrong is fetched again, and nothing else.

use super::bring::disk_error;
use super::ensure::Models;
use super::event::ModelEvent;
use super::records::Records;
use super::usage;
use super::verify::{Finding, Verification};
use crate::error::{Error, ErrorKind};
use crate::job::Job;
use crate::seam::disk;

impl Models {
    /// Fetches again what a verification found wrong, one file after the other and nothing else; returns how
    /// many that were. What cannot be had keeps no other file from being healed; [`collect`](crate::collect)
    /// leaves the model alone meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error`], the gravest where several files cannot be had; the others are told as
    /// [`ModelEvent::Failed`]. `NotFound` when nobody knows where the hub has a file, `Offline` when nobody
    /// may be asked. The wrong file stays until the right one is here.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future keeps what was written for the next time.
    pub async fn repair(
        &self,
        found: &Verification,
        tell: impl Fn(ModelEvent) + Send + Sync,
    ) -> Result<usize, Error> {
        if found.findings.is_empty() {
            return Ok(0);
        }
        let held = usage::hold(&found.ours, || disk::create_folders(&found.ours)).await;
        let _held = held.map_err(disk_error("cannot use the folder of the model"))?;
        let records = Records::load(&found.ours);
        let mut errors = Vec::new();
        for finding in &found.findings {
            match self.heal(found, finding, &tell).await {
                // A record that cannot be kept costs a hash.
                Ok(()) => drop(records.add(&finding.record, &finding.path)),
                Err(error) => errors.push(error),
            }
        }
        let Some((gravest, others)) = Error::gravest(errors) else {
            return Ok(found.findings.len());
        };
        others.iter().for_each(|other| tell(ModelEvent::failed(other)));
        Err(gravest)
    }

    async fn heal(
        &self,
        found: &Verification,
        finding: &Finding,
        tell: &(impl Fn(ModelEvent) + Send + Sync),
    ) -> Result<(), Error> {
        let path = finding.path.display().to_string();
        let refused = |kind, message: &str| Err(Error::new(kind, message).of(&path));
        let (Some(repo), Some((commit, name))) = (&found.repo, &finding.source) else {
            let message =
                "nothing refers to it, so nobody knows where it came from: remove it with `gc`";
            return refused(ErrorKind::NotFound, message);
        };
        if self.inner.options.offline {
            return refused(ErrorKind::Offline, "it is wrong, and nobody may be asked for it");
        }
        if let Some(folder) = finding.path.parent() {
            let created = disk::create_beneath(&found.root, folder);
            created.map_err(|error| disk_error("cannot create its folder")(error).of(&path))?;
        }
        let (url, headers) = self.inner.hub.file(repo, commit, name.as_str());
        let job = Job { digest: Some(finding.digest), headers, ..Job::new(url, &finding.path) };
        let fetching = self.inner.hub.downloader().fetch(&job, |event| {
            tell(ModelEvent::Transfer { path: name.to_string(), event });
        });
        let fetched = fetching.await?;
        tell(ModelEvent::File { path: name.to_string(), fetched });
        Ok(())
    }
}
