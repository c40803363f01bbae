//! The outside world: clock, files of the kernel, disks. Nothing else in this crate touches it.

#[cfg(feature = "monitor")]
mod alarm;
#[cfg(feature = "files")]
mod cache;
#[cfg(feature = "files")]
mod disk;
#[cfg(feature = "monitor")]
mod kept;

#[cfg(feature = "monitor")]
pub(crate) use self::alarm::{Alarm, Woke};
#[cfg(feature = "files")]
pub use self::disk::OsFiles;
#[cfg(feature = "monitor")]
pub(crate) use self::kept::{KeptFile, page_bytes, read_once};

/// The one reading of the clock.
#[cfg(feature = "monitor")]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// Reads from `file`, at its position, into `spare`.
#[cfg(feature = "files")]
pub(crate) fn read_into(
    file: std::os::fd::BorrowedFd<'_>,
    spare: &mut [u8],
) -> std::io::Result<usize> {
    Ok(nix::unistd::read(file, spare)?)
}

/// Whether a process has this number. One that belongs to somebody else lives too.
#[cfg(feature = "files")]
pub(crate) fn process_lives(process: i32) -> bool {
    use nix::errno::Errno;
    use nix::sys::signal::kill;
    use nix::unistd::Pid;
    kill(Pid::from_raw(process), None) != Err(Errno::ESRCH)
}

/// A file for a mapping, which a replaceable file system cannot give.
#[cfg(feature = "files")]
pub(crate) fn open_to_map(path: &std::path::Path) -> std::io::Result<std::fs::File> {
    std::fs::File::open(path)
}
