//! What produces the tokens, as the server sees it.

use std::sync::Arc;
use std::time::Instant;

use crate::arena;
pub use crate::engine::Step;
use crate::wire::Prompt;

/// Produces tokens for all running sequences, a step at a time.
///
/// All calls come from one thread, which is the runner's own: a step may compute as long as it takes,
/// up to [`runner_timeout`](crate::Options::runner_timeout). A runner that panics is made anew; what ran
/// in it fails with an error event.
///
/// # Examples
///
/// A runner that says one word, as often as it is asked for tokens:
///
/// ```
/// use std::sync::Arc;
/// use std::time::Instant;
/// use streaming_server::{Next, Push, Runner, Sequence, SequenceId, Step, Token};
///
/// #[derive(Default)]
/// struct Parrot {
///     running: Vec<SequenceId>,
/// }
///
/// impl Runner for Parrot {
///     fn start(&mut self, id: SequenceId, _: &Arc<Sequence>, _: Instant) {
///         self.running.push(id);
///     }
///
///     fn cancel(&mut self, id: SequenceId) {
///         self.running.retain(|running| *running != id);
///     }
///
///     // A paused sequence is left out until then.
///     fn resume(&mut self, id: SequenceId) {
///         self.running.push(id);
///     }
///
///     fn step(&mut self, step: &mut Step<'_>) -> Next {
///         self.running.retain(|id| step.push(*id, Token::text(b"again ")) == Push::Taken);
///         if self.running.is_empty() { Next::Idle } else { Next::Now }
///     }
/// }
///
/// use streaming_server::{Options, Server};
/// let server = Server::start(Options::default(), Parrot::default)?;
/// # Ok::<(), streaming_server::StartError>(())
/// ```
pub trait Runner {
    /// Takes a sequence in. Its tokens come with the steps that follow.
    fn start(&mut self, id: SequenceId, sequence: &Arc<Sequence>, now: Instant);

    /// Forgets a sequence whose client has gone. Called at most once for a sequence, and only for one
    /// that has not ended.
    fn cancel(&mut self, id: SequenceId);

    /// There is room again for a sequence that was [`Push::Full`]. Called once for each time it was.
    fn resume(&mut self, id: SequenceId);

    /// Produces what is due. Says when it wants to be called again; it is called earlier if something
    /// else happened.
    fn step(&mut self, step: &mut Step<'_>) -> Next;
}

/// The name of a running sequence. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceId(pub(crate) arena::Id);

/// When a runner wants its next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At once.
    Now,
    /// At this instant; to about 50 µs on an idle machine.
    At(Instant),
    /// When a sequence starts, resumes or is cancelled.
    Idle,
}

/// One token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token<'a> {
    /// Its text; may begin or end within a character, and be empty.
    pub text: &'a [u8],
    /// Logarithm of its probability, where it is known.
    pub logprob: Option<f32>,
    /// When it was due, for a runner that keeps a schedule: its lateness is recorded.
    pub due: Option<Instant>,
}

impl<'a> Token<'a> {
    /// A token of which only the text is known.
    #[must_use]
    pub fn text(text: &'a [u8]) -> Self {
        Self { text, logprob: None, due: None }
    }
}

/// What became of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a token that found no room has to be offered again"]
pub enum Push {
    /// It is on its way, and another one is wanted.
    Taken,
    /// Its client has a full backlog. It was not taken: the sequence pauses until
    /// [`Runner::resume`], then the same token is offered again.
    Full,
    /// The sequence has ended: by this token, which was taken (`max_tokens`, a stop string), or
    /// before it.
    Ended,
}

/// Why a sequence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it, or a stop string came.
    Stop,
    /// It has `max_tokens` tokens.
    Length,
}

impl FinishReason {
    /// What the API calls it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// What is asked for: one choice of one prompt.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sequence {
    /// The model's name.
    pub model: Arc<str>,
    /// What is to be continued.
    pub prompt: Prompt,
    /// Length of the prompt: tokens where it came as tokens, else words.
    pub prompt_tokens: u64,
    /// It ends after so many tokens, at least 1. The server counts.
    pub tokens_max: u64,
    /// Sampling temperature, 0 to 2; 1 unless asked for.
    pub temperature: f32,
    /// Nucleus sampling, above 0 and up to 1; 1 unless asked for.
    pub top_p: f32,
    /// The seed that was asked for.
    pub seed: Option<i64>,
}
