//! A body in chunks: whether it is framed as RFC 9112, 7.1 has it, and nothing like it.

/// The longest line of a chunk's size, and all trailers together, in bytes.
const LINE_BYTES_MAX: u32 = 1024;
const TRAILER_BYTES_MAX: u32 = 8192;
/// The most that extensions may have in one body: hyper would refuse more as well.
const EXTENSION_BYTES_MAX: u32 = 16 << 10;
/// Digits of a size: 64 bits.
const DIGITS_MAX: u32 = 16;

/// What bytes made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Within,
    /// The body ended after so many of them.
    End(usize),
    /// What follows so many of them may not stand there.
    Wrong(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// So many digits of the size were read.
    Size(u32),
    Extension(u32),
    SizeEnd,
    Data(u64),
    DataCr,
    DataEnd,
    /// At the start of a line after the last chunk.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    /// The last LF is to come.
    End,
}

/// Where a body stands.
#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    size: u64,
    extension_bytes: u32,
    trailer_bytes: u32,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self { at: At::Size(0), size: 0, extension_bytes: 0, trailer_bytes: 0 }
    }

    pub(super) fn read(&mut self, bytes: &[u8]) -> Progress {
        let mut used = 0;
        while used < bytes.len() {
            if let At::Data(left) = self.at {
                let rest = bytes.len() - used;
                let n = usize::try_from(left).map_or(rest, |left| left.min(rest));
                used += n;
                let left = left - n as u64;
                self.at = if left == 0 { At::DataCr } else { At::Data(left) };
                continue;
            }
            let is_last = self.at == At::End;
            let Some(next) = self.step(bytes[used]) else { return Progress::Wrong(used) };
            self.at = next;
            used += 1;
            if is_last {
                return Progress::End(used);
            }
        }
        Progress::Within
    }

    /// Where one byte of framing leads, if it may stand here.
    fn step(&mut self, byte: u8) -> Option<At> {
        let is_text = byte == b'\t' || (b' ' <= byte && byte != 0x7f);
        let next = match (self.at, byte) {
            (At::Size(digits), _) if byte.is_ascii_hexdigit() && digits < DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16).map(u64::from)?;
                self.size = self.size << 4 | digit;
                At::Size(digits + 1)
            }
            (At::Size(1..), b';') => At::Extension(1),
            (At::Size(1..) | At::Extension(_), b'\r') => At::SizeEnd,
            (At::Extension(bytes), _) if is_text && bytes < LINE_BYTES_MAX => {
                self.extension_bytes += 1;
                At::Extension(bytes + 1)
            }
            (At::SizeEnd, b'\n') if self.size == 0 => At::Trailer,
            (At::SizeEnd, b'\n') => At::Data(std::mem::take(&mut self.size)),
            (At::DataCr, b'\r') => At::DataEnd,
            (At::DataEnd, b'\n') => At::Size(0),
            (At::Trailer, b'\r') => At::End,
            (At::Trailer | At::TrailerName, _) if is_name(byte) => At::TrailerName,
            (At::TrailerName, b':') => At::TrailerValue,
            (At::TrailerValue, b'\r') => At::TrailerEnd,
            (At::TrailerValue, _) if is_text => At::TrailerValue,
            (At::TrailerEnd, b'\n') => At::Trailer,
            (At::End, b'\n') => At::End,
            _ => return None,
        };
        if matches!(next, At::TrailerName | At::TrailerValue | At::TrailerEnd) {
            self.trailer_bytes += 1;
        }
        let is_short =
            self.extension_bytes <= EXTENSION_BYTES_MAX && self.trailer_bytes <= TRAILER_BYTES_MAX;
        is_short.then_some(next)
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
