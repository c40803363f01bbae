//! Requests as somebody else's users sent them.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

/// Requests that a trace may have: a day of 100 a second.
const REQUESTS_MAX: usize = 8_640_000;
/// A prompt is at most this long, whatever the trace says: one million words are more than servers take.
const PROMPT_TOKENS_MAX: u32 = 1 << 20;

/// One request of a trace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Traced {
    /// When it is due, in nanoseconds from the first one.
    pub due_ns: u64,
    /// How long its prompt is, in tokens: as many words are sent. At most 1 048 576.
    pub prompt_tokens: u32,
    /// Tokens to ask for, at least 1.
    pub tokens: u32,
}

/// The requests of a trace, in the order in which they are due. Cheap to clone.
///
/// Two forms are read: Mooncake's, a JSON object a line with `timestamp` (milliseconds), `input_length` and
/// `output_length` in tokens; and `BurstGPT`'s, a CSV whose first line names `Timestamp` (seconds),
/// `Request tokens` and `Response tokens`. Other fields are skipped.
///
/// # Examples
///
/// ```
/// use inference_bench::stream::Trace;
///
/// let trace = Trace::parse(
///     "{\"timestamp\": 1000, \"input_length\": 9, \"output_length\": 3, \"hash_ids\": [1]}\n\
///      {\"timestamp\": 1250, \"input_length\": 7, \"output_length\": 2}\n",
/// )?;
/// assert_eq!(vec![0, 250_000_000], trace.requests().iter().map(|r| r.due_ns).collect::<Vec<_>>());
/// assert_eq!(125_000_000, trace.faster(2.0).requests()[1].due_ns);
/// # Ok::<(), inference_bench::stream::TraceError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Trace(Arc<[Traced]>);

/// What is wrong with a trace.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TraceError {
    /// It holds no requests.
    Empty,
    /// It holds more than 8 640 000 requests.
    TooMany,
    /// A line cannot be read.
    Line {
        /// Its number, from 1 on.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the trace holds no requests"),
            Self::TooMany => write!(f, "the trace holds more than {REQUESTS_MAX} requests"),
            Self::Line { line, reason } => write!(f, "line {line} of the trace: {reason}"),
        }
    }
}

impl std::error::Error for TraceError {}

/// A line of Mooncake's form.
#[derive(Deserialize)]
struct Mooncake {
    timestamp: f64,
    input_length: u64,
    output_length: u64,
}

/// A request before the first one is known.
struct Raw {
    at_s: f64,
    prompt_tokens: u64,
    tokens: u64,
}

impl Trace {
    /// Reads a trace in either form.
    ///
    /// # Errors
    ///
    /// [`TraceError`]; it names the line.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut lines =
            (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).peekable();
        let is_json = lines.peek().ok_or(TraceError::Empty)?.1.trim_start().starts_with('{');
        let columns = if is_json { None } else { lines.next().map(columns).transpose()? };
        let read = |(number, line): (usize, &str)| {
            let raw = match &columns {
                None => mooncake(line),
                Some(columns) => columns.row(line),
            };
            let told = |reason| TraceError::Line { line: number, reason };
            raw.and_then(Raw::checked).map_err(told)
        };
        let raws: Vec<Raw> = lines.take(REQUESTS_MAX + 1).map(read).collect::<Result<_, _>>()?;
        if REQUESTS_MAX < raws.len() {
            return Err(TraceError::TooMany);
        }
        let first_s = raws.iter().map(|raw| raw.at_s).min_by(f64::total_cmp);
        let first_s = first_s.ok_or(TraceError::Empty)?;
        let mut requests: Vec<Traced> = raws.iter().map(|raw| raw.since(first_s)).collect();
        // A stable sort: what is due at one instant keeps its order.
        requests.sort_by_key(|request| request.due_ns);
        Ok(Self(requests.into()))
    }

    /// The requests, in the order in which they are due.
    #[must_use]
    pub fn requests(&self) -> &[Traced] {
        &self.0
    }

    /// The same requests, so many times faster.
    ///
    /// # Panics
    ///
    /// When the factor is not above 0, or not finite.
    #[must_use]
    pub fn faster(&self, factor: f64) -> Self {
        assert!(0.0 < factor && factor.is_finite(), "{factor} times faster");
        let sooner = |request: &Traced| Traced {
            due_ns: (request.due_ns as f64 / factor).round() as u64,
            ..*request
        };
        Self(self.0.iter().map(sooner).collect())
    }

    /// Requests per second over the whole trace; `None` for one of a single instant.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let span_ns = self.0.last()?.due_ns;
        (0 < span_ns).then(|| self.0.len() as f64 * 1e9 / span_ns as f64)
    }
}

impl Raw {
    fn checked(self) -> Result<Self, String> {
        if !(0.0 <= self.at_s && self.at_s.is_finite()) {
            return Err(format!("a time of {} s is none", self.at_s));
        }
        Ok(self)
    }

    fn since(&self, first_s: f64) -> Traced {
        let clamp = |tokens: u64| u32::try_from(tokens).unwrap_or(u32::MAX).min(PROMPT_TOKENS_MAX);
        Traced {
            due_ns: ((self.at_s - first_s) * 1e9).round() as u64,
            prompt_tokens: clamp(self.prompt_tokens),
            tokens: clamp(self.tokens).max(1),
        }
    }
}

fn mooncake(line: &str) -> Result<Raw, String> {
    let Mooncake { timestamp, input_length, output_length } =
        serde_json::from_str(line).map_err(|error| error.to_string())?;
    Ok(Raw { at_s: timestamp / 1e3, prompt_tokens: input_length, tokens: output_length })
}

/// Where the columns of `BurstGPT`'s form stand.
struct Columns {
    at: usize,
    prompt: usize,
    tokens: usize,
}

fn columns((line, header): (usize, &str)) -> Result<Columns, TraceError> {
    let names: Vec<String> =
        header.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
    let find = |wanted: &str| {
        names.iter().position(|name| name == wanted).ok_or_else(|| TraceError::Line {
            line,
            reason: format!("neither a JSON object nor a header with a column `{wanted}`"),
        })
    };
    Ok(Columns {
        at: find("timestamp")?,
        prompt: find("request tokens")?,
        tokens: find("response tokens")?,
    })
}

impl Columns {
    fn row(&self, line: &str) -> Result<Raw, String> {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let field = |index: usize| *fields.get(index).unwrap_or(&"");
        let count = |index| {
            let text = field(index);
            text.parse::<u64>().map_err(|_| format!("`{text}` is no number of tokens"))
        };
        let at = field(self.at);
        let at_s = at.parse().map_err(|_| format!("`{at}` is no time in seconds"))?;
        Ok(Raw { at_s, prompt_tokens: count(self.prompt)?, tokens: count(self.tokens)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BURST: &str = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
        5,ChatGPT,472,18,490,Conversation log\n45.5,GPT-4,1087,230,1317,API log\n";

    #[test]
    fn both_forms_are_read() {
        let requests = Trace::parse(BURST).unwrap();
        let expected = [
            Traced { due_ns: 0, prompt_tokens: 472, tokens: 18 },
            Traced { due_ns: 40_500_000_000, prompt_tokens: 1087, tokens: 230 },
        ];
        assert_eq!(expected, *requests.requests());
        assert!((requests.rate().unwrap() - 2.0 / 40.5).abs() < 1e-12);
    }

    #[test]
    fn requests_are_in_the_order_in_which_they_are_due() {
        let line = |ms: u32, n: u32| {
            format!("{{\"timestamp\":{ms},\"input_length\":{n},\"output_length\":0}}\n")
        };
        let trace = Trace::parse(&[line(30, 1), line(10, 2), line(30, 3)].concat()).unwrap();
        let seen: Vec<_> = trace.requests().iter().map(|r| (r.due_ns, r.prompt_tokens)).collect();
        assert_eq!(vec![(0, 2), (20_000_000, 1), (20_000_000, 3)], seen);
        assert!(trace.requests().iter().all(|request| request.tokens == 1));
    }

    #[track_caller]
    fn check_refused(text: &str, words: &str) {
        let told = Trace::parse(text).unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        check_refused("", "no requests");
        check_refused("Timestamp,Request tokens,Response tokens\n", "no requests");
        check_refused("a,b\n1,2\n", "line 1 of the trace: neither");
        check_refused(&format!("{BURST}x,a,1,1\n"), "line 4 of the trace: `x` is no time");
        check_refused(&format!("{BURST}1,a,-1,1\n"), "`-1` is no number of tokens");
        check_refused("{\"timestamp\":1}\n", "line 1 of the trace: missing field");
        check_refused("\n{\"timestamp\":-1,\"input_length\":1,\"output_length\":1}", "line 2");
    }
}
