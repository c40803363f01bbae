//! The bytes of a log. Pure.
//!
//! A log is a header and records, one after the other. A record is
//!
//! ```text
//! length   u32   bytes of the payload, at least 1: a stretch of zeros is no record
//! checksum u32   CRC-32C over position, length, durable and payload
//! durable  u64   how far the log was known to be durable when this record was written
//! payload
//! ```
//!
//! in little-endian order. The position in the checksum keeps a record from being taken for another
//! at a place where it was never written. The field `durable` tells a torn tail from damage: bytes
//! before the largest `durable` of any whole record had been acknowledged.

use super::crc32c::Crc32c;

/// The first bytes of a log; like PNG's, they show text conversion and a cut eighth bit. The last byte is
/// the version of the format.
pub(super) const HEADER: [u8; 8] = *b"\x89LOG\r\n\x1a\x01";

/// The version in [`HEADER`].
pub(super) const VERSION: u8 = HEADER[7];

/// Bytes before the payload of each record.
pub(super) const PREFIX_BYTES: usize = 16;

/// What stands before a payload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Prefix {
    pub(super) payload_bytes: u32,
    checksum: u32,
    pub(super) durable: u64,
}

impl Prefix {
    pub(super) fn decode(bytes: [u8; PREFIX_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, durable @ ..] = bytes;
        Self {
            payload_bytes: u32::from_le_bytes([a, b, c, d]),
            checksum: u32::from_le_bytes([e, f, g, h]),
            durable: u64::from_le_bytes(durable),
        }
    }

    /// Whether a record with this prefix can begin at `position` and end by `log_bytes`.
    pub(super) fn is_plausible(
        self,
        position: u64,
        log_bytes: u64,
        payload_bytes_max: u32,
    ) -> bool {
        let end = self.end(position);
        (1..=payload_bytes_max).contains(&self.payload_bytes)
            && end <= log_bytes
            && self.durable <= position
    }

    /// Where the record ends that begins at `position`.
    pub(super) fn end(self, position: u64) -> u64 {
        position + PREFIX_BYTES as u64 + u64::from(self.payload_bytes)
    }

    /// Whether this payload is the one that was written here.
    pub(super) fn fits(self, position: u64, payload: &[u8]) -> bool {
        let mut checksum = self.checksum_at(position);
        checksum.add(payload);
        self.has(checksum)
    }

    /// The checksum of a record at `position` as far as its payload, which is to be added.
    pub(super) fn checksum_at(self, position: u64) -> Crc32c {
        checksum(position, self.payload_bytes, self.durable)
    }

    pub(super) fn has(self, checksum: Crc32c) -> bool {
        self.checksum == checksum.value()
    }
}

/// Appends the record of `payload` at `position` to `into`.
pub(super) fn encode(position: u64, durable: u64, payload: &[u8], into: &mut Vec<u8>) {
    let payload_bytes = u32::try_from(payload.len()).expect("the log refuses longer records");
    let mut checksum = checksum(position, payload_bytes, durable);
    checksum.add(payload);
    into.extend(payload_bytes.to_le_bytes());
    into.extend(checksum.value().to_le_bytes());
    into.extend(durable.to_le_bytes());
    into.extend(payload);
}

/// The checksum of a record without its payload.
fn checksum(position: u64, payload_bytes: u32, durable: u64) -> Crc32c {
    Crc32c::of(&[&position.to_le_bytes(), &payload_bytes.to_le_bytes(), &durable.to_le_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_fits_where_it_was_written_and_nowhere_else() {
        let mut bytes = Vec::new();
        encode(8, 8, b"payload", &mut bytes);
        let (prefix, payload) = bytes.split_first_chunk().unwrap();
        let prefix = Prefix::decode(*prefix);
        assert!(prefix.is_plausible(8, 31, 7) && prefix.fits(8, payload));
        assert!(!prefix.is_plausible(8, 30, 7) && !prefix.is_plausible(8, 31, 6));
        assert!(!prefix.is_plausible(7, 31, 7), "durable beyond its own position");
        assert!(!prefix.fits(9, payload) && !prefix.fits(8, b"paylaod"));
    }

    #[test]
    fn zeros_are_no_record() {
        assert!(!Prefix::decode([0; PREFIX_BYTES]).is_plausible(0, 1 << 20, 1 << 20));
    }
}
