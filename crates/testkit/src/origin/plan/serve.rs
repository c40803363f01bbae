//! Objects, with their conditions and ranges, and the faults that lie about them.

use std::ops::Range;

use super::Rules;
use crate::fault::{Etag, FaultKind, Framing, WrongRange};
use crate::origin::condition::{Verdict, judge};
use crate::origin::object::Object;
use crate::origin::range::{Asked, asked};
use crate::origin::reply::{Part, Payload, Reply};
use crate::origin::request::Request;

/// Answers a GET or HEAD for an object.
pub(super) fn object(
    request: &Request,
    rules: &Rules<'_>,
    object: Object,
    headers: Vec<(&'static str, String)>,
) -> Reply {
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return Reply::text(405, "objects are read only").with("Allow", "GET, HEAD");
    }
    let lie = rules.first_counted(|rule| match rule.fault.kind() {
        FaultKind::Etag(lie) => Some(*lie),
        _ => None,
    });
    let etag = told_etag(&object.etag, lie);
    let verdict = match lie {
        Some(Etag::Ignore) => Verdict::Go { ranges: true },
        _ => judge(request, etag.as_deref(), object.modified.as_deref()),
    };
    let modified = object.modified.clone();
    let mut reply = match verdict {
        Verdict::Failed => Reply::text(412, "the object has another ETag"),
        Verdict::NotModified => Reply::of(304, Payload::Text(Vec::new())),
        Verdict::Go { ranges } => select(request, rules, object, ranges),
    };
    reply.headers.extend(headers);
    reply.headers.extend(etag.map(|etag| ("ETag", etag)));
    reply.headers.extend(modified.map(|modified| ("Last-Modified", modified)));
    reply.with("Accept-Ranges", "bytes")
}

fn told_etag(etag: &str, lie: Option<Etag>) -> Option<String> {
    match lie {
        None => Some(etag.to_owned()),
        Some(Etag::Other | Etag::Ignore) => Some(etag.replacen('"', "\"other-", 1)),
        Some(Etag::Weak) => Some(format!("W/{etag}")),
        Some(Etag::None) => None,
    }
}

/// Chooses the bytes.
fn select(request: &Request, rules: &Rules<'_>, object: Object, ranges: bool) -> Reply {
    let size = object.content.size();
    let header = request.header("range").filter(|_| ranges && request.method == "GET");
    let asked = match asked(header, size) {
        Asked::Part(_) if flag(rules, &FaultKind::IgnoreRange) => Asked::Whole,
        asked => asked,
    };
    let unsatisfiable = || {
        let reply = Reply::text(416, format!("the object has {size} bytes"));
        reply.with("Content-Range", format!("bytes */{size}"))
    };
    let mut reply = match asked {
        Asked::Unsatisfiable => return unsatisfiable(),
        Asked::Part(range) => match wrong(rules, &range, size) {
            Some(WrongRange::Unsatisfiable) => return unsatisfiable(),
            form => partial(object, &range, form),
        },
        Asked::Whole if header.is_none() && is_unasked(rules) => partial(object, &(0..size), None),
        Asked::Whole => whole(object),
    };
    if flag(rules, &FaultKind::Gzip) {
        reply = zipped(reply);
    }
    if let Payload::Part(part) = &mut reply.payload {
        part.swapped = flag(rules, &FaultKind::Swap);
        part.flipped = flipped(rules, &part.range);
    }
    reply.with("Content-Type", "application/octet-stream")
}

/// Whether a rule of this kind, which has no argument, acts.
fn flag(rules: &Rules<'_>, kind: &FaultKind) -> bool {
    rules.first_counted(|rule| (rule.fault.kind() == kind).then_some(())).is_some()
}

fn is_unasked(rules: &Rules<'_>) -> bool {
    flag(rules, &FaultKind::WrongRange(WrongRange::Unasked))
}

/// The form of the first rule that makes the answer for this range wrong.
fn wrong(rules: &Rules<'_>, range: &Range<u64>, size: u64) -> Option<WrongRange> {
    rules.first_counted(|rule| match rule.fault.kind() {
        FaultKind::WrongRange(form) if spoils(*form, range, size) => Some(*form),
        _ => None,
    })
}

/// Whether a form makes a difference: half of one byte is the byte, and the whole may be what was asked for.
fn spoils(form: WrongRange, range: &Range<u64>, size: u64) -> bool {
    match form {
        WrongRange::Unasked => false,
        WrongRange::Shift | WrongRange::Lie | WrongRange::Zero | WrongRange::Short => {
            sent(form, range, size) != *range
        }
        _ => true,
    }
}

/// What is sent instead of a range, which is not empty.
fn sent(form: WrongRange, range: &Range<u64>, size: u64) -> Range<u64> {
    // As many bytes as were asked for: one later, or one earlier at the end of the object.
    let moved = match range.end {
        end if end < size => range.start + 1..end + 1,
        end => range.start.saturating_sub(1)..end - u64::from(0 < range.start),
    };
    match form {
        WrongRange::Shift if range.end - range.start == 1 => moved,
        WrongRange::Shift => range.start + 1..range.end,
        WrongRange::Lie => moved,
        WrongRange::Zero => 0..size,
        WrongRange::Short => range.start..range.start + (range.end - range.start).div_ceil(2),
        _ => range.clone(),
    }
}

/// The offset of the byte to flip: as the rule says, or in the middle of what is sent.
fn flipped(rules: &Rules<'_>, range: &Range<u64>) -> Option<u64> {
    let middle = range.start + (range.end - range.start) / 2;
    rules.first_counted(|rule| {
        let at = rule.fault.at_bytes().unwrap_or(middle);
        (*rule.fault.kind() == FaultKind::Flip && range.contains(&at)).then_some(at)
    })
}

fn whole(object: Object) -> Reply {
    let size = object.content.size();
    Reply::of(200, part(object, 0..size))
}

fn part(object: Object, range: Range<u64>) -> Payload {
    let content = object.content;
    Payload::Part(Part { content, range, swapped: false, flipped: None, gzip: false })
}

/// A 206 for `range`, which is not empty, in the form that a rule wants.
fn partial(object: Object, range: &Range<u64>, form: Option<WrongRange>) -> Reply {
    let size = object.content.size();
    let sent = form.map_or_else(|| range.clone(), |form| sent(form, range, size));
    let told = if form == Some(WrongRange::Lie) { range } else { &sent };
    let (first, last) = (told.start, told.end.saturating_sub(1));
    let header = match form {
        Some(WrongRange::None) => None,
        Some(WrongRange::Equals) => Some(format!("bytes={first}-{last}/{size}")),
        Some(WrongRange::Star) => Some(format!("bytes {first}-{last}/*")),
        Some(WrongRange::Total) => Some(format!("bytes {first}-{last}/{}", size + 1)),
        _ => Some(format!("bytes {first}-{last}/{size}")),
    };
    let mut reply = Reply::of(206, part(object, sent));
    reply.headers.extend(header.map(|header| ("Content-Range", header)));
    reply
}

/// The whole object in gzip's format, of a length that is not told, as compressing servers do.
fn zipped(reply: Reply) -> Reply {
    let Payload::Part(Part { content, .. }) = reply.payload else {
        return reply;
    };
    let range = 0..content.size();
    let part = Part { content, range, swapped: false, flipped: None, gzip: true };
    let mut reply = Reply::of(200, Payload::Part(part)).with("Content-Encoding", "gzip");
    reply.framing = Framing::Chunked;
    reply
}
