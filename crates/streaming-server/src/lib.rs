//! Who may generate, and do tokens leave at once.
//!
//! A [`Runner`] produces tokens in steps, on a thread of its own. A [`Server`] takes requests in the
//! manner of OpenAI's API, lets so many of them run, and sends each token as an event of its stream:
//! as soon as it is there, and together with whatever else waits for the same client.
//!
//! # The guarantee
//!
//! `sent = produced`, in order, for every stream that is not cut; and a stream that is cut says so. A
//! token waits for no other token: what is there when a client's turn comes is written in one piece.
//! A client that reads slowly slows its own sequences and nothing else, holds at most
//! [`backlog_bytes_max`](Options::backlog_bytes_max) and one frame, and is cut after
//! [`stall_timeout`](Options::stall_timeout). A request that its client gives up is told to the
//! runner exactly once, wherever it stands.
//!
//! Keys that wait are served tokens in proportion to their weights, whatever they ask for; none of them
//! fills the line, and one that exceeds its rate is refused alone. A request that two servers may read
//! differently is refused before it is read.
//!
//! # When to use it, and when not
//!
//! Use it as the front of a model runner that produces tokens in steps ([`Server::start`]), or of servers
//! that speak the same API ([`Server::relay`]). It computes no tokens itself, and knows no tokenizer:
//! prompts are passed on as they came. It speaks HTTP/1.1 without TLS: put a
//! proxy in front where the network is not trusted.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use streaming_server::{Listener, Options, Server, TestOptions, TestRunner};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tokens = TestOptions { interval: Duration::from_millis(1), ..TestOptions::default() };
//! let server = Server::start(Options::default(), move || TestRunner::new(tokens))?;
//! let listener = Listener::bind("127.0.0.1:0".parse()?)?;
//! let address = listener.address()?;
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let served = tokio::spawn(async move { server.serve(listener, stopped).await });
//!
//! let mut client = tokio::net::TcpStream::connect(address).await?;
//! let body = r#"{"prompt":"Say something","max_tokens":3,"stream":true}"#;
//! let head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close";
//! let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
//! client.write_all(request.as_bytes()).await?;
//! let mut reply = String::new();
//! client.read_to_string(&mut reply).await?;
//! assert!(reply.contains(r#""text":"token_2""#) && reply.contains("data: [DONE]\n\n"));
//!
//! drop(stop);
//! assert_eq!(0, served.await?.cut);
//! # Ok(())
//! # }
//! ```
//!
//! # The way of a token
//!
//! A step of the runner writes its tokens into one buffer per I/O thread ([`Step::push`]); the buffer
//! is handed over with one wake. A task over there gives each stream what is its own and wakes it; the
//! stream renders all that waits into one pooled buffer, one event per token, when the connection has
//! room. Nothing is allocated per token.
//!
//! # Features
//!
//! - `cli`: the program `streaming-server`.
//! - `tls`: upstreams at `https`.
//! - `shuttle`: for the crate's own tests.

#![forbid(unsafe_code)]

#[cfg(feature = "shuttle")]
#[doc(hidden)]
pub mod admission;
#[cfg(not(feature = "shuttle"))]
mod admission;
mod arena;
mod body;
mod cors;
mod engine;
mod fault;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
#[cfg(feature = "shuttle")]
#[doc(hidden)]
pub mod handover;
#[cfg(not(feature = "shuttle"))]
mod handover;
mod keys;
mod metrics;
mod options;
mod relay;
mod render;
mod runner;
mod seam;
mod serve;
mod sync;
mod tenants;
mod test_runner;
pub mod wire;

pub use fault::{Fault, FaultError};
pub use keys::{Key, Keys, KeysError, Quota};
pub use options::{Options, RelayOptions};
pub use runner::{FinishReason, Next, Push, Runner, Sequence, SequenceId, Step, Token};
pub use seam::{Listener, raise_open_files};
pub use serve::{Ended, Server, StartError};
pub use test_runner::{Pace, TestOptions, TestRunner};

#[cfg(all(doctest, not(feature = "shuttle")))]
#[doc = include_str!("../README.md")]
struct Readme;
