//! Events, byte by byte.

use super::*;
use crate::handover::PieceKind;

fn renderer(shape: Shape, n_choices: usize) -> Renderer {
    let template = Template::new(shape, "cmpl-1", 7, "a \"model\"", n_choices);
    let usage = Usage { prompt_tokens: 2, completion_tokens: 0 };
    Renderer::new(template, Clock::start(), usage, n_choices)
}

fn plain(api: Api, format: Format) -> Shape {
    let (usage, continuous_usage, logprobs, timestamps) = (false, false, false, false);
    Shape { api, format, usage, continuous_usage, logprobs, timestamps }
}

fn piece(choice: u16, kind: PieceKind) -> Piece {
    Piece { due_ns: 0, emitted_ns: 0, text_bytes: 0, tokens: 1, logprob: f32::NAN, choice, kind }
}

fn rendered(shape: Shape) -> String {
    let mut renderer = renderer(shape, 2);
    let mut out = Vec::new();
    renderer.text(&mut out, &piece(1, PieceKind::Text), "a\n\"".as_bytes());
    let stop = FinishReason::Stop;
    let end = Piece { tokens: 0, ..piece(1, PieceKind::Finish(stop)) };
    renderer.finish(&mut out, &end, stop);
    renderer.comment(&mut out);
    renderer.end(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_completion() {
    let expected = concat!(
        r#"data: {"id":"cmpl-1","object":"text_completion","created":7,"model":"a \"model\"","choices":"#,
        r#"[{"index":1,"text":"a\n\"","logprobs":null,"finish_reason":null}]}"#,
        "\n\n",
        r#"data: {"id":"cmpl-1","object":"text_completion","created":7,"model":"a \"model\"","choices":"#,
        r#"[{"index":1,"text":"","logprobs":null,"finish_reason":"stop"}]}"#,
        "\n\n: keep-alive\n\ndata: [DONE]\n\n"
    );
    assert_eq!(expected, rendered(plain(Api::Completions, Format::Sse)));
}

#[test]
fn a_chat_in_lines() {
    let head = r#"{"id":"cmpl-1","object":"chat.completion.chunk","created":7,"model":"a \"model\"","choices":[{"index":1,"delta":"#;
    let expected = [
        r#"{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}"#,
        r#"{"content":"a\n\""},"logprobs":null,"finish_reason":null}]}"#,
        r#"{},"logprobs":null,"finish_reason":"stop"}]}"#,
    ];
    let expected: String = expected.iter().map(|rest| format!("{head}{rest}\n")).collect();
    assert_eq!(expected, rendered(plain(Api::Chat, Format::Ndjson)));
}

#[test]
fn every_shape_is_json() {
    for api in [Api::Completions, Api::Chat] {
        for bits in 0..16 {
            let has = |bit: u32| bits >> bit & 1 == 1;
            let (usage, continuous_usage, logprobs, timestamps) = (has(0), has(1), has(2), has(3));
            let format = Format::Ndjson;
            let shape = Shape { api, format, usage, continuous_usage, logprobs, timestamps };
            for line in rendered(shape).lines() {
                serde_json::from_str::<serde_json::Value>(line).unwrap();
            }
        }
    }
}

#[test]
fn logarithms_that_json_has_not_are_clamped() {
    assert_eq!(-9999.0, told_logprob(f32::NEG_INFINITY));
    assert_eq!(-9999.0, told_logprob(f32::NAN));
    assert_eq!(-0.5, told_logprob(-0.5));
}
