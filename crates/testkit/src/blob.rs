//! Objects of any size whose bytes are a function of seed and offset.

use std::sync::{Arc, OnceLock};

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Bytes that are generated at a time while a digest is computed: small enough for the second-level
/// cache, large enough that the calls do not count.
const DIGEST_PIECE_BYTES: usize = 128 << 10;

/// Increment of the generator: 2⁶⁴ divided by the golden ratio, odd.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A named object of `size` bytes that are computed when asked for: 100 GB need no storage.
///
/// Little-endian word `i` of 64 bits is splitmix64's finalizer of `seed + (i + 1) · 0x9E3779B97F4A7C15`,
/// wrapping; a last partial word is cut off. So any byte can be checked knowing seed and offset alone,
/// and two blobs of one seed share their beginning.
///
/// **Cost**: cloning is cheap and shares the digests; [`Blob::fill`] writes several GB/s per core.
///
/// # Examples
///
/// ```
/// use testkit::Blob;
///
/// let blob = Blob::new("model.bin", 100_000_000_000, 7);
/// let mut last = [0; 3];
/// blob.fill(99_999_999_997, &mut last);
/// assert_eq!(blob.byte(99_999_999_999), last[2]);
/// ```
///
/// **Source**: Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (OOPSLA 2014), with
/// the constants of Vigna's `splitmix64.c`.
#[derive(Clone, Debug)]
pub struct Blob {
    name: Arc<str>,
    size: u64,
    seed: u64,
    digests: Arc<OnceLock<Digests>>,
}

/// What hubs call an object by, in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Digests {
    /// SHA-256 of the bytes.
    pub sha256: String,
    /// SHA-1 of git's blob object: of `blob SIZE\0` and the bytes.
    pub git_sha1: String,
}

impl Blob {
    /// Returns the blob of these `size` bytes and this seed. Nothing is computed yet.
    pub fn new(name: impl Into<Arc<str>>, size: u64, seed: u64) -> Self {
        Self { name: name.into(), size, seed, digests: Arc::default() }
    }

    /// Returns the name under which an origin serves it, without the leading slash.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the byte at `offset`, as if the blob had no end.
    #[must_use]
    pub fn byte(&self, offset: u64) -> u8 {
        let mut byte = [0];
        self.fill(offset, &mut byte);
        byte[0]
    }

    /// Writes the bytes from `offset` on into `buffer`, as if the blob had no end.
    pub fn fill(&self, offset: u64, buffer: &mut [u8]) {
        let skipped = (offset % 8) as usize;
        let mut state = self.seed.wrapping_add((offset / 8).wrapping_mul(GOLDEN));
        let head_bytes = if skipped == 0 { 0 } else { buffer.len().min(8 - skipped) };
        let (head, rest) = buffer.split_at_mut(head_bytes);
        if !head.is_empty() {
            head.copy_from_slice(&next_word(&mut state)[skipped..skipped + head_bytes]);
        }
        let (words, tail) = rest.as_chunks_mut::<8>();
        for word in words {
            *word = next_word(&mut state);
        }
        tail.copy_from_slice(&next_word(&mut state)[..tail.len()]);
    }

    /// Returns the digests of the whole blob.
    ///
    /// **Cost**: the first call reads all bytes, at the speed of the two hashes (about 0.5 GB/s); later
    /// calls and those on clones find them there.
    #[must_use]
    pub fn digests(&self) -> &Digests {
        self.digests.get_or_init(|| self.compute_digests())
    }

    fn compute_digests(&self) -> Digests {
        let mut sha256 = Sha256::new();
        let mut git_sha1 = Sha1::new();
        git_sha1.update(format!("blob {}\0", self.size));
        let mut buffer = vec![0; DIGEST_PIECE_BYTES];
        let mut offset = 0;
        while offset < self.size {
            let n = (self.size - offset).min(DIGEST_PIECE_BYTES as u64);
            let piece = &mut buffer[..n as usize];
            self.fill(offset, piece);
            sha256.update(&*piece);
            git_sha1.update(&*piece);
            offset += n;
        }
        Digests { sha256: hex(&sha256.finalize()), git_sha1: hex(&git_sha1.finalize()) }
    }
}

/// Returns the digests of bytes in memory.
pub(crate) fn digests_of(bytes: &[u8]) -> Digests {
    let mut git_sha1 = Sha1::new();
    git_sha1.update(format!("blob {}\0", bytes.len()));
    git_sha1.update(bytes);
    Digests { sha256: hex(&Sha256::digest(bytes)), git_sha1: hex(&git_sha1.finalize()) }
}

/// Steps the generator and returns its next word.
fn next_word(state: &mut u64) -> [u8; 8] {
    *state = state.wrapping_add(GOLDEN);
    finalize(*state).to_le_bytes()
}

/// Mixes one state of the generator into one word.
pub(crate) fn finalize(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The generator as a source of random numbers, for error rates and jitter.
#[derive(Debug)]
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    /// Returns a number from 0 (inclusive) to 1 (exclusive), with 53 random bits.
    pub(crate) fn unit(&mut self) -> f64 {
        let word = u64::from_le_bytes(next_word(&mut self.0));
        (word >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Renders bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The formula of the specification, one word at a time and from the start.
    fn by_the_formula(seed: u64, size: usize) -> Vec<u8> {
        let word = |i: u64| {
            let mut z = seed.wrapping_add((i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (z ^ (z >> 31)).to_le_bytes()
        };
        (0..).flat_map(word).take(size).collect()
    }

    #[test]
    fn the_first_word_of_seed_0_is_the_published_one() {
        // The first output of `splitmix64.c` for state 0.
        let mut bytes = [0; 8];
        Blob::new("b", 8, 0).fill(0, &mut bytes);
        assert_eq!(0xE220_A839_7B1D_CDAF, u64::from_le_bytes(bytes));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_piece_equals_the_same_piece_of_the_whole(
            seed: u64,
            offset in 0_usize..200,
            size in 0_usize..100,
        ) {
            let whole = by_the_formula(seed, offset + size);
            let mut piece = vec![0; size];
            Blob::new("b", 0, seed).fill(offset as u64, &mut piece);
            prop_assert_eq!(&whole[offset..], piece);
        }
    }

    #[test]
    fn offsets_near_the_end_of_the_numbers_do_not_panic() {
        Blob::new("b", u64::MAX, u64::MAX).fill(u64::MAX - 3, &mut [0; 3]);
    }

    #[test]
    fn digests_of_the_empty_blob_are_the_known_ones() {
        let blob = Blob::new("b", 0, 0);
        let digests = blob.digests();
        assert_eq!(
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            digests.sha256
        );
        assert_eq!("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", digests.git_sha1);
    }

    #[test]
    fn digests_are_those_of_all_bytes_across_pieces() {
        let size = 2 * DIGEST_PIECE_BYTES + 5;
        let bytes = by_the_formula(3, size);
        let expected = hex(&Sha256::digest(bytes));
        assert_eq!(expected, Blob::new("b", size as u64, 3).digests().sha256);
    }

    #[test]
    fn random_numbers_lie_within_the_unit() {
        let mut random = SplitMix(1);
        let sum: f64 = (0..10_000).map(|_| random.unit()).sum();
        assert!((4_800.0..5_200.0).contains(&sum), "{sum}");
    }
}
