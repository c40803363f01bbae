//! Why there is no file.

use std::fmt;

use memory::LogError;
use memory::files::FileError;

use crate::redirect::RedirectError;

/// What kind of failure it was: what a caller branches on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The server does not have it.
    NotFound,
    /// The server does not give it to us.
    NotAllowed,
    /// Its owner gives it to those whom they have let in.
    Gated,
    /// What came is not what was asked for.
    Integrity,
    /// It cannot be written here.
    Disk,
    /// It cannot be had now.
    Network,
    /// Its server cannot show who it is: nobody who is trusted vouches for it, or it speaks no TLS.
    Untrusted,
    /// It is not here, and nobody may be asked.
    Offline,
    /// Something else.
    Other,
}

impl ErrorKind {
    /// What needs a person comes first, what may mend itself last.
    fn rank(self) -> u8 {
        match self {
            Self::Integrity => 0,
            Self::Disk => 1,
            Self::NotAllowed | Self::Gated => 2,
            Self::NotFound => 3,
            Self::Offline => 4,
            Self::Network | Self::Untrusted => 5,
            Self::Other => 6,
        }
    }
}

/// Tells an error with its causes, on one line.
///
/// # Examples
///
/// ```
/// let error = download::Digest::sha256("abc").unwrap_err();
/// assert_eq!(error.to_string(), download::told(&error));
/// ```
#[must_use]
pub fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Whether somewhere beneath an error it says that what came has no meaning: so TLS tells of certificates that it
/// does not trust, and of servers that do not speak it.
pub(crate) fn says_nonsense(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut causes = causes.filter_map(|error| error.downcast_ref::<std::io::Error>());
    causes.any(|error| error.kind() == std::io::ErrorKind::InvalidData)
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a file was not fetched; nothing stands at its final path that was not there before.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    object: String,
    message: String,
    source: Option<Source>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, object: String::new(), message: message.into(), source: None }
    }

    pub(crate) fn because(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Names what was being fetched. An address is told without its query, which may be a secret.
    pub(crate) fn of(mut self, object: &str) -> Self {
        object.clone_into(&mut self.object);
        self
    }

    /// Returns the kind of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns what was being fetched: an address without its query.
    #[must_use]
    pub fn object(&self) -> &str {
        &self.object
    }

    /// Returns the one of several that needs a person first, and the others.
    pub(crate) fn gravest(mut errors: Vec<Self>) -> Option<(Self, Vec<Self>)> {
        let first = (0..errors.len()).min_by_key(|&k| errors[k].kind.rank())?;
        Some((errors.remove(first), errors))
    }

    /// Whether what was fetched so far is kept, so that the next attempt goes on from there.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        matches!(self.kind, ErrorKind::Network | ErrorKind::Untrusted | ErrorKind::Disk)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.object {
            "" => f.write_str(&self.message),
            object => write!(f, "{object}: {}", self.message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        let message = if error.is_no_space() { "no space left" } else { "cannot write the file" };
        Self::new(ErrorKind::Disk, message).because(error)
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        Self::new(ErrorKind::Disk, "cannot write the journal").because(error)
    }
}

impl From<RedirectError> for Error {
    fn from(error: RedirectError) -> Self {
        Self::new(ErrorKind::Network, "a redirect was not followed").because(error)
    }
}
