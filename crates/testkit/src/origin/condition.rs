//! Conditional requests (RFC 9110, 13), by `ETag`.

use super::request::Request;

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer; the flag says whether a Range may be honored.
    Go { ranges: bool },
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Judges the conditions in the order of RFC 9110, 13.2.2. `etag` is ours, with its quotes; `modified`
/// our Last-Modified.
pub(crate) fn judge(request: &Request, etag: Option<&str>, modified: Option<&str>) -> Verdict {
    if let Some(wanted) = request.header("if-match")
        && !any_strong(wanted, etag)
    {
        return Verdict::Failed;
    }
    if let Some(known) = request.header("if-none-match")
        && any_weak(known, etag)
    {
        return Verdict::NotModified;
    }
    let ranges = match request.header("if-range") {
        None => true,
        Some(mark) if mark.ends_with('"') => strong_equal(mark, etag),
        Some(date) => modified == Some(date),
    };
    Verdict::Go { ranges }
}

fn any_strong(list: &str, etag: Option<&str>) -> bool {
    list.trim() == "*" || list.split(',').any(|mark| strong_equal(mark.trim(), etag))
}

fn any_weak(list: &str, etag: Option<&str>) -> bool {
    let opaque = |mark: &str| mark.trim().trim_start_matches("W/").to_owned();
    list.trim() == "*"
        || etag.is_some_and(|etag| list.split(',').any(|mark| opaque(mark) == opaque(etag)))
}

/// Two strong marks with the same characters (RFC 9110, 8.8.3.2).
fn strong_equal(mark: &str, etag: Option<&str>) -> bool {
    !mark.starts_with("W/") && etag == Some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, value: &str, etag: &str, expected: Verdict) {
        let headers = vec![(header.to_owned(), value.to_owned())];
        let request = Request { headers, ..Request::default() };
        assert_eq!(expected, judge(&request, Some(etag), Some("today")), "{header}: {value}");
    }

    const GO: Verdict = Verdict::Go { ranges: true };
    const WHOLE: Verdict = Verdict::Go { ranges: false };

    #[test]
    fn if_match_wants_a_strong_equal() {
        check("if-match", r#""a""#, r#""a""#, GO);
        check("if-match", r#""b", "a""#, r#""a""#, GO);
        check("if-match", "*", r#""a""#, GO);
        check("if-match", r#""b""#, r#""a""#, Verdict::Failed);
        check("if-match", r#"W/"a""#, r#"W/"a""#, Verdict::Failed);
    }

    #[test]
    fn if_none_match_compares_weakly() {
        check("if-none-match", r#"W/"a""#, r#""a""#, Verdict::NotModified);
        check("if-none-match", r#""b""#, r#""a""#, GO);
    }

    #[test]
    fn if_range_falls_back_to_the_whole() {
        check("if-range", r#""a""#, r#""a""#, GO);
        check("if-range", r#""b""#, r#""a""#, WHOLE);
        check("if-range", r#"W/"a""#, r#"W/"a""#, WHOLE);
        check("if-range", "today", r#""a""#, GO);
        check("if-range", "yesterday", r#""a""#, WHOLE);
    }
}
