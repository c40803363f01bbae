//! Faults that answer in place of the object, or not at all.

use std::sync::Arc;
use std::time::Duration;

use super::{Ask, Rules};
use crate::blob::finalize;
use crate::fault::{FaultKind, Framing, RetryAfter};
use crate::origin::reply::Reply;
use crate::origin::rules::Rule;

pub(super) fn hang(rules: &Rules<'_>) -> Option<(Option<Duration>, Arc<Rule>)> {
    let hang = |rule: &Rule| match rule.fault.kind() {
        FaultKind::Hang(duration) => Some(*duration),
        _ => None,
    };
    rules.first(hang).map(|(duration, rule)| (duration, Arc::clone(rule)))
}

/// A status, a redirect or an expired signature, if a rule says so.
pub(super) fn refusal(ask: &Ask<'_>, rules: &Rules<'_>) -> Option<Reply> {
    let status = rules.first_counted(|rule| match rule.fault.kind() {
        FaultKind::Status(status) => Some(*status),
        _ => None,
    });
    let retry_after = rules.first_counted(|rule| match rule.fault.kind() {
        FaultKind::RetryAfter(RetryAfter::Text(text)) => Some(text.clone()),
        FaultKind::RetryAfter(RetryAfter::DateIn(duration)) => {
            Some(httpdate::fmt_http_date(ask.now + *duration))
        }
        _ => None,
    });
    let said = match (status, retry_after) {
        (None, None) => None,
        (Some(status), None) => Some(Reply::text(status, "as the fault rule says")),
        (status, Some(value)) => {
            let reply = Reply::text(status.unwrap_or(429), "slow down, says the fault rule");
            Some(reply.with("Retry-After", value))
        }
    };
    said.or_else(|| redirect(ask, rules)).or_else(|| signature(ask, rules))
}

fn redirect(ask: &Ask<'_>, rules: &Rules<'_>) -> Option<Reply> {
    let location = rules.first_counted(|rule| match rule.fault.kind() {
        FaultKind::Redirect(url) => Some(with_path(url, &ask.request.path)),
        FaultKind::RedirectLoop => {
            let hop = ask.request.parameter("hop").and_then(|hop| hop.parse::<u64>().ok());
            Some(format!("{}?hop={}", ask.request.path, hop.unwrap_or(0).wrapping_add(1)))
        }
        _ => None,
    })?;
    Some(Reply::text(302, "elsewhere").with("Location", location))
}

/// Appends the path where the URL has none.
fn with_path(url: &str, path: &str) -> String {
    match url.split_once("://") {
        Some((_, rest)) if !rest.contains('/') => format!("{url}{path}"),
        Some((_, rest)) if rest.find('/') == Some(rest.len() - 1) => {
            format!("{}{path}", url.trim_end_matches('/'))
        }
        _ => url.to_owned(),
    }
}

/// Sends unsigned requests to a signed URL, lets fresh signatures pass and refuses stale ones.
fn signature(ask: &Ask<'_>, rules: &Rules<'_>) -> Option<Reply> {
    let expire = |rule: &Rule| match rule.fault.kind() {
        FaultKind::Expire(duration) => Some(*duration),
        _ => None,
    };
    let (valid, rule) = rules
        .rules
        .iter()
        .find_map(|rule| Some((expire(rule)?, rule)).filter(|_| rules.holds(rule)))?;
    let sign = |signed_ms: u64| format!("{:016x}", finalize(ask.key ^ finalize(signed_ms)));
    let now_ms = ask.uptime.as_millis() as u64;
    let Some(signature) = ask.request.parameter("signature") else {
        let query = format!("signed={now_ms}&signature={}", sign(now_ms));
        let location = format!("{}?{query}", ask.request.path);
        return Some(Reply::text(302, "signed").with("Location", location));
    };
    let signed_ms = ask.request.parameter("signed").and_then(|ms| ms.parse().ok());
    let fresh = signed_ms.is_some_and(|signed_ms: u64| {
        sign(signed_ms) == signature && now_ms <= signed_ms.saturating_add(valid.as_millis() as u64)
    });
    if fresh || !rule.acts() {
        return None;
    }
    rule.count();
    Some(Reply::text(403, "the signature has expired"))
}

pub(super) fn old_version(rules: &Rules<'_>, reply: &mut Reply) {
    let framing = rules.first_counted(|rule| match rule.fault.kind() {
        FaultKind::Http10(framing) => Some(*framing),
        _ => None,
    });
    let Some(framing) = framing else {
        return;
    };
    (reply.http10, reply.close) = (true, true);
    // HTTP/1.0 knows no chunks.
    if framing == Framing::Close || reply.framing == Framing::Chunked {
        reply.framing = Framing::Close;
    }
}

#[cfg(test)]
mod tests {
    use super::with_path;

    #[test]
    fn the_path_goes_along_where_the_url_has_none() {
        assert_eq!("http://h:1/a", with_path("http://h:1", "/a"));
        assert_eq!("http://h:1/a", with_path("http://h:1/", "/a"));
        assert_eq!("http://h:1/b", with_path("http://h:1/b", "/a"));
        assert_eq!("/b", with_path("/b", "/a"));
    }
}
