//! What a run ends with.

use download::ErrorKind;

pub(crate) const OK: u8 = 0;
pub(crate) const DISK: u8 = 6;
pub(crate) const USAGE: u8 = 64;
pub(crate) const INTERRUPTED: u8 = 130;
pub(crate) const TERMINATED: u8 = 143;

/// Why a run does not begin: what is wrong, and its code.
pub(crate) struct Refused {
    pub(crate) what: String,
    pub(crate) code: u8,
}

impl From<String> for Refused {
    /// A mistake of the command line.
    fn from(what: String) -> Self {
        Self { what, code: USAGE }
    }
}

/// The code of one failure.
pub(crate) fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::NotFound => 3,
        ErrorKind::NotAllowed | ErrorKind::Gated => 4,
        ErrorKind::Integrity => 5,
        ErrorKind::Disk => DISK,
        ErrorKind::Network | ErrorKind::Untrusted => 7,
        ErrorKind::Offline => 8,
        _ => 1,
    }
}

/// The code of several failures: what needs a person first.
pub(crate) fn worst(codes: impl Iterator<Item = u8>) -> u8 {
    const PRECEDENCE: [u8; 7] = [5, 6, 4, 3, 8, 7, 1];
    let rank = |code: &u8| PRECEDENCE.iter().position(|other| other == code);
    codes.min_by_key(rank).unwrap_or(OK)
}

/// What events call a kind of failure.
pub(crate) fn name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "not_found",
        ErrorKind::NotAllowed => "unauthorized",
        ErrorKind::Gated => "gated",
        ErrorKind::Integrity => "integrity",
        ErrorKind::Disk => "disk",
        ErrorKind::Network | ErrorKind::Untrusted => "network",
        ErrorKind::Offline => "offline",
        _ => "other",
    }
}

/// What to do about a failure, where that does not say so itself.
pub(crate) fn advice(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::Gated => "give the token with --token-file or HF_TOKEN",
        ErrorKind::Offline => "run it once without --offline",
        ErrorKind::Integrity => "nothing was published; check the digest, or ask whoever serves it",
        ErrorKind::Disk => "make room or choose another folder; run again, it goes on where it was",
        ErrorKind::Untrusted => "check the address, or name who vouches for it with --ca-file",
        ErrorKind::Network => "run again, it goes on where it was",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_failures_the_gravest_counts() {
        assert_eq!(5, worst([7, 3, 5, 6].into_iter()));
        assert_eq!(6, worst([7, 3, 4, 6].into_iter()));
        assert_eq!(7, worst([1, 7].into_iter()));
        assert_eq!(0, worst([].into_iter()));
    }
}
