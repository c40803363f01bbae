//! Reading a file that lies in the page cache: by pieces, as a mapping, and whole.
//!
//! ```text
//! cargo run --release -p memory --example read -- [MIB]
//! ```

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use memory::files::{FileSystem, OsFiles};
use memory::{Budget, BufferPool, FileReader, Mapping, ReadOptions};

/// How often each way is tried, in turn; the best counts.
const ROUNDS: usize = 7;

type Way = fn(&Path) -> Sum;
type Sum = Result<u64, Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    let mib = std::env::args().nth(1).map_or(Ok(256), |mib| mib.parse::<usize>())?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("file");
    std::fs::write(&path, vec![7; mib << 20])?;
    let ways: [(&str, Way); 3] =
        [("FileReader, 1 MiB", pieces), ("Mapping", mapping), ("std::fs::read", whole)];
    let mut best = [f64::INFINITY; 3];
    for _ in 0..ROUNDS {
        for ((_, way), best) in ways.iter().zip(&mut best) {
            let start = Instant::now();
            assert_eq!(7 * ((mib as u64) << 20), way(&path)?);
            *best = best.min(start.elapsed().as_secs_f64());
        }
    }
    for ((name, _), wall_s) in ways.iter().zip(best) {
        println!("{name:<20} {:>6.2} GB/s, summed", mib as f64 * 1.048_576e-3 / wall_s);
    }
    Ok(())
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|&byte| u64::from(byte)).sum()
}

fn pieces(path: &Path) -> Sum {
    let files: Arc<dyn FileSystem> = Arc::new(OsFiles::new());
    let pool = BufferPool::new(&Budget::new(2 << 20), 1 << 20, 2);
    let mut reader = FileReader::open(&files, path, ReadOptions::default())?;
    let mut total = 0;
    while let Some(bytes) = reader.next(pool.get_blocking()?)? {
        total += sum(&bytes);
    }
    Ok(total)
}

#[expect(unsafe_code, reason = "the contract of mappings")]
fn mapping(path: &Path) -> Sum {
    let len = usize::try_from(std::fs::metadata(path)?.len())?;
    // SAFETY: the folder is ours, and nobody touches the file.
    let mapping = unsafe { Mapping::open(path, len)? };
    mapping.advise_sequential()?;
    Ok(sum(&mapping))
}

fn whole(path: &Path) -> Sum {
    Ok(sum(&std::fs::read(path)?))
}
