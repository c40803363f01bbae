//! What can be changed while an origin runs.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::fault::Fault;
use crate::tokens::Schedule;
use crate::units::{parse_duration, parse_rate, parse_size, show_duration};

/// What can be changed while an origin runs; a change reaches transfers that are under way.
///
/// As JSON, in `PUT /_config`, any of: `{"bandwidth":"10MB/s"|NUMBER|null, "connection_bandwidth":…,
/// "latency":"50ms"|null, "error_rate":0.1, "faults":["cut#1"], "window":"64KiB"|null,
/// "tokens":{"interval":"20ms", …}}`. What is not named stays. Numbers are bytes (per second).
///
/// # Examples
///
/// ```
/// use testkit::Settings;
///
/// let mut settings = Settings::default();
/// settings.apply(&serde_json::json!({"bandwidth": "10MB/s", "faults": ["cut#1"]}))?;
/// assert_eq!(Some(10_000_000), settings.bandwidth);
/// assert!(settings.apply(&serde_json::json!({"bandwith": 1})).is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Bytes per second that all bodies share; `None`: as fast as it goes.
    pub bandwidth: Option<u64>,
    /// Bytes per second of each connection's bodies.
    pub connection_bandwidth: Option<u64>,
    /// From the last byte of a request's head to the first byte of the reply; of a link: one way.
    pub latency: Duration,
    /// How many of the requests are answered by 503 instead, from 0 to 1.
    pub error_rate: f64,
    /// What goes wrong, in the order in which it is looked at.
    pub faults: Vec<Fault>,
    /// Bytes in flight per connection and direction of a link; without effect on an origin's own
    /// replies.
    pub window: Option<u64>,
    /// When tokens are due.
    pub tokens: Schedule,
}

impl Settings {
    /// Changes what the JSON object names.
    ///
    /// # Errors
    ///
    /// The first member that is unknown or has no such value, with what to write; nothing is changed
    /// then.
    pub fn apply(&mut self, json: &Value) -> Result<(), String> {
        let members = json.as_object().ok_or("the configuration is no JSON object")?;
        let mut changed = self.clone();
        for (name, value) in members {
            changed.set(name, value).map_err(|what| format!("`{name}`: {what}"))?;
        }
        *self = changed;
        Ok(())
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<(), String> {
        match name {
            "bandwidth" => self.bandwidth = rate(value)?,
            "connection_bandwidth" => self.connection_bandwidth = rate(value)?,
            "latency" => self.latency = duration(value)?,
            "error_rate" => self.error_rate = share(value)?,
            "faults" => self.faults = faults(value)?,
            "window" => self.window = size(value)?,
            "tokens" => self.tokens.apply(value)?,
            _ => return Err("no such setting".to_owned()),
        }
        Ok(())
    }

    /// Renders them as `PUT /_config` takes them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let faults: Vec<_> = self.faults.iter().map(ToString::to_string).collect();
        json!({
            "bandwidth": self.bandwidth,
            "connection_bandwidth": self.connection_bandwidth,
            "latency": show_duration(self.latency),
            "error_rate": self.error_rate,
            "faults": faults,
            "window": self.window,
            "tokens": self.tokens.to_json(),
        })
    }
}

/// Reads a share of all, from 0 to 1: `0.1` or `10%`.
///
/// # Errors
///
/// When it is no number in these bounds.
pub fn parse_share(text: &str) -> Result<f64, String> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.parse().map(|percent: f64| percent / 100.0),
        None => text.parse(),
    };
    let share = share.ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("`{text}` is no share from 0 to 1: write 0.1 or 10%"))
}

fn rate(value: &Value) -> Result<Option<u64>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text == "unlimited" => Ok(None),
        Value::String(text) => parse_rate(text).map(Some).map_err(|error| error.to_string()),
        value => positive(value).map(Some),
    }
}

fn size(value: &Value) -> Result<Option<u64>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => parse_size(text).map(Some).map_err(|error| error.to_string()),
        value => positive(value).map(Some),
    }
}

fn positive(value: &Value) -> Result<u64, String> {
    let number = value.as_u64().filter(|&number| 0 < number);
    number.ok_or_else(|| format!("{value} is no number of bytes above zero"))
}

/// Reads a duration; `null` is none.
pub(crate) fn duration(value: &Value) -> Result<Duration, String> {
    match value {
        Value::Null => Ok(Duration::ZERO),
        Value::String(text) => parse_duration(text).map_err(|error| error.to_string()),
        value => Err(format!("{value} has no unit: write \"50ms\"")),
    }
}

fn share(value: &Value) -> Result<f64, String> {
    match value {
        Value::String(text) => parse_share(text),
        value => parse_share(&value.to_string()),
    }
}

fn faults(value: &Value) -> Result<Vec<Fault>, String> {
    let rules = value.as_array().ok_or("is no list of rules")?;
    let rule = |rule: &Value| {
        let text = rule.as_str().ok_or_else(|| format!("{rule} is no rule: write \"cut#1\""))?;
        text.parse().map_err(|error: crate::fault::FaultError| error.to_string())
    };
    rules.iter().map(rule).collect()
}

/// Returns a JSON object of those members.
pub(crate) fn object<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rendered_reads_back() {
        let mut settings = Settings {
            bandwidth: Some(5),
            latency: Duration::from_millis(7),
            error_rate: 0.25,
            faults: vec!["rst@/a#2".parse().unwrap()],
            window: Some(65536),
            ..Settings::default()
        };
        settings.tokens.interval = Duration::from_micros(8);
        let mut again = Settings::default();
        again.apply(&settings.to_json()).unwrap();
        assert_eq!(settings, again);
    }

    #[test]
    fn a_bad_member_changes_nothing() {
        let mut settings = Settings::default();
        let check = |settings: &mut Settings, json: Value, expected: &str| {
            assert_eq!(Err(expected.to_owned()), settings.apply(&json));
            assert_eq!(&Settings::default(), settings);
        };
        check(&mut settings, json!({"bandwidth": 1, "zzz": 2}), "`zzz`: no such setting");
        check(&mut settings, json!({"latency": 5}), "`latency`: 5 has no unit: write \"50ms\"");
        check(&mut settings, json!([]), "the configuration is no JSON object");
        check(
            &mut settings,
            json!({"error_rate": 2}),
            "`error_rate`: `2` is no share from 0 to 1: write 0.1 or 10%",
        );
        assert!(settings.apply(&json!({"faults": ["explode"]})).is_err());
        assert!(settings.apply(&json!({"bandwidth": 0})).is_err());
    }
}
