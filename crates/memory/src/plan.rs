//! How to bring many bytes in: whole or as a stream, in which pieces, with how many buffers. Pure.

use crate::sizer::ChunkSizer;

/// From how many bytes on a file is streamed even if it would fit: 100 MiB.
pub const STREAMING_THRESHOLD_BYTES: u64 = 100 << 20;

/// Of what is available, one transfer may plan for this part: the rest is for those beside it.
const SHARE_OF_AVAILABLE: u64 = 4;

/// Streams of one transfer beyond which more buffers bring nothing on the links we know.
const STREAMS_MAX: u64 = 8;

/// The least chunk: below it the cost of a request and a system call shows.
const CHUNK_BYTES_MIN: u64 = 256 << 10;

/// The largest chunk: a second of a fast link, and little to fetch again.
const CHUNK_BYTES_MAX: u64 = 16 << 20;

/// How to bring a set of files in, as [`plan`] decides it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// Whether to stream through buffers; otherwise each file may be held whole.
    pub streaming: bool,
    /// From how many bytes on a single file is to be streamed.
    pub streaming_threshold_bytes: u64,
    /// Bytes of a chunk.
    pub chunk_bytes: u64,
    /// How many chunks may be held at once; at least 1.
    pub buffers: u64,
}

/// Plans for `total_bytes` in `files` files (0 counts as 1) with `available_bytes` of memory free.
///
/// The threshold is [`STREAMING_THRESHOLD_BYTES`], or a quarter of what is available if that is less. It
/// streams when the mean file reaches the threshold or when all files together exceed that quarter.
/// `chunk_bytes · buffers` stays within the quarter, unless that is less than one chunk of 256 KiB: then
/// it is one such chunk.
///
/// # Examples
///
/// ```
/// // 5 GiB in 50 files, with 8 GiB available: 16 buffers of 16 MiB.
/// let plan = memory::plan(5 << 30, 50, 8 << 30);
/// assert!(plan.streaming);
/// assert_eq!((16 << 20, 16), (plan.chunk_bytes, plan.buffers));
///
/// // A few small files may be held whole.
/// assert!(!memory::plan(1 << 20, 3, 8 << 30).streaming);
/// ```
#[must_use]
pub fn plan(total_bytes: u64, files: u64, available_bytes: u64) -> Plan {
    let share_bytes = available_bytes / SHARE_OF_AVAILABLE;
    let streaming_threshold_bytes = STREAMING_THRESHOLD_BYTES.min(share_bytes);
    let mean_file_bytes = total_bytes / files.max(1);
    let sizer = ChunkSizer::new(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
    let chunks = sizer.size(share_bytes, files.clamp(1, STREAMS_MAX), None);
    Plan {
        streaming: streaming_threshold_bytes <= mean_file_bytes || share_bytes < total_bytes,
        streaming_threshold_bytes,
        chunk_bytes: chunks.map_or(CHUNK_BYTES_MIN, |chunks| chunks.bytes),
        buffers: chunks.map_or(1, |chunks| chunks.in_flight_max),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(expected: bool, total_bytes: u64, files: u64, available_bytes: u64) {
        assert_eq!(expected, plan(total_bytes, files, available_bytes).streaming);
    }

    #[test]
    fn large_files_are_streamed_and_small_ones_need_not() {
        check(true, 100 << 20, 1, 16 << 30);
        check(false, (100 << 20) - 1, 1, 16 << 30);
        check(false, 1 << 30, 1000, 16 << 30);
    }

    #[test]
    fn little_memory_lowers_the_threshold() {
        check(true, 16 << 20, 1, 64 << 20);
        check(true, 17 << 20, 1000, 64 << 20);
        check(true, 1, 1, 0);
    }

    proptest! {
        #[test]
        fn a_plan_stays_within_its_quarter(
            total in any::<u64>(), files in any::<u64>(), available in 0_u64..1 << 40,
        ) {
            let plan = plan(total, files, available);
            prop_assert!(0 < plan.buffers && CHUNK_BYTES_MIN <= plan.chunk_bytes);
            let held = plan.buffers * plan.chunk_bytes;
            prop_assert!(held <= available / 4 || (plan.buffers, plan.chunk_bytes) == (1, CHUNK_BYTES_MIN));
        }
    }
}
