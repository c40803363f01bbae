//! Faults in how a body is framed and sent.

use std::sync::Arc;

use super::{Ask, Rules};
use crate::fault::{FaultKind, Framing};
use crate::origin::reply::{Deed, Mark, Reply};
use crate::origin::rules::Rule;

/// Puts onto the reply what the rules want to happen while its body is sent.
pub(super) fn arrange(ask: &Ask<'_>, rules: &Rules<'_>, reply: &mut Reply) {
    if !matches!(reply.status, 200 | 206) {
        return;
    }
    let length = reply.payload.length();
    for rule in rules.rules {
        if let Some((deed, at)) = deed(rule, length)
            && rule.acts()
        {
            reply.delivery.marks.push(Mark { at, deed, rule: Arc::clone(rule) });
            frame_the_cut(rule, reply);
        }
    }
    reply.delivery.marks.sort_by_key(|mark| mark.at);
    misstate_the_length(rules, reply);
    slow_down(ask, rules, reply);
}

/// What the rule does within a body of this length, and after how many bytes; `None` if it ends before.
fn deed(rule: &Rule, length: u64) -> Option<(Deed, u64)> {
    let half = length / 2;
    let (deed, at_default) = match rule.fault.kind() {
        FaultKind::Cut(_) => (Deed::Close, half),
        FaultKind::Rst => (Deed::Reset, half),
        FaultKind::HalfClose => (Deed::HalfClose, half),
        FaultKind::Stall(duration) => (Deed::Stall(*duration), half),
        FaultKind::Trickle(rate) => (Deed::Trickle(*rate), 0),
        _ => return None,
    };
    let at = rule.fault.at_bytes().unwrap_or(at_default);
    (at < length).then_some((deed, at))
}

fn frame_the_cut(rule: &Rule, reply: &mut Reply) {
    match rule.fault.kind() {
        FaultKind::Cut(Framing::Chunked) => reply.framing = Framing::Chunked,
        FaultKind::Cut(Framing::Close) => (reply.framing, reply.close) = (Framing::Close, true),
        _ => {}
    }
}

fn misstate_the_length(rules: &Rules<'_>, reply: &mut Reply) {
    let length = reply.payload.length();
    let error = rules.first_counted(|rule| match rule.fault.kind() {
        FaultKind::Short(bytes) if 0 < length => Some(-signed((*bytes).min(length))),
        FaultKind::Long(bytes) => Some(signed(*bytes)),
        _ => None,
    });
    if let Some(error) = error {
        (reply.length_error, reply.framing, reply.close) = (error, Framing::Length, true);
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Finds what limits the connection's rate; the numbers of a `cap` are those of connections.
fn slow_down(ask: &Ask<'_>, rules: &Rules<'_>, reply: &mut Reply) {
    for rule in rules.rules.iter().filter(|rule| rules.holds(rule)) {
        match rule.fault.kind() {
            FaultKind::Cap(rate) if rule.fault.counts_in(ask.connection) => {
                rule.count();
                let cap = reply.delivery.cap.map_or(*rate, |cap| cap.min(*rate));
                reply.delivery.cap = Some(cap);
            }
            FaultKind::Collapse { .. } if rule.acts() => {
                reply.delivery.collapses.push(Arc::clone(rule));
            }
            _ => {}
        }
    }
}
