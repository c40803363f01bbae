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
        /// At least 1, at most [`Plan::AT_ONCE_MAX`].
        streams: usize,
    },
    /// An open loop: requests on a clock, whatever becomes of those before.
    Open {
        /// Per second, above 0, at most [`Plan::RATE_MAX`].
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
    /// Requests in all, those of the warm-up too; without it `duration` alone ends the run, or
    /// [`Plan::REQUESTS_MAX`] of them.
    pub requests: Option<u64>,
    /// How long requests are started. Those under way are waited for, each within its time-out.
    pub duration: Option<Duration>,
    /// Requests due before this count for nothing.
    pub warmup: Duration,
    /// Draws the arrivals.
    pub seed: u64,
    /// How many threads share the load, each with a runtime and connections of its own. At least 1, at
    /// most [`Plan::WORKERS_MAX`].
    pub workers: usize,
    /// Requests in flight at once in an open loop; an arrival beyond it is listed as not sent. At most
    /// [`Plan::AT_ONCE_MAX`].
    pub in_flight_max: usize,
    /// Whose clock stamps what arrives.
    pub stamp: StampSource,
}

impl Plan {
    /// Streams, or requests in flight, at once: twice what one address has ports for.
    pub const AT_ONCE_MAX: usize = 1 << 17;
    /// Requests per second of an open loop: a hundred times what its send lag is promised for.
    pub const RATE_MAX: f64 = 100_000.0;
    /// Requests of one run. The record of each is kept until the run is told: a gigabyte without any event.
    pub const REQUESTS_MAX: u64 = 4_000_000;
    /// Threads: more than machines have cores.
    pub const WORKERS_MAX: usize = 1024;

    /// Says why this plan cannot be run, if it cannot: there is nothing to send, or more than the limits.
    ///
    /// # Errors
    ///
    /// The reason, in words.
    pub fn check(&self) -> Result<(), String> {
        self.check_something()?;
        let at_once = match self.load {
            Load::Closed { streams } => streams.max(self.in_flight_max),
            _ => self.in_flight_max,
        };
        at_most("streams or requests in flight", at_once, Self::AT_ONCE_MAX)?;
        at_most("workers", self.workers, Self::WORKERS_MAX)?;
        at_most("requests", self.requests.unwrap_or(0), Self::REQUESTS_MAX)?;
        if let Load::Open { rate, .. } = self.load {
            at_most("requests a second", rate, Self::RATE_MAX)?;
            let seconds = self.duration.filter(|_| self.requests.is_none());
            let planned = rate * seconds.map_or(0.0, |duration| duration.as_secs_f64());
            at_most("requests", planned.round(), Self::REQUESTS_MAX as f64)?;
        }
        Ok(())
    }

    fn check_something(&self) -> Result<(), &'static str> {
        match self.load {
            Load::Closed { streams: 0 } => Err("no streams"),
            Load::Open { rate, .. } if !(0.0 < rate && rate.is_finite()) => Err("no rate above 0"),
            _ if self.workers == 0 => Err("no workers"),
            Load::Replay { .. } => Ok(()),
            _ if self.requests.is_none() && self.duration.is_none() => {
                Err("neither a number of requests nor a duration")
            }
            _ => Ok(()),
        }
    }

    /// How many requests there are at most.
    #[cfg(feature = "stream")]
    pub(crate) fn requests_max(&self) -> u64 {
        self.requests.unwrap_or(Self::REQUESTS_MAX).min(Self::REQUESTS_MAX)
    }

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

fn at_most<T: Copy + PartialOrd + fmt::Display>(
    what: &str,
    asked: T,
    most: T,
) -> Result<(), String> {
    if asked <= most { Ok(()) } else { Err(format!("{asked} {what}, at most {most}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(plan: &Plan, expected: &str) {
        assert_eq!(Err(expected.to_owned()), plan.check());
    }

    #[test]
    fn every_load_has_an_upper_bound() {
        let open = |rate| Plan::open(rate, Arrival::Poisson, Duration::from_secs(40));
        assert_eq!(Ok(()), open(Plan::RATE_MAX).check());
        assert_eq!(Ok(()), Plan::closed(Plan::AT_ONCE_MAX).check());
        check_refused(
            &Plan::closed(131_073),
            "131073 streams or requests in flight, at most 131072",
        );
        let in_flight = Plan { in_flight_max: usize::MAX / 2 + 1, ..open(1.0) };
        assert!(in_flight.check().is_err());
        check_refused(&open(100_001.0), "100001 requests a second, at most 100000");
        assert!(open(1e300).check().is_err());
        let long = Plan { duration: Some(Duration::from_secs(41)), ..open(100_000.0) };
        check_refused(&long, "4100000 requests, at most 4000000");
        assert_eq!(Ok(()), Plan { requests: Some(9), ..long.clone() }.check());
        check_refused(
            &Plan { requests: Some(4_000_001), ..long },
            "4000001 requests, at most 4000000",
        );
        check_refused(&Plan { workers: 1025, ..open(1.0) }, "1025 workers, at most 1024");
    }

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
