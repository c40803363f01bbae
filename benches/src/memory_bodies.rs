//! Bodies of `memory`: what a reservation, a buffer and a look at the machine cost.

use std::hint::black_box;
use std::sync::Arc;

use memory::files::{FileSystem, OsFiles};
use memory::{Budget, BufferPool, CachePolicy, FileWriter, MemoryInfo, WriteOptions};

use crate::{Body, Gate, Run};

/// Bytes of a reservation: one network buffer.
pub const RESERVED_BYTES: u64 = 64 << 10;

/// Bytes of a buffer.
pub const BUFFER_BYTES: usize = 1 << 20;

/// Bytes of a file that one iteration of the [`FILE_BODIES`] writes and makes durable.
pub const FILE_BYTES: u64 = 32 << 20;

/// All bodies that work in memory alone.
pub const BODIES: &[Body] = &[
    Body { case: "memory/reserve", subject: "ours", prepare: reserve },
    Body { case: "memory/reserve", subject: "ours, named", prepare: reserve_named },
    Body { case: "memory/refuse", subject: "ours", prepare: refuse },
    Body { case: "memory/buffer", subject: "ours", prepare: buffer },
    Body { case: "memory/buffer", subject: "std, fresh", prepare: fresh_buffer },
    Body { case: "memory/rss", subject: "ours", prepare: rss },
    Body { case: "memory/pressure", subject: "ours", prepare: pressure },
];

/// Bodies that write to the disk: milliseconds an iteration.
pub const FILE_BODIES: &[Body] = &[
    Body { case: "memory/write", subject: "ours, keep", prepare: || write(CachePolicy::Keep) },
    Body { case: "memory/write", subject: "ours, drop", prepare: || write(CachePolicy::Drop) },
    Body { case: "memory/write", subject: "std", prepare: std_write },
];

/// What is demanded.
pub const GATES: &[(&str, Gate)] = &[
    ("memory/reserve", Gate::AtMostNanos(40.0)),
    ("memory/rss", Gate::AtMostNanos(2_000.0)),
    ("memory/pressure", Gate::AtMostNanos(40_000.0)),
];

/// 64 KiB reserved and given back; nobody waits.
fn reserve() -> Run {
    reserve_in(Budget::new(1 << 30))
}

/// The same by a handle with a name, beside another consumer.
fn reserve_named() -> Run {
    let budget = Budget::new(1 << 30);
    let held = budget.named("other").try_reserve(1).expect("nearly all is free");
    let mut run = reserve_in(budget.named("parts"));
    Box::new(move |iterations| {
        run(iterations);
        black_box(&held);
    })
}

fn reserve_in(budget: Budget) -> Run {
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let reservation = budget.try_reserve(RESERVED_BYTES).expect("nearly all is free");
            assert_eq!(RESERVED_BYTES, black_box(reservation).bytes());
        }
        assert_eq!(0, budget.reserved_bytes());
    })
}

/// A refusal, with the name of who holds the bytes.
fn refuse() -> Run {
    let budget = Budget::new(RESERVED_BYTES);
    let held = budget.named("holder").try_reserve(1).expect("all is free");
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let refused = budget.try_reserve(RESERVED_BYTES).expect_err("a byte is missing");
            assert_eq!(held.bytes(), black_box(refused).largest[0].reserved_bytes);
        }
    })
}

/// A buffer taken from the pool, one byte written to each of its pages, frozen, cloned, given back.
fn buffer() -> Run {
    let pool = BufferPool::new(&Budget::new(4 << 20), BUFFER_BYTES, 4);
    let content = vec![7; BUFFER_BYTES];
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let mut buffer = pool.try_get().expect("all are free");
            buffer.extend(&content);
            let bytes = buffer.freeze();
            assert_eq!(BUFFER_BYTES, black_box(bytes.clone()).len());
        }
        assert_eq!(1, pool.idle());
    })
}

/// The same with fresh memory each time.
fn fresh_buffer() -> Run {
    let content = vec![7; BUFFER_BYTES];
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let mut buffer = Vec::with_capacity(BUFFER_BYTES);
            buffer.extend_from_slice(&content);
            assert_eq!(BUFFER_BYTES, black_box(buffer).len());
        }
    })
}

/// The resident memory of this process.
fn rss() -> Run {
    let info = MemoryInfo::open();
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let bytes = info.resident_bytes().expect("this system tells it");
            assert!(0 < black_box(bytes));
        }
    })
}

/// The working set of the fullest limit and the pressure: a whole sample of the monitor.
fn pressure() -> Run {
    let info = MemoryInfo::open();
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let usage = info.usage().expect("this system tells it");
            let pressure = info.pressure().expect("this system tells it");
            assert!(0 < usage.working_set_bytes && 0.0 <= black_box(pressure).some.avg10);
        }
    })
}

/// 32 MiB by 1 MiB, durable and under their name.
fn write(cache: CachePolicy) -> Run {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files: Arc<dyn FileSystem> = Arc::new(OsFiles::new());
    let (content, target) = (vec![7; BUFFER_BYTES], folder.path().join("file"));
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let options = WriteOptions { len_bytes: Some(FILE_BYTES), cache };
            let writer = FileWriter::create(&files, &target, options).expect("the folder is ours");
            for offset in (0..FILE_BYTES).step_by(BUFFER_BYTES) {
                writer.write_at(&content, offset).expect("the disk has room");
            }
            writer.publish().expect("the folder is ours");
        }
        assert_eq!(FILE_BYTES, std::fs::metadata(&target).expect("published").len());
        let _ = &folder;
    })
}

/// The same by the standard library, which gives the file its name at the first byte.
fn std_write() -> Run {
    use std::io::Write;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (content, target) = (vec![7; BUFFER_BYTES], folder.path().join("file"));
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let _ = std::fs::remove_file(&target);
            let mut file = std::fs::File::create(&target).expect("the folder is ours");
            for _ in (0..FILE_BYTES).step_by(BUFFER_BYTES) {
                file.write_all(&content).expect("the disk has room");
            }
            file.sync_all().expect("the disk works");
        }
        assert_eq!(FILE_BYTES, std::fs::metadata(&target).expect("written").len());
        let _ = &folder;
    })
}
