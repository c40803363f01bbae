//! The peers' answers to the questions of `memory_bodies`, each in its best configuration.

use std::hint::black_box;
use std::sync::Arc;

use benches::memory_bodies::{BUFFER_BYTES, FILE_BYTES, RESERVED_BYTES};
use benches::{Body, Run};
use sysinfo::{MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, System, get_current_pid};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

/// All bodies that work in memory alone.
pub(crate) const BODIES: &[Body] = &[
    Body { case: "memory/reserve", subject: "tokio, KiB permits", prepare: semaphore },
    Body { case: "memory/reserve", subject: "tokio, owned permits", prepare: owned_semaphore },
    Body { case: "memory/refuse", subject: "tokio, KiB permits", prepare: semaphore_refuses },
    Body { case: "memory/rss", subject: "memory-stats, statm", prepare: memory_stats_rss },
    Body { case: "memory/rss", subject: "sysinfo", prepare: sysinfo_rss },
    Body { case: "memory/pressure", subject: "sysinfo, no stalls", prepare: sysinfo_limits },
];

/// Bodies that write to the disk.
pub(crate) const FILE_BODIES: &[Body] =
    &[Body { case: "memory/write", subject: "tokio::fs", prepare: tokio_write }];

/// A semaphore counts in u32, so bytes have to be rounded up to something: here KiB.
const PERMITS: u32 = (RESERVED_BYTES / 1024) as u32;

fn semaphore() -> Run {
    let semaphore = Semaphore::new(1 << 20);
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let permits = semaphore.try_acquire_many(PERMITS).expect("nearly all are free");
            assert_eq!(PERMITS as usize, black_box(permits).num_permits());
        }
        assert_eq!(1 << 20, semaphore.available_permits());
    })
}

fn owned_semaphore() -> Run {
    let semaphore = Arc::new(Semaphore::new(1 << 20));
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let permits = Arc::clone(&semaphore).try_acquire_many_owned(PERMITS);
            let permits = permits.expect("nearly all are free");
            assert_eq!(PERMITS as usize, black_box(permits).num_permits());
        }
        assert_eq!(1 << 20, semaphore.available_permits());
    })
}

fn semaphore_refuses() -> Run {
    let semaphore = Semaphore::new(PERMITS as usize - 1);
    Box::new(move |iterations| {
        for _ in 0..iterations {
            assert!(black_box(semaphore.try_acquire_many(PERMITS)).is_err());
        }
    })
}

fn memory_stats_rss() -> Run {
    Box::new(|iterations| {
        for _ in 0..iterations {
            let stats = memory_stats::memory_stats().expect("this system tells it");
            assert!(0 < black_box(stats).physical_mem);
        }
    })
}

fn sysinfo_rss() -> Run {
    let mut system = System::new().expect("this system tells it");
    let pid = get_current_pid().expect("this system has processes");
    Box::new(move |iterations| {
        for _ in 0..iterations {
            let update = ProcessesToUpdate::Some(&[pid]);
            let kind = ProcessRefreshKind::nothing().with_memory();
            system.refresh_processes_specifics(update, false, kind);
            assert!(0 < black_box(system.process(pid).expect("we live").memory()));
        }
    })
}

fn sysinfo_limits() -> Run {
    let mut system = System::new().expect("this system tells it");
    Box::new(move |iterations| {
        for _ in 0..iterations {
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
            black_box(system.cgroup_limits());
            assert!(0 < black_box(system.available_memory()));
        }
    })
}

fn tokio_write() -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (content, target) = (vec![7; BUFFER_BYTES], folder.path().join("file"));
    Box::new(move |iterations| {
        for _ in 0..iterations {
            runtime.block_on(write_anew(&target, &content)).expect("the disk has room");
        }
        let _ = &folder;
    })
}

async fn write_anew(target: &std::path::Path, content: &[u8]) -> std::io::Result<()> {
    let _ = tokio::fs::remove_file(target).await;
    let mut file = tokio::fs::File::create(target).await?;
    for _ in (0..FILE_BYTES).step_by(BUFFER_BYTES) {
        file.write_all(content).await?;
    }
    file.sync_all().await
}
