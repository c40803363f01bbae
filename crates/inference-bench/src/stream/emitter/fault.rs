//! Faults of the emitter: what a client has to bear.

use std::fmt;
use std::str::FromStr;

/// What goes wrong with a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Misdeed {
    /// The request is refused with this HTTP status, 400 … 599.
    Status(u16),
    /// An event that holds no JSON; the stream ends after it.
    Broken,
    /// The stream ends in good order, but for its `[DONE]`.
    NoDone,
    /// The connection is closed in the middle of an event.
    Cut,
    /// An error comes instead of the next token, and then `[DONE]`.
    Error,
    /// Nothing comes any more, and the connection stays open.
    Hang,
    /// A line without an end.
    Endless,
}

/// A fault, and the streams that have it.
///
/// Written `WHAT[@TOKENS][/EVERY]`, with `status=503`, `broken`, `no-done`, `cut`, `error`, `hang` or
/// `endless` for what.
///
/// # Examples
///
/// ```
/// use inference_bench::stream::{Fault, Misdeed};
///
/// let fault: Fault = "cut@3/2".parse()?;
/// assert_eq!(Fault { what: Misdeed::Cut, after_tokens: 3, every: 2 }, fault);
/// assert_eq!("status=503", "status=503@0/1".parse::<Fault>()?.to_string());
/// assert!("explode".parse::<Fault>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub what: Misdeed,
    /// After how many tokens; a refusal comes before all of them.
    pub after_tokens: u32,
    /// It befalls every so-manieth stream: 1 is each. At least 1.
    pub every: u64,
}

impl Fault {
    /// Whether the stream of this number, from 1 on, has it.
    pub(super) fn befalls(self, stream: u64) -> bool {
        stream.is_multiple_of(self.every)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |what: &str, digits: Option<&str>, missing: u64| match digits {
            None => Ok(missing),
            Some(digits) => {
                digits.parse().map_err(|_| format!("`{digits}` is no number of {what}"))
            }
        };
        let (rest, every) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let (word, after) = rest.split_once('@').map_or((rest, None), |(a, b)| (a, Some(b)));
        let every = number("streams", every, 1)?;
        let after_tokens = u32::try_from(number("tokens", after, 0)?).unwrap_or(u32::MAX);
        if every == 0 {
            return Err("a fault of every 0th stream befalls none".to_owned());
        }
        Ok(Self { what: word.parse()?, after_tokens, every })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if self.after_tokens != 0 {
            write!(f, "@{}", self.after_tokens)?;
        }
        if self.every != 1 {
            write!(f, "/{}", self.every)?;
        }
        Ok(())
    }
}

impl FromStr for Misdeed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(status) = text.strip_prefix("status=") {
            let status = status.parse().ok().filter(|status| (400..600).contains(status));
            return status.map(Self::Status).ok_or_else(|| format!("`{text}` refuses nothing"));
        }
        Ok(match text {
            "broken" => Self::Broken,
            "no-done" => Self::NoDone,
            "cut" => Self::Cut,
            "error" => Self::Error,
            "hang" => Self::Hang,
            "endless" => Self::Endless,
            other => {
                return Err(format!(
                    "no fault `{other}`: status=N, broken, no-done, cut, error, hang, endless"
                ));
            }
        })
    }
}

impl fmt::Display for Misdeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status(status) => return write!(f, "status={status}"),
            Self::Broken => "broken",
            Self::NoDone => "no-done",
            Self::Cut => "cut",
            Self::Error => "error",
            Self::Hang => "hang",
            Self::Endless => "endless",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_written_as_they_are_read() {
        for text in ["status=429", "broken@3", "no-done@1/2", "cut/7", "error", "hang@2", "endless"]
        {
            assert_eq!(text, text.parse::<Fault>().unwrap().to_string());
        }
        for text in ["", "status=200", "status=x", "cut@x", "cut/0", "cut/x", "Cut"] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_second_stream_is_every_second() {
        let fault: Fault = "cut/2".parse().unwrap();
        let befallen: Vec<u64> = (1..=6).filter(|&stream| fault.befalls(stream)).collect();
        assert_eq!(vec![2, 4, 6], befallen);
    }
}
