//! The suite `micro`: bodies under the paired sampler.

use inference_bench::{CaseRecord, Limit, Verdict};

use super::{Case, Context, Mode};
use crate::sampler::{Samples, sample};
use crate::{Body, Gate};

/// How often a body that is judged is set up anew. Where its memory comes to lie is drawn each time, and may
/// make it half as fast: `queue/push-pop-10k-keys` took 165 ns in seven processes of ten, 270 in three.
const LAYOUTS: u64 = 7;

/// The founding test that all of them answer: of two builds, which is slower.
const SEED_CASE: &str = "regression detection";

/// The subject that is ours.
const OURS: &str = "ours";

/// Makes a case of each question, and one more for each peer that we must not be slower than.
#[must_use]
pub fn cases(bodies: &[Body], gates: &[(&'static str, Gate)]) -> Vec<Case> {
    let mut names: Vec<&'static str> = bodies.iter().map(|body| body.case).collect();
    names.dedup();
    let mut cases = Vec::new();
    for name in names {
        let of_case: Vec<Body> = bodies.iter().filter(|body| body.case == name).copied().collect();
        let gates_of_case =
            || gates.iter().filter(|(case, _)| *case == name).map(|(_, gate)| *gate);
        for gate in gates_of_case() {
            cases.extend(against(name, &of_case, gate));
        }
        let nanos_max = gates_of_case().find_map(|gate| match gate {
            Gate::AtMostNanos(nanos_max) => Some(nanos_max),
            _ => None,
        });
        cases.push(alone(name, of_case, nanos_max));
    }
    cases
}

/// The time of one iteration, with the peers beside it.
fn alone(name: &'static str, bodies: Vec<Body>, nanos_max: Option<f64>) -> Case {
    Case {
        name: name.to_owned(),
        seed_case: SEED_CASE,
        expected_s: 0.05 * bodies.len() as f64,
        paired: true,
        run: Box::new(move |context| {
            let is_judged = nanos_max.is_some() && context.mode != Mode::Pair;
            let layouts = if is_judged { LAYOUTS } else { 1 };
            let mut record = nanos(name, &bodies, context, layouts);
            if let Some(nanos_max) = nanos_max {
                record.judge(Limit::at_most(nanos_max));
                confirm(&mut record, || {
                    let mut again = nanos(name, &bodies, context, layouts);
                    again.judge(Limit::at_most(nanos_max));
                    again
                });
            }
            record
        }),
    }
}

fn nanos(name: &str, bodies: &[Body], context: &Context, layouts: u64) -> CaseRecord {
    let bodies = match context.mode {
        // The other build is the peer.
        Mode::Pair => &bodies[..1],
        _ => bodies,
    };
    let rounds = rounds(context.mode);
    let samples = if layouts == 1 {
        sample(bodies, rounds, context.seed)
    } else {
        by_layout(bodies, rounds.div_ceil(layouts as usize), context.seed, layouts)
    };
    let (ours, others) = split(&samples);
    let mut record = CaseRecord::new(name, "ns");
    record.n = ours.nanos.len() as u64;
    record.value = Some(ours.median());
    record.interval = ours.interval();
    record.beside = others.map(|peer| (format!("{}_ns", peer.subject), peer.median())).collect();
    record
}

/// The median of each layout, as if it was one sample: those of one layout say nothing of another.
fn by_layout(bodies: &[Body], rounds: usize, seed: u64, layouts: u64) -> Vec<Samples> {
    let drawn: Vec<Vec<Samples>> =
        (0..layouts).map(|layout| sample(bodies, rounds, seed.wrapping_add(layout))).collect();
    let of_subject = |(at, body): (usize, &Body)| Samples {
        subject: body.subject,
        nanos: drawn.iter().map(|samples| samples[at].median()).collect(),
    };
    bodies.iter().enumerate().map(of_subject).collect()
}

/// Ours, or whoever comes first; and the rest.
fn split(samples: &[Samples]) -> (&Samples, impl Iterator<Item = &Samples>) {
    let ours = samples.iter().position(|samples| samples.subject == OURS).unwrap_or(0);
    let others = samples.iter().enumerate().filter(move |&(index, _)| index != ours);
    (&samples[ours], others.map(|(_, samples)| samples))
}

/// Our time beside a peer's; `None` when the gate names no peer, or nobody of that name answers.
fn against(name: &str, bodies: &[Body], gate: Gate) -> Option<Case> {
    let (peer, what) = match gate {
        Gate::AtMostTimes { peer, .. } => (peer, "vs"),
        Gate::AtMostNanosAbove { peer, .. } => (peer, "above"),
        Gate::AtMostNanos(_) => return None,
    };
    let by = |subject: &str| bodies.iter().find(|body| body.subject == subject).copied();
    let pair = [by(OURS)?, by(peer)?];
    let name = format!("{name}/{what}/{peer}");
    Some(Case {
        name: name.clone(),
        seed_case: SEED_CASE,
        expected_s: 0.1,
        paired: false,
        run: Box::new(move |context| {
            let mut record = beside(&name, &pair, gate, context);
            confirm(&mut record, || beside(&name, &pair, gate, context));
            record
        }),
    })
}

fn beside(name: &str, pair: &[Body; 2], gate: Gate, context: &Context) -> CaseRecord {
    let samples = sample(pair, rounds(context.mode), context.seed);
    let (ours, theirs) = (&samples[0], &samples[1]);
    let mut record = match gate {
        Gate::AtMostNanosAbove { nanos_max, .. } => {
            let above = ours.above(theirs);
            let mut record = CaseRecord::new(name, "ns");
            (record.value, record.interval) = (Some(above.median()), above.interval());
            record.judge(Limit::at_most(nanos_max));
            record
        }
        Gate::AtMostTimes { ratio_max, .. } | Gate::AtMostNanos(ratio_max) => {
            let mut record = CaseRecord::new(name, "ratio");
            let ratio = ours.times(theirs, context.seed);
            record.value = ratio.map(|ratio| ratio.median);
            record.interval = ratio.map(|ratio| ratio.interval);
            record.judge(Limit::at_most(ratio_max));
            record
        }
    };
    record.n = ours.nanos.len() as u64;
    record.beside = samples.iter().map(|s| (format!("{}_ns", s.subject), s.median())).collect();
    record
}

/// A miss counts when a second measurement misses too; over many cases a fluke is certain.
fn confirm(record: &mut CaseRecord, again: impl FnOnce() -> CaseRecord) {
    if record.verdict == Verdict::Fail {
        let second = again();
        if second.verdict != Verdict::Fail {
            let first = record.value.unwrap_or(f64::NAN);
            *record = second;
            record.withdraw(
                Verdict::Undecided,
                format!("missed at first ({first:.4}), not when measured again"),
            );
        }
    }
}

fn rounds(mode: Mode) -> usize {
    match mode {
        Mode::Pair => 7,
        Mode::Quick => 41,
        Mode::Comprehensive => 201,
        Mode::Stress => 1001,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use inference_bench::stats::Interval;

    use super::*;
    use crate::std_bodies;

    #[test]
    fn each_question_is_a_case_and_each_gate_against_a_peer_one_more() {
        let ours = Body { subject: OURS, ..std_bodies::BODIES[0] };
        let peer = Body { subject: "peer", ..std_bodies::BODIES[0] };
        let gates = [
            ("std/clock", Gate::AtMostTimes { peer: "peer", ratio_max: 9.0 }),
            ("std/clock", Gate::AtMostNanos(1e6)),
        ];
        let cases = cases(&[ours, peer, std_bodies::BODIES[1]], &gates);
        let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(["std/clock/vs/peer", "std/clock", "std/lock"], *names);

        let context = Context { mode: Mode::Pair, seed: 1 };
        let records: Vec<_> = cases.iter().map(|case| (case.run)(&context)).collect();
        assert_eq!("ratio", records[0].unit);
        assert!(records[0].beside.contains_key("peer_ns"));
        assert_eq!(Some("at most 1\u{202f}000\u{202f}000 ns"), records[1].gate.as_deref());
        assert_eq!(Verdict::Reported, records[2].verdict);
    }

    /// Set up for the first time, third time and so on it takes thrice as long.
    #[test]
    fn what_is_judged_is_set_up_anew_and_again() {
        static SET_UPS: AtomicU64 = AtomicU64::new(0);
        let prepare = || -> crate::Run {
            let spins = if SET_UPS.fetch_add(1, Relaxed).is_multiple_of(2) { 3000 } else { 1000 };
            Box::new(move |n| {
                (0..n * spins).for_each(|spin| {
                    std::hint::black_box(spin);
                });
            })
        };
        let body = Body { case: "case", subject: OURS, prepare };
        let samples = by_layout(&[body], 3, 1, LAYOUTS);
        assert_eq!(LAYOUTS, SET_UPS.load(Relaxed));
        assert_eq!(1, samples.len());
        let nanos = &samples[0].nanos;
        assert!(LAYOUTS as usize == nanos.len() && 1.5 * nanos[1] < nanos[0], "{nanos:?}");
        let Interval { low, high } = samples[0].interval().unwrap();
        assert!(1.5 * low < high, "{nanos:?}");
    }

    #[test]
    fn a_miss_that_is_not_confirmed_is_undecided() {
        let judged = |value: f64| {
            let mut record = CaseRecord::new("case", "ns");
            record.value = Some(value);
            record.judge(Limit::at_most(10.0));
            record
        };
        let mut record = judged(11.0);
        confirm(&mut record, || judged(9.0));
        assert_eq!((Verdict::Undecided, Some(9.0)), (record.verdict, record.value));
        let mut record = judged(11.0);
        confirm(&mut record, || judged(12.0));
        assert_eq!(Verdict::Fail, record.verdict);
    }
}
