//! Bodies of `inference-bench`: what an event and an arrival cost the instrument.

use std::hint::black_box;

use inference_bench::sse::{Decoder, Item};
use inference_bench::stats::Random;
use inference_bench::stream::{Arrival, Arrivals};

use crate::{Body, Gate, Run};

/// All bodies of this module.
pub const BODIES: &[Body] = &[
    Body { case: "inference-bench/sse_event", subject: "ours", prepare: whole_event },
    Body { case: "inference-bench/sse_event_split", subject: "ours", prepare: split_event },
    Body { case: "inference-bench/arrival", subject: "ours", prepare: arrival },
];

/// A tenth of what an event may cost at 100 000 events a second on one core.
pub const GATES: &[(&str, Gate)] = &[("inference-bench/sse_event", Gate::AtMostNanos(1000.0))];

/// An event with its stamp, as vLLM and the emitter write them.
fn event() -> Vec<u8> {
    let choice = r#"{"index":0,"text":"token_17","logprobs":null,"finish_reason":null}"#;
    let head = r#"{"id":"cmpl-17","object":"text_completion","created":1700000000,"model":"test""#;
    format!(": t=1700000000000000000\n\ndata: {head},\"choices\":[{choice}]}}\n\n").into_bytes()
}

fn decode(pieces: Vec<Vec<u8>>) -> Run {
    let mut decoder = Decoder::default();
    let (mut events, mut comments, mut expected) = (0, 0, 0);
    Box::new(move |iterations| {
        for _ in 0..iterations {
            for piece in &pieces {
                let decoded = decoder.feed(black_box(piece), |item| match item {
                    Item::Event { data, .. } => events += u64::from(data.ends_with('}')),
                    Item::Comment(text) => comments += u64::from(text.starts_with("t=")),
                });
                decoded.expect("the event is valid");
            }
        }
        expected += iterations;
        assert_eq!((expected, expected), (events, comments));
    })
}

/// Decoding one event that came in one read.
fn whole_event() -> Run {
    decode(vec![event()])
}

/// Decoding one event that came in two.
fn split_event() -> Run {
    let event = event();
    let at = Random::new(1).below(event.len() as u64) as usize;
    decode(vec![event[..at].to_vec(), event[at..].to_vec()])
}

/// Drawing the next arrival of a Poisson process.
fn arrival() -> Run {
    let mut arrivals = Arrivals::new(Arrival::Poisson, 1000.0, 1);
    let mut last = 0;
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let due = arrivals.next().expect("arrivals do not end");
            assert!(last <= due, "arrivals are in order");
            last = due;
        }
    })
}
