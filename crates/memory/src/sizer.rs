//! How large a piece should be. Pure.

/// What chunk sizes are multiples of: sixteen pages, the least that disks and page caches like.
pub const CHUNK_ALIGN_BYTES: u64 = 64 << 10;

/// Seconds of a stream that one chunk should hold: enough to drown a request's round trip (100 ms on a
/// far link) below 5 %, little enough to lose when a connection breaks.
const CHUNK_SECONDS: u64 = 2;

/// Each stream holds one chunk that fills and one that drains.
const CHUNKS_PER_STREAM: u64 = 2;

/// Chooses chunk sizes from what is free, how many share it, and how fast they are.
///
/// **Guarantee.** `bytes · in_flight_max ≤ free_bytes`; `bytes` lies within the bounds, is a multiple of
/// [`CHUNK_ALIGN_BYTES`], never falls when more is free or a stream is faster, and never rises when more
/// streams share.
///
/// # Examples
///
/// ```
/// use memory::ChunkSizer;
///
/// let sizer = ChunkSizer::new(1 << 20, 64 << 20);
/// let chunks = sizer.size(256 << 20, 4, None).expect("256 MiB hold a chunk of 1 MiB");
/// assert_eq!((32 << 20, 8), (chunks.bytes, chunks.in_flight_max));
///
/// // At 2 MB/s, two seconds are enough.
/// let chunks = sizer.size(256 << 20, 4, Some(2_000_000)).expect("as above");
/// assert_eq!(61 * (64 << 10), chunks.bytes);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChunkSizer {
    chunk_bytes_min: u64,
    chunk_bytes_max: u64,
}

/// What [`ChunkSizer::size`] chose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Chunks {
    /// Bytes of each chunk.
    pub bytes: u64,
    /// How many may be held at once; at least 1.
    pub in_flight_max: u64,
}

impl ChunkSizer {
    /// Returns a sizer for chunks between these bounds, both inclusive. The lower is rounded up to
    /// [`CHUNK_ALIGN_BYTES`], the upper down.
    ///
    /// # Panics
    ///
    /// When no multiple of [`CHUNK_ALIGN_BYTES`] above zero lies between them.
    pub fn new(chunk_bytes_min: u64, chunk_bytes_max: u64) -> Self {
        let chunk_bytes_max = align_down(chunk_bytes_max);
        let rounded = chunk_bytes_min.max(1).checked_next_multiple_of(CHUNK_ALIGN_BYTES);
        let lower = rounded.filter(|&lower| lower <= chunk_bytes_max);
        let chunk_bytes_min = lower.unwrap_or_else(|| {
            panic!(
                "no multiple of {CHUNK_ALIGN_BYTES} B from {chunk_bytes_min} to {chunk_bytes_max}"
            )
        });
        Self { chunk_bytes_min, chunk_bytes_max }
    }

    /// Chooses a size for `streams` at once (0 counts as 1), each of which carries `bytes_per_s` as far
    /// as that is known; `None` when `free_bytes` do not hold one chunk of the least size.
    pub fn size(self, free_bytes: u64, streams: u64, bytes_per_s: Option<u64>) -> Option<Chunks> {
        let share = free_bytes / streams.max(1).saturating_mul(CHUNKS_PER_STREAM);
        let wanted = bytes_per_s.map_or(u64::MAX, |rate| rate.saturating_mul(CHUNK_SECONDS));
        let bytes = align_down(share.min(wanted)).clamp(self.chunk_bytes_min, self.chunk_bytes_max);
        let fit = free_bytes / bytes;
        let in_flight_max = fit.min(streams.max(1).saturating_mul(CHUNKS_PER_STREAM));
        (0 < in_flight_max).then_some(Chunks { bytes, in_flight_max })
    }
}

fn align_down(bytes: u64) -> u64 {
    bytes - bytes % CHUNK_ALIGN_BYTES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[should_panic(expected = "no multiple of 65536 B")]
    fn bounds_without_a_multiple_are_refused() {
        ChunkSizer::new(CHUNK_ALIGN_BYTES + 1, 2 * CHUNK_ALIGN_BYTES - 1);
    }

    #[test]
    fn too_little_for_one_chunk_is_none() {
        let sizer = ChunkSizer::new(1 << 20, 8 << 20);
        assert_eq!(None, sizer.size((1 << 20) - 1, 1, None));
        assert_eq!(Some(Chunks { bytes: 1 << 20, in_flight_max: 1 }), sizer.size(1 << 20, 9, None));
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let sizer = ChunkSizer::new(0, u64::MAX);
        let chunks = sizer.size(u64::MAX, u64::MAX, Some(u64::MAX)).unwrap();
        assert!(chunks.bytes.checked_mul(chunks.in_flight_max).is_some());
    }

    fn sizes() -> impl Strategy<Value = u64> {
        prop_oneof![0_u64..1 << 20, 0_u64..1 << 32, any::<u64>()]
    }

    proptest! {
        /// M11.
        #[test]
        fn chunks_are_bounded_aligned_monotone_and_within_the_budget(
            (min, span) in (0_u64..1 << 24, CHUNK_ALIGN_BYTES..1 << 28),
            (free, more) in (sizes(), 0_u64..1 << 30),
            (streams, more_streams) in (0_u64..64, 0_u64..64),
            rate in prop::option::of(sizes()),
        ) {
            let sizer = ChunkSizer::new(min, min + span);
            let Some(chunks) = sizer.size(free, streams, rate) else {
                prop_assert!(free < min.max(1).next_multiple_of(CHUNK_ALIGN_BYTES));
                return Ok(());
            };
            prop_assert!(min <= chunks.bytes && chunks.bytes <= min + span);
            prop_assert_eq!(0, chunks.bytes % CHUNK_ALIGN_BYTES);
            prop_assert!(0 < chunks.in_flight_max);
            prop_assert!(u128::from(chunks.bytes) * u128::from(chunks.in_flight_max) <= u128::from(free));

            let larger = sizer.size(free.saturating_add(more), streams, rate).unwrap();
            prop_assert!(chunks.bytes <= larger.bytes);
            let faster = sizer.size(free, streams, rate.map(|rate| rate.saturating_add(more))).unwrap();
            prop_assert!(chunks.bytes <= faster.bytes);
            if let Some(shared) = sizer.size(free, streams + more_streams, rate) {
                prop_assert!(shared.bytes <= chunks.bytes);
            }
        }
    }
}
