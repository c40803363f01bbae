//! Text within JSON, and numbers.

/// What may stand as it is, and what has to be looked at.
const PLAIN: u8 = 0;
/// A byte that is escaped.
const ESCAPED: u8 = 1;
/// The first byte of characters of which a few are escaped.
const FIRST: u8 = 2;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [PLAIN; 256];
    let mut byte = 0;
    while byte < 0x20 {
        classes[byte] = ESCAPED;
        byte += 1;
    }
    classes[b'"' as usize] = ESCAPED;
    classes[b'\\' as usize] = ESCAPED;
    // U+0085, U+2028 and U+2029 end a line for clients that split lines as Python's `str` does.
    classes[0xC2] = FIRST;
    classes[0xE2] = FIRST;
    classes
}

/// Writes text between the quotes of a JSON string (RFC 8259, 7), on one line whatever a reader takes
/// for the end of a line. `text` must be UTF-8.
pub(crate) fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| CLASSES[usize::from(*byte)] != PLAIN) {
        out.extend_from_slice(&rest[..at]);
        let taken = push_special(out, &rest[at..]);
        rest = &rest[at + taken..];
    }
    out.extend_from_slice(rest);
}

/// Writes what stands first; returns how many bytes that were.
fn push_special(out: &mut Vec<u8>, rest: &[u8]) -> usize {
    let short = match rest {
        [b'"', ..] => b"\\\"",
        [b'\\', ..] => b"\\\\",
        [b'\n', ..] => b"\\n",
        [b'\r', ..] => b"\\r",
        [b'\t', ..] => b"\\t",
        [0xC2, 0x85, ..] => return push_code(out, 0x85, 2),
        [0xE2, 0x80, 0xA8, ..] => return push_code(out, 0x2028, 3),
        [0xE2, 0x80, 0xA9, ..] => return push_code(out, 0x2029, 3),
        [first @ (0xC2 | 0xE2), ..] => {
            out.push(*first);
            return 1;
        }
        [control, ..] => return push_code(out, u16::from(*control), 1),
        [] => return 0,
    };
    out.extend_from_slice(short);
    1
}

fn push_code(out: &mut Vec<u8>, code: u16, taken: usize) -> usize {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(DIGITS[usize::from(code >> shift & 0xf)]);
    }
    taken
}

/// Writes a number.
pub(crate) fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    // 20 digits are the most that a `u64` has.
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_parser_reads_back_what_was_written(text: String) {
            let mut out = b"\"".to_vec();
            push_escaped(&mut out, text.as_bytes());
            out.push(b'"');
            prop_assert_eq!(&text, &serde_json::from_slice::<String>(&out).unwrap());
            let line = String::from_utf8(out).unwrap();
            let ends = ['\n', '\r', '\0', '\u{b}', '\u{85}', '\u{2028}', '\u{2029}'];
            let is_one_line = !line.contains(ends);
            prop_assert!(is_one_line);
        }

        #[test]
        fn numbers_are_written_as_the_standard_library_does(number: u64) {
            let mut out = Vec::new();
            push_decimal(&mut out, number);
            prop_assert_eq!(number.to_string(), String::from_utf8(out).unwrap());
        }
    }

    #[test]
    fn what_ends_a_line_somewhere_is_escaped() {
        let mut out = Vec::new();
        push_escaped(&mut out, "a\n\r\t\0\u{85}\u{2028}\u{2029}é€\u{7f}\"\\".as_bytes());
        let expected = r#"a\n\r\t\u0000\u0085\u2028\u2029é€"#.to_owned() + "\u{7f}" + r#"\"\\"#;
        assert_eq!(expected, String::from_utf8(out).unwrap());
    }
}
