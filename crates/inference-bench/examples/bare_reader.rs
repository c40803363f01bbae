//! What reading streams costs at least: one thread, `epoll`, `recvmsg` with the kernel's stamp, and
//! nothing done with the bytes but reading the emit stamps in them.
//!
//! ```text
//! inference-bench emit --interval 10ms --ttft 500ms          # prints its URL
//! cargo run --release --example bare_reader -- ADDRESS STREAMS TOKENS
//! ```
//!
//! What `calibrate` needs per event beyond this is ours: HTTP, events, JSON, records. And what its gaps
//! are wrong beyond those here is, too: the rest is between the emitter's clock and the kernel's stamp.

use std::io::{IoSliceMut, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Instant;

use inference_bench::stats::quantile;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::{TimeSpec, TimeValLike};

const EMIT_STAMP: &[u8] = b": t=";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, streams, tokens] = &arguments[..] else {
        return Err("bare_reader ADDRESS STREAMS TOKENS".into());
    };
    let (n_streams, tokens): (usize, u64) = (streams.parse()?, tokens.parse()?);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let streams = open(&epoll, address, n_streams, tokens)?;

    let begin = (Instant::now(), cpu_us()?);
    let (mut seen, mut reads, mut shared) = (0, 0_u64, 0);
    let mut delays_ns: Vec<Option<i64>> = vec![None; n_streams];
    let mut errors_us = Vec::new();
    let mut ready = vec![EpollEvent::empty(); 1024];
    let mut bytes = vec![0; 16 << 10];
    let mut control = nix::cmsg_space!(TimeSpec);
    while seen < n_streams as u64 * tokens {
        let n_ready = epoll.wait(&mut ready, EpollTimeout::NONE)?;
        for event in &ready[..n_ready] {
            let number = event.data() as usize;
            let fd = streams[number].as_raw_fd();
            let mut pieces = [IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_DONTWAIT;
            let read = recvmsg::<SockaddrStorage>(fd, &mut pieces, Some(&mut control), flags)?;
            let (n, stamp) = (read.bytes, read.cmsgs()?.find_map(|message| nanoseconds(&message)));
            let in_read = memchr::memmem::find_iter(&bytes[..n], EMIT_STAMP).count() as u64;
            if n == 0 {
                return Err("the emitter closed a stream".into());
            }
            (seen, reads) = (seen + in_read, reads + 1);
            shared += in_read.saturating_sub(1);
            let emit_ns = emit_stamp(&bytes[..n]).filter(|_| in_read == 1);
            let delay_ns = stamp.zip(emit_ns).map(|(recv_ns, emit_ns)| recv_ns - emit_ns);
            if let (Some(before), Some(now)) = (delays_ns[number], delay_ns) {
                errors_us.push((now - before).unsigned_abs() as f64 / 1e3);
            }
            delays_ns[number] = delay_ns;
        }
    }
    let (wall_s, cpu_us) = (begin.0.elapsed().as_secs_f64(), cpu_us()? - begin.1);
    errors_us.sort_by(f64::total_cmp);
    let line = serde_json::json!({
        "events": seen, "events_per_s": seen as f64 / wall_s, "reads": reads,
        "cpu_us_per_event": cpu_us as f64 / seen as f64,
        "coalesced_pct": 100.0 * shared as f64 / seen as f64,
        "gap_err_p50_us": quantile(&errors_us, 0.5), "gap_err_p99_us": quantile(&errors_us, 0.99),
    });
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

fn nanoseconds(message: &ControlMessageOwned) -> Option<i64> {
    match message {
        ControlMessageOwned::ScmTimestampns(time) => Some(time.num_nanoseconds()),
        _ => None,
    }
}

/// The time in the first emit stamp.
fn emit_stamp(bytes: &[u8]) -> Option<i64> {
    let at = memchr::memmem::find(bytes, EMIT_STAMP)? + EMIT_STAMP.len();
    let digits = bytes[at..].split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Opens all streams; their heads are the first to be read.
fn open(
    epoll: &Epoll,
    address: &str,
    n_streams: usize,
    tokens: u64,
) -> Result<Vec<TcpStream>, Box<dyn std::error::Error>> {
    let body = format!("{{\"prompt\":\"a\",\"max_tokens\":{tokens},\"stream\":true}}");
    let request = format!(
        "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut streams = Vec::new();
    for number in 0..n_streams {
        let mut stream = TcpStream::connect(address)?;
        setsockopt(&stream, sockopt::ReceiveTimestampns, &true)?;
        stream.write_all(request.as_bytes())?;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
        streams.push(stream);
    }
    Ok(streams)
}

fn cpu_us() -> nix::Result<i64> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    Ok(usage.user_time().num_microseconds() + usage.system_time().num_microseconds())
}
