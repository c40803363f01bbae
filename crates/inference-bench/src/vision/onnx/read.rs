//! Messages of protocol buffers, read field by field. Files were [checked](super::check()) before, so
//! what is broken here is only told as nothing.

use super::wire::varint;

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) content: Content<'a>,
    /// Its bytes in the file, with the head.
    pub(super) whole: &'a [u8],
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

impl<'a> Field<'a> {
    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        if let Content::Bytes(bytes) = self.content { Some(bytes) } else { None }
    }

    pub(super) fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(super) fn number(self) -> Option<u64> {
        if let Content::Number(number) = self.content { Some(number) } else { None }
    }

    /// Adds its numbers, of which a field may hold one, or many in a row.
    pub(super) fn add_numbers(self, numbers: &mut Vec<u64>) -> Option<()> {
        match self.content {
            Content::Number(number) => numbers.push(number),
            Content::Bytes(mut rest) => {
                while !rest.is_empty() {
                    let (number, len_bytes) = varint(rest).ok()?;
                    numbers.push(number);
                    rest = &rest[len_bytes..];
                }
            }
            Content::Fixed => return None,
        }
        Some(())
    }
}

/// The fields of a message in their order; `None` if it is broken.
pub(super) fn fields(message: &[u8]) -> Option<Vec<Field<'_>>> {
    let (mut fields, mut rest) = (Vec::new(), message);
    while !rest.is_empty() {
        let (tag, head_bytes) = varint(rest).ok()?;
        let behind = &rest[head_bytes..];
        let (content, len_bytes) = match tag & 7 {
            0 => varint(behind).map(|(number, len)| (Content::Number(number), len)).ok()?,
            1 => (Content::Fixed, 8),
            5 => (Content::Fixed, 4),
            2 => {
                let (len, from) = varint(behind).ok()?;
                let to = from.checked_add(usize::try_from(len).ok()?)?;
                (Content::Bytes(behind.get(from..to)?), to)
            }
            _ => return None,
        };
        let (whole, after) = rest.split_at_checked(head_bytes + len_bytes)?;
        fields.push(Field { number: tag >> 3, content, whole });
        rest = after;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::wire::Message;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut message = Message::default();
        message.int(1, -2).text(2, "testing").float(3, 1.0).bytes(4, &[0x96, 0x01, 7]);
        let bytes = message.into_bytes();
        let read = fields(&bytes).unwrap();
        assert_eq!(Some(-2), read[0].number().map(u64::cast_signed));
        assert_eq!(Some("testing"), read[1].text());
        let mut numbers = Vec::new();
        read[3].add_numbers(&mut numbers).unwrap();
        assert_eq!([150, 7], *numbers);
        assert_eq!(bytes, read.iter().flat_map(|field| field.whole).copied().collect::<Vec<_>>());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_bytes_are_fields_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(read) = fields(&bytes) {
                let whole: Vec<u8> = read.iter().flat_map(|field| field.whole).copied().collect();
                prop_assert_eq!(bytes, whole);
            }
        }
    }
}
