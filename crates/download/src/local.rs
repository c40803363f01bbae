//! Files that are here already.

use std::io;
use std::path::Path;

use memory::files::{FileSystem, Open};

use crate::digest::{Algorithm, Digest, Running};

/// Bytes that are read at a time.
const READ_BYTES: usize = 1 << 20;
/// How often in a row a read may be interrupted by signals.
const INTERRUPTS_MAX: u32 = 1000;

/// The length and the digest of a file. Blocks as long as reading takes.
pub(crate) fn digest_of(
    files: &dyn FileSystem,
    path: &Path,
    algorithm: Algorithm,
) -> io::Result<(u64, Digest)> {
    let handle = files.open(path, Open::Read)?;
    let total = handle.len_bytes()?;
    let mut running = Running::new(algorithm, total);
    let mut buffer = vec![0; READ_BYTES];
    let (mut offset, mut interrupts) = (0, 0);
    loop {
        match handle.read_at(&mut buffer, offset) {
            Ok(0) => return Ok((offset, running.finish())),
            Ok(n) => {
                running.update(&buffer[..n]);
                offset += n as u64;
                interrupts = 0;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                interrupts += 1;
                if INTERRUPTS_MAX < interrupts {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}
