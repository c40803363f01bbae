//! Bytes that are written piece by piece, and never moved to make room.

use std::collections::VecDeque;

use bytes::Bytes;

/// What a page is filled up to, in bytes. A piece that begins below it may exceed it.
const PAGE_BYTES: usize = 32 << 10;
/// Room for what exceeds it: most pieces are smaller.
const PAGE_CAPACITY: usize = PAGE_BYTES + (1 << 10);

/// Pages of bytes, in order.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    full: VecDeque<Bytes>,
    last: Vec<u8>,
}

impl Pages {
    /// Appends what `write` appends; returns how many bytes that are.
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let before = self.last.len();
        write(&mut self.last);
        let written = self.last.len() - before;
        if PAGE_BYTES <= self.last.len() {
            self.seal(Vec::with_capacity(PAGE_CAPACITY));
        }
        written as u64
    }

    /// Appends a page that others may have as well.
    pub(crate) fn share(&mut self, page: &Bytes) {
        self.seal(Vec::new());
        self.full.push_back(page.clone());
    }

    /// Appends all of `other`, without a copy where it is large.
    pub(crate) fn append(&mut self, mut other: Self) {
        if other.full.is_empty() {
            self.write(|last| last.extend_from_slice(&other.last));
            return;
        }
        self.seal(other.last);
        self.full.append(&mut other.full);
    }

    /// All pages; none is empty.
    pub(crate) fn into_parts(mut self) -> VecDeque<Bytes> {
        self.seal(Vec::new());
        self.full.retain(|page| !page.is_empty());
        self.full
    }

    /// Ends the last page and begins another one.
    fn seal(&mut self, next: Vec<u8>) {
        let last = std::mem::replace(&mut self.last, next);
        if !last.is_empty() {
            self.full.push_back(last.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_there_in_order(
            pieces in proptest::collection::vec((0..3, 0_usize..50_000, any::<u8>()), 0..20),
        ) {
            let (mut pages, mut expected) = (Pages::default(), Vec::new());
            for (how, len, byte) in pieces {
                let bytes = vec![byte; len];
                expected.extend_from_slice(&bytes);
                let mut other = Pages::default();
                match how {
                    0 => prop_assert_eq!(len as u64, pages.write(|out| out.extend(&bytes))),
                    1 => pages.share(&bytes.into()),
                    _ => {
                        bytes.chunks(1000).for_each(|part| {
                            other.write(|out| out.extend(part));
                        });
                        pages.append(other);
                    }
                }
            }
            let parts = pages.into_parts();
            prop_assert!(parts.iter().all(|part| !part.is_empty()));
            prop_assert_eq!(expected, parts.into_iter().flatten().collect::<Vec<u8>>());
        }
    }
}
