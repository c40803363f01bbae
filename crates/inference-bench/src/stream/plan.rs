//! What is asked of whom, and when.

use std::fmt;
use std::time::Duration;

use super::arrivals::Arrival;
use super::trace::{Trace, Traced};

/// Requests that may be in flight at once in an open loop, by default: what one address has ports for,
/// less a third for connections that are closing.
const IN_FLIGHT_MAX: usize = 20_000;
/// How long a request may take by default: 2048 tokens at 20 ms three times over.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The kind of requests.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Endpoint {
    /// `/v1/completions`.
    #[default]
    Completions,
    /// `/v1/chat/completions`.
    Chat,
}

/// An API key: it is sent, and shown to nobody.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Takes a key as a file has it: without the white space around it.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    #[cfg(feature = "stream")]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// Who is asked, and for what.
#[derive(Clone, Debug)]
pub struct Target {
    /// Scheme, host and port, with or without a path: `/v1` and the endpoint are added where missing.
    pub url: String,
    /// The kind of requests.
    pub endpoint: Endpoint,
    /// The model that requests name.
    pub model: String,
    /// The prompt of every request.
    pub prompt: String,
    /// Tokens to ask for.
    pub tokens: u32,
    /// Sent as `Authorization: Bearer`.
    pub api_key: Option<ApiKey>,
    /// How long a request may take, from its sending to its end. At most a day.
    pub timeout: Duration,
}

impl Target {
    /// Asks this server for completions of 16 tokens from the model `test`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            endpoint: Endpoint::default(),
            model: "test".to_owned(),
            prompt: "Count from zero.".to_owned(),
            tokens: 16,
            api_key: None,
            timeout: TIMEOUT,
        }
    }

    /// The URL that requests go to.
    #[must_use]
    pub fn request_url(&self) -> String {
        let base = self.url.trim_end_matches('/');
        let name = match self.endpoint {
            Endpoint::Completions => "completions",
            Endpoint::Chat => "chat/completions",
        };
        if base.ends_with("/completions") {
            base.to_owned()
        } else if base.ends_with("/v1") {
            format!("{base}/{name}")
        } else {
            format!("{base}/v1/{name}")
        }
    }

    /// The body of the request that a trace tells of: so many words, and so many tokens.
    #[must_use]
    pub fn traced_body(&self, traced: &Traced) -> String {
        let prompt = "a ".repeat(traced.prompt_tokens as usize);
        let prompt = prompt.trim_end().to_owned();
        Self { prompt, tokens: traced.tokens, ..self.clone() }.request_body()
    }

    /// The body of every request.
    #[must_use]
    pub fn request_body(&self) -> String {
        let Self { model, prompt, tokens, .. } = self;
        let options = serde_json::json!({ "include_usage": true });
        let mut body = serde_json::json!({
            "model": model, "max_tokens": tokens, "stream": true, "stream_options": options,
        });
        match self.endpoint {
            Endpoint::Completions => body["prompt"] = prompt.as_str().into(),
            Endpoint::Chat => {
                body["messages"] = serde_json::json!([{ "role": "user", "content": prompt }]);
            }
        }
        body.to_string()
    }
}

/// How much is asked at once.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Load {
    /// A closed loop: so many streams at once, each followed by the next. Its latencies say nothing of
    /// users who do not wait for each other.
    Closed {
        /// At least 1.
        streams: usize,
    },
    /// An open loop: requests on a clock, whatever becomes of those before.
    Open {
        /// Per second, above 0.
        rate: f64,
        /// The gaps between them.
        arrival: Arrival,
    },
    /// An open loop: the requests of a trace, when they were sent there.
    Replay {
        /// What to send.
        trace: Trace,
    },
}

/// Whose clock stamps what arrives.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum StampSource {
    /// The kernel's, where it can; else ours.
    #[default]
    Kernel,
    /// Ours.
    User,
}

/// How a run goes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How much at once.
    pub load: Load,
    /// Requests in all, those of the warm-up too; without it `duration` alone ends the run.
    pub requests: Option<u64>,
    /// How long requests are started. Those under way are waited for, each within its time-out.
    pub duration: Option<Duration>,
    /// Requests due before this count for nothing.
    pub warmup: Duration,
    /// Draws the arrivals.
    pub seed: u64,
    /// How many threads share the load, each with a runtime and connections of its own. At least 1.
    pub workers: usize,
    /// Requests in flight at once in an open loop; an arrival beyond it is listed as not sent.
    pub in_flight_max: usize,
    /// Whose clock stamps what arrives.
    pub stamp: StampSource,
}

impl Plan {
    /// A closed loop of so many streams, each once, on one thread.
    #[must_use]
    pub fn closed(streams: usize) -> Self {
        Self { requests: Some(streams as u64), ..Self::of(Load::Closed { streams }) }
    }

    /// An open loop of so many requests per second for so long, on one thread.
    #[must_use]
    pub fn open(rate: f64, arrival: Arrival, duration: Duration) -> Self {
        Self { duration: Some(duration), ..Self::of(Load::Open { rate, arrival }) }
    }

    /// The requests of a trace, on one thread. It ends with the trace.
    #[must_use]
    pub fn replay(trace: Trace) -> Self {
        Self::of(Load::Replay { trace })
    }

    fn of(load: Load) -> Self {
        Self {
            load,
            requests: None,
            duration: None,
            warmup: Duration::ZERO,
            seed: 1,
            workers: 1,
            in_flight_max: IN_FLIGHT_MAX,
            stamp: StampSource::Kernel,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, endpoint: Endpoint, expected: &str) {
        assert_eq!(expected, Target { endpoint, ..Target::new(url) }.request_url());
    }

    #[test]
    fn the_endpoint_is_added_where_it_is_missing() {
        check("http://a:1", Endpoint::Completions, "http://a:1/v1/completions");
        check("http://a:1/", Endpoint::Chat, "http://a:1/v1/chat/completions");
        check("http://a/v1", Endpoint::Chat, "http://a/v1/chat/completions");
        check("http://a/x/v1/completions", Endpoint::Chat, "http://a/x/v1/completions");
    }

    #[test]
    fn keys_are_shown_to_nobody() {
        let target = Target { api_key: Some(ApiKey::new(" s3cret\n")), ..Target::new("http://a") };
        assert!(!format!("{target:?}").contains("s3cret"));
        assert!(!target.request_body().contains("s3cret"));
    }
}
