//! Peers that mean harm: the bounds hold, and the server answers afterwards.
//!
//! Small doses, unless `HOSTILE=1` is set: then 500 slow heads and bodies, 10 000 idle connections (or as many
//! as the limit of open files allows), a body of 1 GB and a flood of 10 s. Run that one with `--test-threads=1`.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::helpers::{LIMIT, Reply, request};
use crate::program::{Program, start_program};

/// A dose: the small one, or the one that was asked for.
fn dose<T>(small: T, whole: T) -> T {
    if std::env::var_os("HOSTILE").is_some() { whole } else { small }
}

fn serve(args: &[&str]) -> Program {
    streaming_server::raise_open_files().unwrap();
    start_program(args)
}

fn connect(program: &Program) -> TcpStream {
    let stream = TcpStream::connect(&program.address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Whether the server answers, by a request that generates.
#[track_caller]
fn assert_serves(program: &Program) {
    let mut stream = connect(program);
    let body = r#"{"prompt":"a","max_tokens":3}"#;
    stream.write_all(&request("/v1/completions", body, "Connection: close\r\n")).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    assert_eq!(200, Reply::parse(&reply).status);
}

/// The value of a metric; none where the server has no room for the question.
fn metric(program: &Program, name: &str) -> Option<f64> {
    let mut stream = connect(program);
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    let line = reply.lines().find(|line| line.starts_with(name))?;
    Some(line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Waits until the server has no connection but the one that asks.
#[track_caller]
fn assert_all_closed(program: &Program) {
    let since = Instant::now();
    loop {
        let open = metric(program, "connections_open");
        if open == Some(1.0) {
            return;
        }
        assert!(since.elapsed() < LIMIT, "{open:?} are open");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn slow_heads_and_bodies_are_closed_in_time() {
    let program = serve(&["--header-timeout=400ms", "--body-timeout=400ms", "--interval=1ms"]);
    let head = "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n";
    let start = Instant::now();
    let mut slow: Vec<_> = (0..dose(60, 500))
        .map(|number| {
            let mut stream = connect(&program);
            let begun = if number % 2 == 0 { &head[..40] } else { &format!("{head}\r\n{{") };
            stream.write_all(begun.as_bytes()).unwrap();
            stream
        })
        .collect();
    assert_serves(&program);
    // A byte now and then does not help them.
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(150));
        for stream in &mut slow {
            let _ = stream.write_all(b"x");
        }
    }
    assert_serves(&program);
    assert_all_closed(&program);
    let open_s = start.elapsed().as_secs_f64();
    println!("{} slow connections, all closed after {open_s:.1} s", slow.len());
}

#[test]
fn idle_connections_cost_little_and_are_capped() {
    let files = streaming_server::raise_open_files().unwrap();
    let wanted = dose(300, 10_000).min(usize::try_from(files).unwrap() - 500);
    let cap = format!("--max-connections={wanted}");
    let program = serve(&[&cap, "--header-timeout=60s", "--interval=1ms"]);
    let before = program.rss_bytes();
    let mut idle: Vec<_> = (1..wanted).map(|_| connect(&program)).collect();
    assert_serves(&program);
    let each = program.rss_bytes().saturating_sub(before) / idle.len() as u64;
    println!("{} idle connections, {each} B each", idle.len());
    assert!(each < 16 << 10, "{each} B each");
    // One more, and the next is told so.
    idle.push(connect(&program));
    let since = Instant::now();
    loop {
        let mut more = connect(&program);
        let mut reply = Vec::new();
        let _ = more.write_all(b"GET /live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let read = more.read_to_end(&mut reply);
        if reply.starts_with(b"HTTP/1.1 503") || read.is_err() {
            break;
        }
        assert!(since.elapsed() < LIMIT, "nobody is refused");
    }
    drop(idle);
    assert_all_closed(&program);
    assert_serves(&program);
}

#[test]
fn a_body_without_end_is_refused_and_holds_little() {
    let program = serve(&["--interval=1ms"]);
    let before = program.rss_bytes();
    let mut stream = connect(&program);
    let head = "POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat();
    let mut sent: u64 = 0;
    let total = dose(64, 1000) * 1_000_000;
    while sent < total {
        match stream.write_all(&chunk) {
            Ok(()) => sent += 0x10000,
            Err(error) => {
                let kind = error.kind();
                assert!(
                    [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&kind),
                    "{error}"
                );
                break;
            }
        }
    }
    println!(
        "{sent} B were taken, the server grew by {} B",
        program.rss_bytes().saturating_sub(before)
    );
    assert!(sent < 64_000_000);
    assert!(program.rss_bytes().saturating_sub(before) < 48 << 20);
    assert_serves(&program);
    assert_all_closed(&program);

    // Whoever reads while it sends is told.
    let mut stream = connect(&program);
    stream.write_all(head.as_bytes()).unwrap();
    let mut reply = vec![0; 12];
    for _ in 0..140 {
        stream.write_all(&chunk).unwrap();
    }
    stream.read_exact(&mut reply).unwrap();
    assert_eq!("HTTP/1.1 413", String::from_utf8(reply).unwrap());
}

#[test]
fn a_flood_of_connections_passes() {
    let program = serve(&["--interval=1ms", "--max-connections=200"]);
    let end = Instant::now() + dose(Duration::from_millis(500), Duration::from_secs(10));
    let connects: usize = std::thread::scope(|scope| {
        let floods: Vec<_> = (0..4)
            .map(|number| {
                let program = &program;
                scope.spawn(move || {
                    let mut n = 0;
                    while Instant::now() < end {
                        let Ok(mut stream) = TcpStream::connect(&program.address) else { continue };
                        if number % 2 == 0 {
                            let _ = stream.write_all(b"GET / HT");
                        }
                        // Without a time of waiting for late packets: ports would run out.
                        let _ = nix::sys::socket::setsockopt(
                            &stream,
                            nix::sys::socket::sockopt::Linger,
                            &nix::libc::linger { l_onoff: 1, l_linger: 0 },
                        );
                        n += 1;
                    }
                    n
                })
            })
            .collect();
        floods.into_iter().map(|flood| flood.join().unwrap()).sum()
    });
    println!("{connects} connections");
    assert_all_closed(&program);
    assert_serves(&program);
}
