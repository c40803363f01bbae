//! Which part of an object is asked for (RFC 9110, 14).

use std::ops::Range;

/// What a Range header comes to, for an object of known size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// No range, another unit than bytes, or several ranges, which a server may ignore (14.2): we send
    /// the whole object then.
    Whole,
    /// One satisfiable range, half-open.
    Part(Range<u64>),
    /// No syntax, or no byte of it within the object: 416.
    Unsatisfiable,
}

/// Reads a Range header for an object of `size` bytes.
pub(crate) fn asked(header: Option<&str>, size: u64) -> Asked {
    let Some((unit, specification)) = header.and_then(|header| header.split_once('=')) else {
        return header.map_or(Asked::Whole, |_| Asked::Unsatisfiable);
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    if specification.contains(',') {
        let mut parts = specification.split(',').map(|part| part_of(part.trim(), size));
        let readable = parts.all(|part| part.is_some());
        return if readable { Asked::Whole } else { Asked::Unsatisfiable };
    }
    match part_of(specification.trim(), size) {
        Some(range) if !range.is_empty() => Asked::Part(range),
        _ => Asked::Unsatisfiable,
    }
}

/// Reads `A-B`, `A-` or `-N`; `None` without syntax, empty where nothing lies within the object.
fn part_of(text: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = text.split_once('-')?;
    if first.is_empty() {
        return Some(size.saturating_sub(number(last)?)..size);
    }
    let first = number(first)?;
    let end = match last {
        "" => size,
        last => number(last).filter(|&last| first <= last)?.saturating_add(1).min(size),
    };
    Some(first.min(end)..end)
}

/// Reads digits alone; more of them than fit mean "beyond every object".
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, expected: &Asked) {
        assert_eq!(expected, &asked(Some(header), 100), "{header}");
    }

    #[test]
    fn single_ranges_are_parts() {
        check("bytes=0-0", &Asked::Part(0..1));
        check("bytes=10-19", &Asked::Part(10..20));
        check("bytes=90-", &Asked::Part(90..100));
        check("bytes=90-1000", &Asked::Part(90..100));
        check("bytes=-30", &Asked::Part(70..100));
        check("bytes=-1000", &Asked::Part(0..100));
        check("BYTES = 0-0", &Asked::Part(0..1));
        check("bytes=99-99999999999999999999999", &Asked::Part(99..100));
    }

    #[test]
    fn what_lies_outside_is_unsatisfiable() {
        check("bytes=100-", &Asked::Unsatisfiable);
        check("bytes=200-300", &Asked::Unsatisfiable);
        check("bytes=-0", &Asked::Unsatisfiable);
        assert_eq!(Asked::Unsatisfiable, asked(Some("bytes=0-"), 0));
    }

    #[test]
    fn what_is_no_range_is_unsatisfiable() {
        for header in ["bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-2", "bytes=1-2,x", "="] {
            let unknown_unit = header == "=";
            check(header, if unknown_unit { &Asked::Whole } else { &Asked::Unsatisfiable });
        }
    }

    #[test]
    fn several_ranges_and_other_units_get_the_whole() {
        check("bytes=0-1,5-6", &Asked::Whole);
        check("lines=0-1", &Asked::Whole);
        assert_eq!(Asked::Whole, asked(None, 100));
    }
}
