//! A runner of your own behind the server: it continues every prompt with its words in reverse. Then a
//! client that asks for that, and prints each event as it comes.
//!
//! ```sh
//! cargo run -p streaming-server --example own_runner
//! ```

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use streaming_server::wire::Prompt;
use streaming_server::{
    Listener, Next, Options, Push, Runner, Sequence, SequenceId, Server, Step, Token,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PACE: Duration = Duration::from_millis(150);

/// What is left to say, the next word last, for each sequence.
#[derive(Default)]
struct Backwards(Vec<(SequenceId, Vec<String>)>);

impl Runner for Backwards {
    fn start(&mut self, id: SequenceId, sequence: &Arc<Sequence>, _: Instant) {
        let text = if let Prompt::Text(text) = &sequence.prompt { text } else { "" };
        self.0.push((id, text.split_whitespace().map(|word| format!("{word} ")).collect()));
    }

    fn cancel(&mut self, id: SequenceId) {
        self.0.retain(|(running, _)| *running != id);
    }

    // A word that found no room was kept.
    fn resume(&mut self, _: SequenceId) {}

    fn step(&mut self, step: &mut Step<'_>) -> Next {
        self.0.retain_mut(|(id, words)| {
            let Some(word) = words.last() else {
                step.finish(*id);
                return false;
            };
            match step.push(*id, Token::text(word.as_bytes())) {
                Push::Taken => words.pop().is_some(),
                Push::Full => true,
                Push::Ended => false,
            }
        });
        if self.0.is_empty() { Next::Idle } else { Next::At(Instant::now() + PACE) }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::start(Options::default(), Backwards::default)?;
    let listener = Listener::bind("127.0.0.1:0".parse()?)?;
    let address = listener.address()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(async move { server.serve(listener, stopped).await });

    let body = r#"{"prompt":"speed the at tokens","max_tokens":9,"stream":true}"#;
    let head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close";
    let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (start, mut client) = (Instant::now(), TcpStream::connect(address).await?);
    client.write_all(request.as_bytes()).await?;
    let mut read = [0; 1 << 12];
    while let n @ 1.. = client.read(&mut read).await? {
        for line in String::from_utf8_lossy(&read[..n]).lines().filter(|l| l.starts_with("data:")) {
            println!("{:>4} ms  {line}", start.elapsed().as_millis());
        }
    }
    drop(stop);
    println!("{} streams were cut", served.await?.cut);
    Ok(())
}
