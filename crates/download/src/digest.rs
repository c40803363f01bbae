//! What a file must be: digests, checked before they are used for anything.

use std::fmt;

use sha1::Sha1;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256};

/// The digest of a file, as hubs and people give it.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Digest {
    /// SHA-256 of the bytes.
    Sha256([u8; 32]),
    /// SHA-1 of git's blob object: of `blob SIZE\0` and the bytes.
    GitSha1([u8; 20]),
}

/// A text that is no digest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DigestError {
    digits: usize,
    expected: usize,
}

impl fmt::Display for DigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digits, expected } = self;
        write!(f, "a digest has {expected} hexadecimal digits; {digits} of this text are such")
    }
}

impl std::error::Error for DigestError {}

impl Digest {
    /// Reads a SHA-256 of 64 hexadecimal digits, upper or lower case.
    ///
    /// # Errors
    ///
    /// [`DigestError`] for any other text: a digest becomes part of paths, so it is checked here.
    pub fn sha256(text: &str) -> Result<Self, DigestError> {
        from_hex(text).map(Self::Sha256)
    }

    /// Reads a git blob SHA-1 of 40 hexadecimal digits, upper or lower case.
    ///
    /// # Errors
    ///
    /// [`DigestError`] for any other text.
    pub fn git_sha1(text: &str) -> Result<Self, DigestError> {
        from_hex(text).map(Self::GitSha1)
    }
}

fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], DigestError> {
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    if digits != 2 * N || text.len() != 2 * N {
        return Err(DigestError { digits, expected: 2 * N });
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = 16 * value(pair[0]) + value(pair[1]);
    }
    Ok(bytes)
}

fn value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Self::Sha256(bytes) => bytes,
            Self::GitSha1(bytes) => bytes,
        };
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Sha256(_) => "sha256",
            Self::GitSha1(_) => "git-sha1",
        };
        write!(f, "{name}:{self}")
    }
}

/// Which digest is computed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Algorithm {
    #[default]
    Sha256,
    GitSha1,
}

impl Algorithm {
    pub(crate) fn of(digest: Option<Digest>) -> Self {
        match digest {
            Some(Digest::GitSha1(_)) => Self::GitSha1,
            _ => Self::Sha256,
        }
    }
}

/// A digest in the making, which can be put down and taken up again.
#[derive(Clone)]
pub(crate) enum Running {
    Sha256(Sha256),
    GitSha1(Sha1),
}

impl Running {
    /// Starts over an object of `total` bytes; git counts the size in.
    pub(crate) fn new(algorithm: Algorithm, total: u64) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::GitSha1 => {
                let mut sha1 = Sha1::new();
                sha1.update(format!("blob {total}\0"));
                Self::GitSha1(sha1)
            }
        }
    }

    /// Takes bytes in, fetching ahead: another core has just written them.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(sha256) => memory::steps(bytes).for_each(|step| sha256.update(step)),
            Self::GitSha1(sha1) => memory::steps(bytes).for_each(|step| sha1.update(step)),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        match self {
            Self::Sha256(sha256) => Digest::Sha256(sha256.finalize().into()),
            Self::GitSha1(sha1) => Digest::GitSha1(sha1.finalize().into()),
        }
    }

    /// The state, for a journal.
    pub(crate) fn save(&self) -> Vec<u8> {
        match self {
            Self::Sha256(sha256) => sha256.serialize().to_vec(),
            Self::GitSha1(sha1) => sha1.serialize().to_vec(),
        }
    }

    /// Takes a saved state up; `None` when it is of another algorithm or damaged.
    pub(crate) fn restore(algorithm: Algorithm, saved: &[u8]) -> Option<Self> {
        Some(match algorithm {
            Algorithm::Sha256 => {
                let state = SerializedState::<Sha256>::try_from(saved).ok()?;
                Self::Sha256(Sha256::deserialize(&state).ok()?)
            }
            Algorithm::GitSha1 => {
                let state = SerializedState::<Sha1>::try_from(saved).ok()?;
                Self::GitSha1(Sha1::deserialize(&state).ok()?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `abc` (FIPS 180-4, the first example).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn digests_are_read_in_either_case_and_told_in_lower() {
        let digest = Digest::sha256(&ABC.to_uppercase()).unwrap();
        assert_eq!(ABC, digest.to_string());
        assert_eq!(format!("sha256:{ABC}"), format!("{digest:?}"));
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        let long = format!("{ABC}00");
        let multibyte = format!("{}é", &ABC[..62]);
        let path = format!("../../{}", &ABC[..58]);
        for text in ["", "abc", &ABC[..63], &long, &multibyte, &path, &ABC.replace('b', "g")] {
            assert!(Digest::sha256(text).is_err(), "{text}");
        }
        assert!(Digest::git_sha1(ABC).is_err());
    }

    #[test]
    fn a_digest_goes_on_where_it_was_put_down() {
        for algorithm in [Algorithm::Sha256, Algorithm::GitSha1] {
            let bytes: Vec<u8> = (0..1000_u32).map(|k| (k % 251) as u8).collect();
            let mut whole = Running::new(algorithm, 1000);
            whole.update(&bytes);
            for cut in [0, 1, 63, 64, 65, 999, 1000] {
                let mut first = Running::new(algorithm, 1000);
                first.update(&bytes[..cut]);
                let mut second = Running::restore(algorithm, &first.save()).unwrap();
                second.update(&bytes[cut..]);
                assert_eq!(whole.clone().finish(), second.finish(), "{algorithm:?} {cut}");
            }
        }
        assert!(Running::restore(Algorithm::Sha256, b"short").is_none());
    }

    #[test]
    fn git_counts_the_size_in() {
        // `git hash-object` of an empty file.
        let empty = Running::new(Algorithm::GitSha1, 0).finish();
        assert_eq!("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", empty.to_string());
    }
}
