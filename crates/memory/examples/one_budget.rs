//! Four writers of 32 MiB files in turn over one budget of 4 MiB: what the process takes meanwhile, what
//! somebody is told who asks for more than is left, and that all of it comes back.
//!
//! ```sh
//! cargo run -p memory --example one_budget
//! ```

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use memory::files::{FileSystem, OsFiles};
use memory::heap::CountingAllocator;
use memory::{Budget, BufferPool, FileWriter, WriteOptions};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::system();

const FILE_BYTES: u64 = 32 << 20;
const BUFFER_BYTES: usize = 256 << 10;

/// Writes a file through buffers that wait for the budget.
fn write(target: &Path, budget: &Budget) -> Result<(), Box<dyn Error + Send + Sync>> {
    let files: Arc<dyn FileSystem> = Arc::new(OsFiles::new());
    let buffers = BufferPool::new(budget, BUFFER_BYTES, 2);
    let writer = FileWriter::create(&files, target, WriteOptions::default())?;
    for offset in (0..FILE_BYTES).step_by(BUFFER_BYTES) {
        let mut buffer = buffers.get_blocking()?;
        while 0 < buffer.spare_bytes() {
            buffer.extend(b"weights ");
        }
        writer.write_at(&buffer.freeze(), offset)?;
    }
    Ok(writer.publish()?)
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = tempfile::tempdir()?;
    let budget = Budget::new(4 << 20);
    thread::scope(|scope| {
        let write = |name: &'static str| {
            let (target, budget) = (folder.path().join(name), budget.named(name));
            scope.spawn(move || write(&target, &budget))
        };
        let writers = ["embeddings", "layers", "head", "tokenizer"].map(write);
        let held = budget.reserve_blocking(3 << 20)?;
        if let Err(refused) = budget.named("one more").try_reserve(2 << 20) {
            println!("{refused}");
        }
        drop(held);
        writers.into_iter().try_for_each(|writer| writer.join().expect("no writer panics"))
    })?;
    let heap_kib = ALLOCATOR.counts().peak_bytes >> 10;
    println!("{} MiB written, with at most {heap_kib} KiB of heap", (4 * FILE_BYTES) >> 20);
    println!("still reserved: {} B", budget.reserved_bytes());
    Ok(())
}
