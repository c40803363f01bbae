//! The reference of the suite `stream`: a thread that writes each token to its socket itself.
//!
//! It is what no server can beat while it sends one write per token and stream: no HTTP beyond the
//! head, no hand-over, no limits, and no client may be slow.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use nix::sys::prctl::set_timerslack;
use nix::time::{ClockId, clock_gettime};

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

/// Now by `CLOCK_MONOTONIC`, in nanoseconds.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    now.as_nanos() as u64
}

/// Accepts connections and sends every one a token at each multiple of `interval`, for ever.
///
/// # Errors
///
/// What the kernel says to accepting.
pub fn serve(listener: &TcpListener, interval: Duration) -> io::Result<()> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || write_steps(&receiver, interval.as_nanos() as u64));
    loop {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut request = [0; 4096];
        let _ = stream.read(&mut request)?;
        stream.write_all(HEAD)?;
        stream.set_nonblocking(true)?;
        give(&sender, stream);
    }
}

fn give(sender: &Sender<TcpStream>, stream: TcpStream) {
    sender.send(stream).expect("the writing thread never ends");
}

fn write_steps(receiver: &Receiver<TcpStream>, interval_ns: u64) {
    let _ = set_timerslack(1);
    let mut streams: Vec<(TcpStream, u64)> = Vec::new();
    let mut event = Vec::new();
    let mut due_ns = monotonic_ns().next_multiple_of(interval_ns);
    loop {
        std::thread::sleep(Duration::from_nanos(due_ns.saturating_sub(monotonic_ns())));
        streams.extend(receiver.try_iter().map(|stream| (stream, 0)));
        let emit_ns = monotonic_ns();
        streams.retain_mut(|(stream, number)| {
            event.clear();
            // The bytes that the server sends for such a token.
            let _ = write!(
                event,
                "data: {{\"id\":\"cmpl-000000000000000000000000\",\"object\":\"text_completion\",\
                 \"created\":1700000000,\"model\":\"test\",\"choices\":[{{\"index\":0,\
                 \"text\":\"token_{number}\",\"logprobs\":null,\"finish_reason\":null}}],\
                 \"ts\":{{\"due_ns\":{due_ns},\"emit_ns\":{emit_ns}}}}}\n\n"
            );
            *number += 1;
            stream.write(&event).is_ok_and(|written| written == event.len())
        });
        due_ns += interval_ns;
    }
}
