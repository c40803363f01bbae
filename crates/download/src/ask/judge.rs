//! An answer, held against the question. Pure.

use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Response, StatusCode};
use pool::http::Body;

use super::{Answer, Failure, refused, text};
use crate::error::{Error, ErrorKind};
use crate::range::{ByteRange, ContentRange};
use crate::validator::Validator;

/// Holds a reply against the question.
pub(super) fn judge(
    reply: Response<Body>,
    range: Option<ByteRange>,
    known: &Validator,
) -> Result<Answer, Failure> {
    let (head, body) = reply.into_parts();
    let headers = &head.headers;
    match head.status {
        StatusCode::OK => {
            check_encoding(headers)?;
            if known.can_resume() && !headers.contains_key(header::ETAG) {
                return Err(unmarked(length(headers) == known.total()));
            }
            let validator = Validator::new(single(headers, header::ETAG), length(headers));
            Ok(Answer::Whole { body, validator })
        }
        StatusCode::PARTIAL_CONTENT => {
            check_encoding(headers)?;
            let asked = range.ok_or_else(|| {
                let message = "a partial answer to a question for all";
                Failure::Fatal(Error::new(ErrorKind::Network, message))
            })?;
            let (range, validator) = part(headers, asked, known)?;
            Ok(Answer::Part { body, range, validator })
        }
        StatusCode::RANGE_NOT_SATISFIABLE => unsatisfiable(headers, range, known),
        StatusCode::PRECONDITION_FAILED => {
            let now = Validator::new(single(headers, header::ETAG), None);
            Err(known.check(&now).map_or_else(Failure::Changed, |()| {
                // It refuses the mark that it gave: then without it.
                let message = "the server refuses the mark that it gave";
                Failure::BadRange(Error::new(ErrorKind::Network, message))
            }))
        }
        status => Err(refused(status, headers)),
    }
}

/// A 206: the range that it holds, and the marks.
fn part(
    headers: &HeaderMap,
    asked: ByteRange,
    known: &Validator,
) -> Result<(ByteRange, Validator), Failure> {
    let content_range = single(headers, header::CONTENT_RANGE);
    let came = ContentRange::accept(content_range, asked, known.total());
    let came = match came {
        Ok(came) => came,
        Err(crate::RangeMismatch::OtherSize { came, .. }) => {
            let now = Validator::new(single(headers, header::ETAG), Some(came));
            let changed = known.check(&now).expect_err("the sizes differ");
            return Err(Failure::Changed(changed));
        }
        Err(mismatch) => {
            let message = "the server answers ranges wrongly";
            return Err(Failure::BadRange(
                Error::new(ErrorKind::Network, message).because(mismatch),
            ));
        }
    };
    let total = came.total.or(known.total());
    let validator = Validator::new(single(headers, header::ETAG), total);
    known.check(&validator).map_err(Failure::Changed)?;
    if known.guard().is_some() && validator.guard().is_none() {
        return Err(unmarked(true));
    }
    Ok((came.range, validator))
}

/// What had a mark and has none now. Of another length it comes from somebody else, such as the page of a network
/// that wants a password first: that is not worth what is here.
fn unmarked(same_length: bool) -> Failure {
    let lacks = "the answer lacks the mark of the object that is half here";
    let error = |message: String| Error::new(ErrorKind::Network, message);
    if same_length {
        return Failure::Unmarked(error(lacks.to_owned()));
    }
    Failure::transient(error(format!(
        "{lacks}, and has another length; if that is the file now, remove the hidden `.*.fetching*` beside it"
    )))
}

/// 416: right for an object without bytes; otherwise the server has fewer bytes than we think, or errs.
fn unsatisfiable(
    headers: &HeaderMap,
    range: Option<ByteRange>,
    known: &Validator,
) -> Result<Answer, Failure> {
    let total = single(headers, header::CONTENT_RANGE);
    let total: Option<u64> =
        total.and_then(|text| text.trim().strip_prefix("bytes */")?.parse().ok());
    let validator = Validator::new(single(headers, header::ETAG), total);
    known.check(&validator).map_err(Failure::Changed)?;
    if total == Some(0) && range.is_some_and(|range| range.start() == 0) {
        return Ok(Answer::Empty { validator });
    }
    let message = "the server refuses a range of the object";
    Err(Failure::BadRange(Error::new(ErrorKind::Network, message)))
}

fn check_encoding(headers: &HeaderMap) -> Result<(), Failure> {
    let encoding = text(headers, header::CONTENT_ENCODING).unwrap_or("identity");
    if encoding.eq_ignore_ascii_case("identity") {
        return Ok(());
    }
    let message = "the server encodes the file although it was asked not to";
    Err(Failure::Fatal(Error::new(ErrorKind::Network, message)))
}

fn length(headers: &HeaderMap) -> Option<u64> {
    single(headers, header::CONTENT_LENGTH)?.parse().ok()
}

/// The one value of a header; two that differ say nothing.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.all(|other| other == first).then(|| first.to_str().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(etag: Option<&str>) -> Result<(ByteRange, Validator), Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_RANGE, "bytes 10-19/100".parse().unwrap());
        headers.extend(etag.map(|etag| (header::ETAG, etag.parse().unwrap())));
        let known = Validator::new(Some("\"a\""), Some(100));
        part(&headers, ByteRange::new(10, 20).unwrap(), &known)
    }

    #[test]
    fn a_part_is_taken_with_the_mark_that_the_object_had_alone() {
        assert!(judged(Some("\"a\"")).is_ok());
        assert!(matches!(judged(Some("\"b\"")), Err(Failure::Changed(_))));
        for gone in [None, Some("W/\"a\""), Some("a")] {
            assert!(matches!(judged(gone), Err(Failure::Unmarked(_))), "{gone:?}");
        }
    }
}
