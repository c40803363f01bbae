//! What the fuzz targets reach that no user does; there is no such module in any other build.

use std::sync::Arc;

use crate::engine::Filter;
use crate::handover::{Piece, PieceKind};
use crate::render::{Api, Format, Renderer, Shape, Template};
use crate::seam::Clock;
use crate::wire::Usage;

/// The events of tokens with these bytes, up to a stop string.
#[must_use]
pub fn events(tokens: &[&[u8]], stop: &str) -> Vec<u8> {
    let (usage, continuous_usage, logprobs, timestamps) = (false, false, false, false);
    let (api, format) = (Api::Completions, Format::Sse);
    let shape = Shape { api, format, usage, continuous_usage, logprobs, timestamps };
    let template = Template::new(shape, "cmpl-1", 7, "test", 1);
    let counted = Usage { prompt_tokens: 1, completion_tokens: 0 };
    let mut renderer = Renderer::new(template, Clock::start(), counted, 1);
    let mut filter = Filter::new(&Arc::from([Box::from(stop)]));
    let piece = Piece {
        due_ns: 0,
        emitted_ns: 0,
        text_bytes: 0,
        tokens: 1,
        logprob: 0.0,
        choice: 0,
        kind: PieceKind::Text,
    };
    let (mut out, mut shown) = (Vec::new(), Vec::new());
    for token in tokens {
        shown.clear();
        let stopped = filter.read(token, &mut shown);
        renderer.text(&mut out, &piece, &shown);
        if stopped {
            return out;
        }
    }
    shown.clear();
    filter.end(&mut shown);
    renderer.text(&mut out, &piece, &shown);
    out
}
