//! Whatever tokens a runner says, and wherever they split characters: one event each, one line each,
//! and together the text that they are, without what follows a stop string.
#![no_main]

use libfuzzer_sys::fuzz_target;

const STOP: &str = "stop";

fuzz_target!(|tokens: Vec<Vec<u8>>| {
    let tokens: Vec<&[u8]> = tokens.iter().map(Vec::as_slice).collect();
    let events = String::from_utf8(streaming_server::fuzzing::events(&tokens, STOP)).unwrap();
    let mut text = String::new();
    for event in events.split_terminator("\n\n") {
        let line = event.strip_prefix("data: ").unwrap();
        assert!(!line.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']));
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        text.push_str(event["choices"][0]["text"].as_str().unwrap());
    }
    let said = String::from_utf8_lossy(&tokens.concat()).into_owned();
    assert_eq!(said.split(STOP).next().unwrap(), text);
});
