//! A file that one answer holds: it is checked in memory and written at once.

use http_body_util::BodyExt;
use memory::Reservation;

use super::attempt::{Attempt, FIRST_BYTES, Missed};
use super::receive::{First, Opened, Received};
use crate::digest::Running;
use crate::error::{Error, ErrorKind};
use crate::job::{Event, Fetched, How};
use crate::publisher::Parcel;

impl Attempt<'_> {
    /// Takes a whole small file in, checks it and publishes it. Nothing is on the disk before.
    pub(super) async fn small(
        &self,
        opened: Opened,
        total: u64,
        reservation: Reservation,
    ) -> Result<Fetched, Missed> {
        (self.tell)(Event::Plan { bytes: total, fetch_bytes: total });
        let bytes = match opened.first {
            Some(first) => self.collect(first, total).await?,
            None => Vec::new(),
        };
        let mut running = Running::new(self.algorithm, total);
        running.update(&bytes);
        let digest = running.finish();
        let received = Received { bytes: total, digest, fetched_bytes: total, hedged_bytes: 0 };
        self.check(&received).map_err(|error| Missed::Restart { ranges: true, error })?;
        let target = self.job.target.clone();
        self.inner.publisher.publish(Parcel { target, bytes, reservation }).await?;
        Ok(self.fetched(&received, How::Fetched))
    }

    async fn collect(&self, first: First, total: u64) -> Result<Vec<u8>, Missed> {
        debug_assert!(total <= FIRST_BYTES, "small files are small");
        let First { mut body, permit, .. } = first;
        let again = |error: Error| Missed::Again { wish: None, error };
        let mut bytes = Vec::with_capacity(total as usize);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                again(Error::new(ErrorKind::Network, "the answer broke off").because(error))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            self.inner.counters.fetched_bytes.add(data.len() as u64);
            if let Some(limiter) = &self.limiter {
                limiter.acquire(data.len() as u64).await;
            }
            if total < (bytes.len() + data.len()) as u64 {
                return Err(again(Error::new(ErrorKind::Network, "more came than was announced")));
            }
            bytes.extend_from_slice(&data);
        }
        if (bytes.len() as u64) < total {
            return Err(again(Error::new(ErrorKind::Network, "less came than was announced")));
        }
        permit.succeed(total);
        Ok(bytes)
    }
}
