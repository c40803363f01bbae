//! Any bytes are a request that can be served, or an error that a client can read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use streaming_server::wire::{Ask, CHOICES_MAX};

const TOKENS_MAX: u64 = 1 << 20;

fuzz_target!(|body: &[u8]| {
    for ask in [Ask::completion(body, TOKENS_MAX), Ask::chat(body, TOKENS_MAX)] {
        match ask {
            Ok(ask) => assert!((1..=CHOICES_MAX).contains(&ask.choices())),
            Err(error) => {
                let told: serde_json::Value = serde_json::from_str(&error.to_json()).unwrap();
                assert!(told["error"]["message"].is_string());
                assert_eq!("invalid_request_error", told["error"]["type"]);
            }
        }
    }
});
