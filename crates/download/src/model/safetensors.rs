//! Is a file of tensors what it says. Pure.

use std::fmt;

use serde_json::Value;

/// Headers are refused above this by the format's own library.
pub(crate) const HEADER_BYTES_MAX: u64 = 100_000_000;

/// What is wrong with the header of a safetensors file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum HeaderFault {
    /// Its length is more than the file's, or than the format allows.
    Length,
    /// It is no JSON object of tensors.
    Json,
    /// A tensor lies outside of the file, over another, or leaves a hole.
    Offsets { tensor: String },
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => f.write_str("its header is longer than the file"),
            Self::Json => f.write_str("its header is no list of tensors"),
            Self::Offsets { tensor } => {
                write!(
                    f,
                    "its tensor {tensor:?} lies outside of the file, over another or after a hole"
                )
            }
        }
    }
}

/// Reads how long the header is, from the first eight bytes.
pub(crate) fn header_bytes(start: &[u8], file_bytes: u64) -> Result<u64, HeaderFault> {
    let start: [u8; 8] =
        start.get(..8).and_then(|s| s.try_into().ok()).ok_or(HeaderFault::Length)?;
    let length = u64::from_le_bytes(start);
    let fits = length <= HEADER_BYTES_MAX && length.saturating_add(8) <= file_bytes;
    fits.then_some(length).ok_or(HeaderFault::Length)
}

/// Checks a header: tensors fill what follows it, one after the other, without holes.
///
/// Source: the format's description, `huggingface/safetensors`.
pub(crate) fn check(header: &[u8], data_bytes: u64) -> Result<(), HeaderFault> {
    let header: Value = serde_json::from_slice(header).map_err(|_| HeaderFault::Json)?;
    let tensors = header.as_object().ok_or(HeaderFault::Json)?;
    let mut spans = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors.iter().filter(|(name, _)| *name != "__metadata__") {
        let offset = |k: usize| tensor["data_offsets"][k].as_u64();
        let (Some(start), Some(end)) = (offset(0), offset(1)) else {
            return Err(HeaderFault::Json);
        };
        spans.push((start, end, name));
    }
    spans.sort_unstable();
    let mut at = 0;
    for (start, end, name) in spans {
        if start != at || end < start {
            return Err(HeaderFault::Offsets { tensor: name.clone() });
        }
        at = end;
    }
    let last = || HeaderFault::Offsets { tensor: String::new() };
    (at == data_bytes).then_some(()).ok_or_else(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_within_the_file() {
        let start = |length: u64| length.to_le_bytes();
        assert_eq!(Ok(10), header_bytes(&start(10), 18));
        assert_eq!(Err(HeaderFault::Length), header_bytes(&start(10), 17));
        assert_eq!(Err(HeaderFault::Length), header_bytes(&start(u64::MAX), u64::MAX));
        assert_eq!(Err(HeaderFault::Length), header_bytes(b"short", 100));
    }

    #[test]
    fn tensors_fill_the_file_without_holes() {
        let header = |spans: &[(u64, u64)]| {
            let tensors = spans.iter().enumerate().map(|(k, (start, end))| {
                format!(r#""t{k}":{{"dtype":"F32","shape":[1],"data_offsets":[{start},{end}]}}"#)
            });
            format!(r#"{{"__metadata__":{{}},{}}}"#, tensors.collect::<Vec<_>>().join(","))
        };
        let check = |spans: &[(u64, u64)]| check(header(spans).as_bytes(), 8);
        assert_eq!(Ok(()), check(&[(4, 8), (0, 4)]));
        for wrong in
            [&[(0, 4), (2, 8)][..], &[(0, 4), (5, 8)], &[(0, 9)], &[(0, 4)], &[(0, 8), (8, 4)]]
        {
            assert!(matches!(check(wrong), Err(HeaderFault::Offsets { .. })), "{wrong:?}");
        }
        assert_eq!(Err(HeaderFault::Json), super::check(b"[]", 0));
    }
}
