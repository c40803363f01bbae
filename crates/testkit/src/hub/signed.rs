//! URLs that are good for a while. Pure.

use std::time::Duration;

use crate::blob::finalize;
use crate::origin::Request;

/// Signs paths and checks their signatures. No cryptography: nobody attacks a test.
#[derive(Debug)]
pub(crate) struct Signer {
    key: u64,
    ttl: Duration,
}

impl Signer {
    pub(super) fn new(seed: u64, ttl: Duration) -> Self {
        Self { key: finalize(!seed), ttl }
    }

    /// Returns the query that makes this path good for a while, `now` after the hub started; another one at
    /// each nanosecond.
    pub(super) fn sign(&self, path: &str, now: Duration) -> String {
        let expires_ns = (now + self.ttl).as_nanos() as u64;
        format!("Expires={expires_ns}&Signature={:016x}", self.signature(path, expires_ns))
    }

    /// Whether the request carries a signature of its path that has not expired.
    pub(super) fn is_good(&self, request: &Request, now: Duration) -> bool {
        let expires_ns = request.parameter("Expires").and_then(|ns| ns.parse::<u64>().ok());
        expires_ns.is_some_and(|expires_ns| {
            let signature = format!("{:016x}", self.signature(&request.path, expires_ns));
            now.as_nanos() as u64 <= expires_ns
                && request.parameter("Signature") == Some(signature.as_str())
        })
    }

    fn signature(&self, path: &str, expires_ns: u64) -> u64 {
        let mix = |sum: u64, byte: u8| finalize(sum.wrapping_add(u64::from(byte) + 1));
        path.bytes().fold(finalize(self.key ^ finalize(expires_ns)), mix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn a_signature_is_of_one_path_and_for_a_while() {
        let signer = Signer::new(0, TTL);
        let now = Duration::from_secs(5);
        let query = signer.sign("/a", now);
        let is_good = |path: &str, now| {
            let (path, query) = (path.to_owned(), query.clone());
            signer.is_good(&Request { path, query, ..Request::default() }, now)
        };
        assert!(is_good("/a", now) && is_good("/a", now + TTL));
        assert!(!is_good("/a", now + TTL + Duration::from_nanos(1)));
        assert!(!is_good("/b", now));
        assert!(!signer.is_good(&Request::default(), now));
        assert_ne!(query, signer.sign("/a", now + Duration::from_nanos(1)));
    }
}
