//! Messages of protocol buffers, as far as ONNX needs them.
//!
//! Source: "Protocol Buffers: Encoding", wire types 0 (variable length), 2 (length first) and 5 (four
//! bytes).

/// Bytes of the longest number.
const VARINT_BYTES_MAX: usize = 10;

/// Why there is no number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoNumber {
    CutOff,
    Endless,
}

/// The number that bytes begin with, and how many of them it takes.
pub(super) fn varint(bytes: &[u8]) -> Result<(u64, usize), NoNumber> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(VARINT_BYTES_MAX) {
        // The tenth byte has one bit left to give.
        if index + 1 == VARINT_BYTES_MAX && 1 < *byte {
            break;
        }
        value |= u64::from(byte & 0x7F) << (7 * index);
        if *byte < 0x80 {
            return Ok((value, index + 1));
        }
    }
    Err(if bytes.len() < VARINT_BYTES_MAX { NoNumber::CutOff } else { NoNumber::Endless })
}

/// A message under construction.
#[derive(Debug, Default)]
pub(super) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// A whole number. Negative ones take ten bytes, as the format has it for `int64`.
    pub(super) fn int(&mut self, field: u32, value: i64) -> &mut Self {
        self.tag(field, 0);
        self.varint(value.cast_unsigned());
        self
    }

    pub(super) fn float(&mut self, field: u32, value: f32) -> &mut Self {
        self.tag(field, 5);
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn text(&mut self, field: u32, text: &str) -> &mut Self {
        self.bytes(field, text.as_bytes())
    }

    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) -> &mut Self {
        self.announce(field, bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// A message within this one.
    pub(super) fn message(&mut self, field: u32, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(field, &inner.bytes)
    }

    /// The head of a field whose bytes follow from elsewhere.
    pub(super) fn announce(&mut self, field: u32, len_bytes: u64) -> &mut Self {
        self.tag(field, 2);
        self.varint(len_bytes);
        self
    }

    fn tag(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    fn varint(&mut self, mut value: u64) {
        while 0x80 <= value {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fill: impl FnOnce(&mut Message), expected: &[u8]) {
        let mut message = Message::default();
        fill(&mut message);
        assert_eq!(expected, message.into_bytes());
    }

    /// The examples of the format's own description.
    #[test]
    fn fields_are_framed_as_the_format_says() {
        check(|m| _ = m.int(1, 150), &[0x08, 0x96, 0x01]);
        check(|m| _ = m.text(2, "testing"), b"\x12\x07testing");
        check(|m| _ = m.message(3, |m| _ = m.int(1, 150)), &[0x1a, 0x03, 0x08, 0x96, 0x01]);
        check(|m| _ = m.int(1, -2), b"\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01");
        check(|m| _ = m.float(2, 1.0), &[0x15, 0, 0, 0x80, 0x3f]);
        check(|m| _ = m.announce(20, 300), &[0xa2, 0x01, 0xac, 0x02]);
    }
}
