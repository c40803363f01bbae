//! Rules as text, both ways.

use std::error;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{Etag, Fault, FaultKind, Framing, RetryAfter, WrongRange};
use crate::units::{UnitError, parse_duration, parse_rate, parse_size, show_duration};

/// The rate of `cap` and `collapse` where none is given, in bytes per second.
const RATE_DEFAULT: u64 = 1_000_000;
/// The rate of `trickle` where none is given, in bytes per second.
const TRICKLE_DEFAULT: u64 = 1_000;
/// By how many bytes `short` and `long` are off where that is not said.
const OFF_BY_DEFAULT: u64 = 1_000;
/// How long signed URLs hold where that is not said.
const EXPIRE_DEFAULT: Duration = Duration::from_secs(10);

const FRAMINGS: [(&str, Framing); 3] =
    [("length", Framing::Length), ("chunked", Framing::Chunked), ("close", Framing::Close)];
const WRONG_RANGES: [(&str, WrongRange); 10] = [
    ("shift", WrongRange::Shift),
    ("lie", WrongRange::Lie),
    ("zero", WrongRange::Zero),
    ("none", WrongRange::None),
    ("equals", WrongRange::Equals),
    ("star", WrongRange::Star),
    ("total", WrongRange::Total),
    ("short", WrongRange::Short),
    ("416", WrongRange::Unsatisfiable),
    ("unasked", WrongRange::Unasked),
];
const ETAGS: [(&str, Etag); 4] =
    [("other", Etag::Other), ("ignore", Etag::Ignore), ("weak", Etag::Weak), ("none", Etag::None)];

const KINDS: &str = "cut stall trickle rst half-close hang ignore-range wrong-range swap etag gzip \
                     short long flip status retry-after redirect redirect-loop http10 expire cap \
                     collapse";

/// Why a rule could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultError {
    rule: String,
    what: String,
}

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fault rule `{}`: {}", self.rule, self.what)
    }
}

impl error::Error for FaultError {}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(rule: &str) -> Result<Self, FaultError> {
        parse(rule).map_err(|what| FaultError { rule: rule.to_owned(), what })
    }
}

/// Takes the limits off from the right, so that an argument may hold `:` and, where a glob and a number
/// are given, even `@` and `#`.
fn parse(rule: &str) -> Result<Fault, String> {
    let (rest, at) = match rule.rsplit_once(":at=") {
        Some((rest, at)) => (rest, Some(parse_size(at).map_err(told)?)),
        None => (rule, None),
    };
    let (rest, (first, last)) = match rest.rsplit_once('#') {
        Some((rest, numbers)) => (rest, parse_numbers(numbers)?),
        None => (rest, (1, None)),
    };
    let (kind, glob) = match rest.rsplit_once('@') {
        Some((_, "")) => return Err("the glob after `@` is empty".to_owned()),
        Some((kind, glob)) => (kind, Some(glob.to_owned())),
        None => (rest, None),
    };
    let kind = match kind.split_once('=') {
        Some((name, argument)) => parse_kind(name, Some(argument))?,
        None => parse_kind(kind, None)?,
    };
    Ok(Fault { kind, glob, first, last, at, text: rule.to_owned() })
}

/// Reads `N`, `N..M` (both included) or `N..`.
fn parse_numbers(text: &str) -> Result<(u64, Option<u64>), String> {
    let number = |text: &str| text.parse::<u64>().ok().filter(|&number| 0 < number);
    let numbers = match text.split_once("..") {
        None => number(text).map(|n| (n, Some(n))),
        Some((first, "")) => number(first).map(|n| (n, None)),
        Some((first, last)) => number(first).zip(number(last)).map(|(n, m)| (n, Some(m))),
    };
    numbers
        .filter(|&(first, last)| last.is_none_or(|last| first <= last))
        .ok_or_else(|| format!("`#{text}` is no number of requests: write #2, #2..5 or #2.."))
}

fn parse_kind(name: &str, argument: Option<&str>) -> Result<FaultKind, String> {
    Ok(match name {
        "cut" => FaultKind::Cut(one_of(&FRAMINGS, argument)?),
        "stall" => FaultKind::Stall(optional(argument, parse_duration)?),
        "trickle" => FaultKind::Trickle(optional(argument, parse_rate)?.unwrap_or(TRICKLE_DEFAULT)),
        "rst" => bare(name, argument, FaultKind::Rst)?,
        "half-close" => bare(name, argument, FaultKind::HalfClose)?,
        "hang" => FaultKind::Hang(optional(argument, parse_duration)?),
        "ignore-range" => bare(name, argument, FaultKind::IgnoreRange)?,
        "wrong-range" => FaultKind::WrongRange(one_of(&WRONG_RANGES, argument)?),
        "swap" => bare(name, argument, FaultKind::Swap)?,
        "etag" => FaultKind::Etag(one_of(&ETAGS, argument)?),
        "gzip" => bare(name, argument, FaultKind::Gzip)?,
        "short" => FaultKind::Short(optional(argument, parse_size)?.unwrap_or(OFF_BY_DEFAULT)),
        "long" => FaultKind::Long(optional(argument, parse_size)?.unwrap_or(OFF_BY_DEFAULT)),
        "flip" => bare(name, argument, FaultKind::Flip)?,
        "status" => FaultKind::Status(parse_status(argument.unwrap_or("503"))?),
        "retry-after" => FaultKind::RetryAfter(parse_retry_after(needed(name, argument)?)?),
        "redirect" => FaultKind::Redirect(parse_url(needed(name, argument)?)?),
        "redirect-loop" => bare(name, argument, FaultKind::RedirectLoop)?,
        "http10" => FaultKind::Http10(one_of(&[FRAMINGS[0], FRAMINGS[2]], argument)?),
        "expire" => {
            FaultKind::Expire(optional(argument, parse_duration)?.unwrap_or(EXPIRE_DEFAULT))
        }
        "cap" => FaultKind::Cap(optional(argument, parse_rate)?.unwrap_or(RATE_DEFAULT)),
        "collapse" => parse_collapse(needed(name, argument)?)?,
        _ => return Err(format!("no kind `{name}`; there are: {KINDS}")),
    })
}

fn needed<'a>(name: &str, argument: Option<&'a str>) -> Result<&'a str, String> {
    argument.ok_or_else(|| format!("`{name}` needs an argument: write `{name}=…`"))
}

fn bare(name: &str, argument: Option<&str>, kind: FaultKind) -> Result<FaultKind, String> {
    argument.map_or(Ok(kind), |_| Err(format!("`{name}` takes no argument")))
}

fn optional<T>(
    argument: Option<&str>,
    parse: impl Fn(&str) -> Result<T, UnitError>,
) -> Result<Option<T>, String> {
    argument.map(parse).transpose().map_err(told)
}

fn one_of<T: Copy + Default>(forms: &[(&str, T)], argument: Option<&str>) -> Result<T, String> {
    let Some(argument) = argument else {
        return Ok(T::default());
    };
    forms.iter().find(|(name, _)| *name == argument).map(|(_, form)| *form).ok_or_else(|| {
        let names: Vec<_> = forms.iter().map(|(name, _)| *name).collect();
        format!("no form `{argument}`; there are: {}", names.join(", "))
    })
}

fn parse_status(text: &str) -> Result<u16, String> {
    let status = text.parse().ok().filter(|status| (200..=599).contains(status));
    status.ok_or_else(|| format!("`{text}` is no status from 200 to 599"))
}

fn parse_retry_after(text: &str) -> Result<RetryAfter, String> {
    match text.strip_prefix("date+") {
        Some(duration) => parse_duration(duration).map(RetryAfter::DateIn).map_err(told),
        None => printable(text).map(RetryAfter::Text),
    }
}

fn parse_url(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(' ') {
        return Err(format!("`{text}` is no URL"));
    }
    printable(text)
}

/// What goes into a header must not end it.
fn printable(text: &str) -> Result<String, String> {
    let fits = text.chars().all(|c| !c.is_control());
    fits.then(|| text.to_owned()).ok_or_else(|| "control characters in the argument".to_owned())
}

fn parse_collapse(text: &str) -> Result<FaultKind, String> {
    let (bodies, rate) = match text.split_once(',') {
        Some((bodies, rate)) => (bodies, parse_rate(rate).map_err(told)?),
        None => (text, RATE_DEFAULT),
    };
    let bodies = bodies.parse().map_err(|_| format!("`{bodies}` is no number of connections"))?;
    Ok(FaultKind::Collapse { bodies, rate })
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` calls")]
fn told(error: UnitError) -> String {
    error.to_string()
}

/// Writes a rule so that it reads back as the same.
pub(super) fn render(fault: &Fault) -> String {
    let mut text = render_kind(&fault.kind);
    if let Some(glob) = &fault.glob {
        text += &format!("@{glob}");
    }
    text += &match (fault.first, fault.last) {
        (1, None) => String::new(),
        (first, None) => format!("#{first}.."),
        (first, Some(last)) if first == last => format!("#{first}"),
        (first, Some(last)) => format!("#{first}..{last}"),
    };
    if let Some(at) = fault.at {
        text += &format!(":at={at}");
    }
    text
}

fn render_kind(kind: &FaultKind) -> String {
    match kind {
        FaultKind::Cut(framing) => with_form("cut", &FRAMINGS, *framing),
        FaultKind::Stall(duration) => with_duration("stall", *duration),
        FaultKind::Trickle(rate) => format!("trickle={rate}"),
        FaultKind::Rst => "rst".to_owned(),
        FaultKind::HalfClose => "half-close".to_owned(),
        FaultKind::Hang(duration) => with_duration("hang", *duration),
        FaultKind::IgnoreRange => "ignore-range".to_owned(),
        FaultKind::WrongRange(form) => with_form("wrong-range", &WRONG_RANGES, *form),
        FaultKind::Swap => "swap".to_owned(),
        FaultKind::Etag(form) => with_form("etag", &ETAGS, *form),
        FaultKind::Gzip => "gzip".to_owned(),
        FaultKind::Short(bytes) => format!("short={bytes}"),
        FaultKind::Long(bytes) => format!("long={bytes}"),
        FaultKind::Flip => "flip".to_owned(),
        FaultKind::Status(status) => format!("status={status}"),
        FaultKind::RetryAfter(RetryAfter::Text(text)) => format!("retry-after={text}"),
        FaultKind::RetryAfter(RetryAfter::DateIn(duration)) => {
            format!("retry-after=date+{}", show_duration(*duration))
        }
        FaultKind::Redirect(url) => format!("redirect={url}"),
        FaultKind::RedirectLoop => "redirect-loop".to_owned(),
        FaultKind::Http10(framing) => with_form("http10", &FRAMINGS, *framing),
        FaultKind::Expire(duration) => with_duration("expire", Some(*duration)),
        FaultKind::Cap(rate) => format!("cap={rate}"),
        FaultKind::Collapse { bodies, rate } => format!("collapse={bodies},{rate}"),
    }
}

fn with_form<T: Copy + PartialEq + Default>(name: &str, forms: &[(&str, T)], form: T) -> String {
    match forms.iter().find(|(_, candidate)| *candidate == form) {
        Some((text, _)) if form != T::default() => format!("{name}={text}"),
        _ => name.to_owned(),
    }
}

fn with_duration(name: &str, duration: Option<Duration>) -> String {
    duration
        .map_or_else(|| name.to_owned(), |duration| format!("{name}={}", show_duration(duration)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule reads as this kind, and what the typed rule renders reads back as the same.
    #[track_caller]
    fn check(text: &str, expected: &FaultKind) {
        let fault: Fault = text.parse().unwrap();
        assert_eq!(expected, fault.kind(), "{text}");
        assert_eq!(text, fault.to_string());
        let again: Fault = render(&fault).parse().unwrap();
        assert_eq!(fault, Fault { text: fault.text.clone(), ..again }, "{text}");
    }

    #[test]
    fn every_kind_is_read_bare_or_with_its_argument() {
        check("cut", &FaultKind::Cut(Framing::Length));
        check("cut=chunked", &FaultKind::Cut(Framing::Chunked));
        check("stall", &FaultKind::Stall(None));
        check("stall=1.5s", &FaultKind::Stall(Some(Duration::from_millis(1500))));
        check("trickle=10KB/s", &FaultKind::Trickle(10_000));
        check("rst", &FaultKind::Rst);
        check("half-close", &FaultKind::HalfClose);
        check("hang=2s", &FaultKind::Hang(Some(Duration::from_secs(2))));
        check("ignore-range", &FaultKind::IgnoreRange);
        check("wrong-range", &FaultKind::WrongRange(WrongRange::Shift));
        check("wrong-range=416", &FaultKind::WrongRange(WrongRange::Unsatisfiable));
        check("swap", &FaultKind::Swap);
        check("etag=weak", &FaultKind::Etag(Etag::Weak));
        check("gzip", &FaultKind::Gzip);
        check("short", &FaultKind::Short(1000));
        check("long=1", &FaultKind::Long(1));
        check("flip", &FaultKind::Flip);
        check("status", &FaultKind::Status(503));
        check("retry-after=2", &FaultKind::RetryAfter(RetryAfter::Text("2".to_owned())));
        check("redirect-loop", &FaultKind::RedirectLoop);
        check("http10=close", &FaultKind::Http10(Framing::Close));
        check("expire", &FaultKind::Expire(Duration::from_secs(10)));
        check("cap=8.7MB/s", &FaultKind::Cap(8_700_000));
        check("collapse=8", &FaultKind::Collapse { bodies: 8, rate: RATE_DEFAULT });
        check("collapse=8,100KB/s", &FaultKind::Collapse { bodies: 8, rate: 100_000 });
    }

    #[test]
    fn every_kind_of_the_list_is_known() {
        for name in KINDS.split_whitespace() {
            let known = |error: &String| !error.starts_with("no kind");
            assert!(parse_kind(name, None).err().is_none_or(|error| known(&error)), "{name}");
        }
    }

    #[test]
    fn limits_are_taken_from_the_right() {
        let fault: Fault = "redirect=http://u@h:80/x#y@/a/*.bin#2..5:at=1MiB".parse().unwrap();
        assert_eq!(&FaultKind::Redirect("http://u@h:80/x#y".to_owned()), fault.kind());
        assert_eq!((2, Some(5), Some(1 << 20)), (fault.first, fault.last, fault.at));
        assert!(fault.concerns("/a/b.bin") && !fault.concerns("/b.bin"));
    }

    #[test]
    fn dates_keep_their_colons() {
        let date = "Fri, 31 Dec 1999 23:59:59 GMT";
        check(
            &format!("retry-after={date}"),
            &FaultKind::RetryAfter(RetryAfter::Text(date.to_owned())),
        );
        check(
            "retry-after=date+2s",
            &FaultKind::RetryAfter(RetryAfter::DateIn(Duration::from_secs(2))),
        );
    }

    #[test]
    fn numbers_count_both_ends() {
        let numbers = |rule: &str| {
            let fault: Fault = rule.parse().unwrap();
            (1..=6).filter(|&n| fault.counts_in(n)).collect::<Vec<_>>()
        };
        assert_eq!(vec![2], numbers("rst#2"));
        assert_eq!(vec![2, 3, 4], numbers("rst#2..4"));
        assert_eq!(vec![5, 6], numbers("rst#5.."));
        assert_eq!(6, numbers("rst").len());
    }

    #[test]
    fn the_leading_slash_may_be_left_out() {
        let fault: Fault = "rst@model.bin".parse().unwrap();
        assert!(fault.concerns("/model.bin") && !fault.concerns("/a/model.bin"));
    }

    #[test]
    fn what_is_no_rule_is_refused_with_its_reason() {
        let reason = |rule: &str| rule.parse::<Fault>().unwrap_err().to_string();
        assert!(
            reason("explode").starts_with("fault rule `explode`: no kind `explode`; there are")
        );
        assert_eq!("fault rule `rst=1`: `rst` takes no argument", reason("rst=1"));
        assert!(reason("cut=dance").contains("no form `dance`; there are: length, chunked"));
        assert!(reason("redirect").contains("needs an argument"));
        assert!(reason("status=99").contains("no status from 200 to 599"));
        assert!(reason("rst#0").contains("write #2, #2..5 or #2.."));
        assert!(reason("rst#5..2").contains("no number of requests"));
        assert!(reason("rst@").contains("is empty"));
        assert!(reason("rst:at=soon").contains("`soon` is no size"));
        assert!(reason("retry-after=1\r\nX: y").contains("control characters"));
    }
}
