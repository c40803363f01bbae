//! From a request, what it names, and the rules, to a reply. Pure but for the rules' counters.

mod delivery;
mod gate;
mod serve;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::object::Object;
use super::range::{Asked, asked};
use super::reply::{Payload, Reply};
use super::request::Request;
use super::rules::Rule;

/// What a path stands for.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Bytes with an address: conditions, ranges and all faults apply. The headers are added.
    Object(Object, Vec<(&'static str, String)>),
    /// A reply made elsewhere, to which only faults that need no object apply.
    Reply(Box<Reply>),
    /// A stream that is written elsewhere: only faults that come before it apply.
    Stream,
}

/// What a plan is made of besides the answer.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) request: &'a Request,
    /// Those that concern the path, in the order given.
    pub(crate) rules: &'a [Arc<Rule>],
    /// Number of the connection, from 1.
    pub(crate) connection: u64,
    pub(crate) now: SystemTime,
    /// Since the origin started.
    pub(crate) uptime: Duration,
    /// Signs URLs.
    pub(crate) key: u64,
}

/// Decides the reply and how it is sent.
pub(crate) fn plan(ask: &Ask<'_>, answer: Option<Answer>) -> Reply {
    let window = match &answer {
        Some(Answer::Object(object, _)) => window(ask.request, object),
        _ => None,
    };
    let rules = Rules { rules: ask.rules, window };
    let hang = gate::hang(&rules);
    let refusal = gate::refusal(ask, &rules);
    let is_stream = refusal.is_none() && matches!(answer, Some(Answer::Stream));
    let mut reply = refusal.unwrap_or_else(|| match answer {
        Some(Answer::Object(object, headers)) => {
            serve::object(ask.request, &rules, object, headers)
        }
        Some(Answer::Reply(reply)) => *reply,
        Some(Answer::Stream) => Reply::of(200, Payload::Text(Vec::new())),
        None => Reply::text(404, format!("nothing at {}", ask.request.path)),
    });
    reply.delivery.hang = hang;
    if !is_stream {
        if !ask.request.is_head() {
            delivery::arrange(ask, &rules, &mut reply);
        }
        gate::old_version(&rules, &mut reply);
    }
    reply.close |= !ask.request.keeps_alive();
    reply
}

/// The bytes that an honest reply would hold.
fn window(request: &Request, object: &Object) -> Option<Range<u64>> {
    match asked(request.header("range"), object.content.size()) {
        Asked::Whole => Some(0..object.content.size()),
        Asked::Part(range) => Some(range),
        Asked::Unsatisfiable => None,
    }
}

/// The rules, seen from one request.
struct Rules<'a> {
    rules: &'a [Arc<Rule>],
    window: Option<Range<u64>>,
}

impl<'a> Rules<'a> {
    /// Returns the first rule that `choose` finds something in and that acts on this request, being
    /// limited neither to other bytes of the object nor to other requests.
    fn first<T>(&self, choose: impl Fn(&'a Rule) -> Option<T>) -> Option<(T, &'a Arc<Rule>)> {
        self.rules.iter().find_map(|rule| {
            let chosen = choose(rule)?;
            (self.holds(rule) && rule.acts()).then_some((chosen, rule))
        })
    }

    /// The same, and counts the deed at once.
    fn first_counted<T>(&self, choose: impl Fn(&'a Rule) -> Option<T>) -> Option<T> {
        let (chosen, rule) = self.first(choose)?;
        rule.count();
        Some(chosen)
    }

    /// Whether the byte that the rule is limited to, if any, is within the reply.
    fn holds(&self, rule: &Rule) -> bool {
        let Some(at) = rule.fault.at_bytes() else {
            return true;
        };
        self.window.as_ref().is_some_and(|window| window.contains(&at))
    }
}
