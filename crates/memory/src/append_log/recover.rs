//! Reading a log back, and telling a torn tail from damage.

use std::io;

use super::record::{HEADER, PREFIX_BYTES, Prefix};
use crate::files::{Handle, read_full};

/// Bytes looked through at a time when records are searched after a bad place.
const SEARCH_BYTES: usize = 64 << 10;

/// What a log holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// All records are whole up to `end`; what follows is no record, and was never acknowledged.
    Whole { end: u64 },
    /// The record at this place had been acknowledged, and is not whole.
    Damaged { position: u64 },
    /// The record at this place is whole, and longer than the log may have them.
    TooLong { payload_bytes: u32 },
}

/// A log that is read from front to back.
pub(super) struct Scan<'a> {
    pub(super) handle: &'a dyn Handle,
    pub(super) log_bytes: u64,
    pub(super) payload_bytes_max: u32,
}

impl Scan<'_> {
    /// Gives every whole record to `replay`, in order, up to the first that is not whole.
    pub(super) fn run(&self, mut replay: impl FnMut(&[u8])) -> io::Result<Verdict> {
        let mut payload = Vec::new();
        let mut position = HEADER.len() as u64;
        while let Some(prefix) = self.record_at(position, &mut payload)? {
            replay(&payload);
            position = prefix.end(position);
        }
        if let Some(payload_bytes) = self.too_long_at(position)? {
            return Ok(Verdict::TooLong { payload_bytes });
        }
        let acknowledged = self.acknowledged_after(position)?;
        Ok(if position < acknowledged {
            Verdict::Damaged { position }
        } else {
            Verdict::Whole { end: position }
        })
    }

    /// Whether a whole record stands anywhere.
    pub(super) fn has_records(&self) -> io::Result<bool> {
        Ok(0 < self.acknowledged_after(0)?)
    }

    /// The length of the whole record that begins at `position`, if it is longer than it may be.
    fn too_long_at(&self, position: u64) -> io::Result<Option<u32>> {
        let Some(prefix) = self.prefix_at(position, u32::MAX)? else { return Ok(None) };
        let start = position + PREFIX_BYTES as u64;
        let mut window = vec![0; SEARCH_BYTES];
        let mut checksum = prefix.checksum_at(position);
        for at in (start..prefix.end(position)).step_by(SEARCH_BYTES) {
            let left = prefix.end(position) - at;
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(SEARCH_BYTES);
            if read_full(self.handle, &mut window[..len], at)? < len {
                return Ok(None);
            }
            checksum.add(&window[..len]);
        }
        Ok(prefix.has(checksum).then_some(prefix.payload_bytes))
    }

    /// What stands at `position`, if a record with a payload of up to so many bytes can begin with it.
    fn prefix_at(&self, position: u64, payload_bytes_max: u32) -> io::Result<Option<Prefix>> {
        let mut bytes = [0; PREFIX_BYTES];
        let read = read_full(self.handle, &mut bytes, position)?;
        let prefix = Prefix::decode(bytes);
        let is_plausible = prefix.is_plausible(position, self.log_bytes, payload_bytes_max);
        Ok((read == PREFIX_BYTES && is_plausible).then_some(prefix))
    }

    /// Reads the record that begins at `position` into `payload`, if a whole one does.
    fn record_at(&self, position: u64, payload: &mut Vec<u8>) -> io::Result<Option<Prefix>> {
        let Some(prefix) = self.prefix_at(position, self.payload_bytes_max)? else {
            return Ok(None);
        };
        payload.resize(prefix.payload_bytes as usize, 0);
        let read = read_full(self.handle, payload, position + PREFIX_BYTES as u64)?;
        Ok((read == payload.len() && prefix.fits(position, payload)).then_some(prefix))
    }

    /// The largest `durable` of all whole records behind a bad place: what had been acknowledged then.
    ///
    /// Looks at every byte behind it as a possible beginning. A wrong one has a length that fits in one of
    /// 2^12 cases and a checksum that fits in one of 2^32.
    fn acknowledged_after(&self, bad: u64) -> io::Result<u64> {
        let mut window = vec![0; SEARCH_BYTES];
        let mut payload = Vec::new();
        let mut acknowledged = 0;
        let mut position = bad + 1;
        while position + (PREFIX_BYTES as u64) < self.log_bytes {
            let read = read_full(self.handle, &mut window, position)?;
            let candidates = window[..read].windows(PREFIX_BYTES);
            let plausible = candidates.zip(position..).find(|(bytes, at)| {
                let bytes = (*bytes).try_into().expect("a window of that size");
                Prefix::decode(bytes).is_plausible(*at, self.log_bytes, self.payload_bytes_max)
            });
            let Some((_, at)) = plausible else {
                // The last bytes of this window may begin a prefix that ends in the next.
                position += (read + 1).saturating_sub(PREFIX_BYTES).max(1) as u64;
                continue;
            };
            position = at + 1;
            if let Some(prefix) = self.record_at(at, &mut payload)? {
                acknowledged = acknowledged.max(prefix.durable);
                position = prefix.end(at);
            }
        }
        Ok(acknowledged)
    }
}
