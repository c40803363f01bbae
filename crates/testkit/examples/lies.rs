//! One object, asked for honestly, and eight ways in which a server can lie about it: what comes over the
//! wire each time.
//!
//! ```sh
//! cargo run -p testkit --example lies
//! ```

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use testkit::{Blob, Options, Origin};

const LIES: [&str; 9] = [
    "",
    "cut:at=20",
    "rst",
    "ignore-range",
    "wrong-range=shift",
    "wrong-range=lie",
    "swap",
    "short=8",
    "status=503",
];

fn main() -> Result<(), Box<dyn Error>> {
    let blob = Blob::new("model", 1000, 7);
    let origin = Origin::start(Options { blobs: vec![blob.clone()], ..Options::default() })?;
    println!("asked for bytes 100 to 139; of the 40, as many came and were right:");
    for lie in LIES {
        let rules = if lie.is_empty() { vec![] } else { vec![lie.parse()?] };
        origin.update(|settings| settings.faults = rules);
        let (head, body, end) = ask(&origin)?;
        let status = head.lines().next().unwrap_or_default();
        let range = head.lines().find(|line| line.starts_with("Content-Range"));
        let is_right = |(k, byte): &(usize, &u8)| *k < 40 && blob.byte(100 + *k as u64) == **byte;
        let right = body.iter().enumerate().filter(is_right).count();
        println!(
            "{lie:<18} {status:<34} {:<34} {:>4} B, {right:>2} right, {end}",
            range.unwrap_or("no range"),
            body.len()
        );
    }
    Ok(())
}

/// Head, body, and how the connection ended.
fn ask(origin: &Origin) -> io::Result<(String, Vec<u8>, &'static str)> {
    let mut stream = TcpStream::connect(origin.address())?;
    let request =
        "GET /model HTTP/1.1\r\nHost: a\r\nRange: bytes=100-139\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes())?;
    let mut reply = Vec::new();
    let end = match stream.read_to_end(&mut reply) {
        Ok(_) => "closed",
        Err(_) => "reset",
    };
    let at = reply.windows(4).position(|four| four == b"\r\n\r\n").map_or(reply.len(), |at| at + 4);
    let body = reply.split_off(at);
    Ok((String::from_utf8_lossy(&reply).into_owned(), body, end))
}
