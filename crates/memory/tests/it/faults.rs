//! Faults of the machine itself: a small disk, a folder that may not be written. Where the machine lets
//! no file system be mounted, the simulated disk (`files.rs`) has to do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use memory::files::{FileError, FileSystem, OsFiles, Step};
use memory::{AppendLog, CachePolicy, FileWriter, LogError, LogOptions, WriteOptions, publish_all};

use crate::support::{names, os_files};

/// A tmpfs of its own; unmounted on drop.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn mount(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "memory-test"]).arg(folder.path());
        let mounted = command.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Self(folder))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

fn write(files: &Arc<dyn FileSystem>, target: &Path, bytes: &[u8]) -> Result<(), FileError> {
    for cache in [CachePolicy::Keep, CachePolicy::Drop] {
        let writer = FileWriter::create(files, target, WriteOptions { len_bytes: None, cache })?;
        for (index, piece) in bytes.chunks(100_000).enumerate() {
            writer.write_at(piece, index as u64 * 100_000)?;
        }
        writer.publish()?;
    }
    Ok(())
}

#[test]
fn a_full_disk_is_one_clear_error_and_leaves_nothing() {
    let Some(disk) = SmallDisk::mount("size=1m") else { return };
    let (files, target) = (os_files(), disk.path("weights"));
    write(&files, &target, &[1; 300_000]).unwrap();

    let error = write(&files, &target, &vec![2; 2_000_000]).unwrap_err();
    assert_eq!((Step::Write, true), (error.step(), error.is_no_space()));
    assert_eq!(vec!["weights"], names(disk.0.path()));
    assert_eq!(vec![1; 300_000], std::fs::read(&target).unwrap(), "the old file stays");

    // A known length is refused before the first byte.
    let options = WriteOptions { len_bytes: Some(2_000_000), cache: CachePolicy::Keep };
    let error = FileWriter::create(&files, &target, options).unwrap_err();
    assert_eq!((Step::Allocate, true), (error.step(), error.is_no_space()));
    assert_eq!(vec!["weights"], names(disk.0.path()));
    write(&files, &target, &[3; 300_000]).unwrap();
}

#[test]
fn a_log_on_a_full_disk_keeps_what_it_has() {
    let Some(disk) = SmallDisk::mount("size=64k") else { return };
    let path = disk.path("journal");
    let open = |records: &mut usize| {
        AppendLog::open(&os_files(), &path, LogOptions::default(), |_| *records += 1)
    };
    let log = open(&mut 0).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        match log.append_durably(&[7; 1000]) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 100, "64 KiB hold no more");
    };
    assert!(matches!(error, LogError::File(error) if error.is_no_space()));
    drop(log);
    let mut records = 0;
    drop(open(&mut records).unwrap());
    assert_eq!(acknowledged, records);
}

#[test]
fn a_read_only_folder_is_told_before_the_first_byte() {
    let Some(disk) = SmallDisk::mount("size=64k,ro") else { return };
    let error = write(&os_files(), &disk.path("weights"), b"x").unwrap_err();
    let message = format!(
        "cannot create {}: not allowed, choose another folder",
        disk.path("weights").display()
    );
    assert_eq!(message, error.to_string());
    assert!(names(disk.0.path()).is_empty());
}

/// As many files as the process may have open, and one folder to be opened for its sync.
#[test]
#[ignore = "started by the test below, with a limit of open files of its own"]
fn child_that_opens_all_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let (files, options) = (os_files(), WriteOptions::default());
    let mut writers = Vec::new();
    let error = loop {
        let target = folder.path().join(format!("part {}", writers.len()));
        match FileWriter::create(&files, &target, options) {
            Ok(writer) => writers.push(writer),
            Err(error) => break error.to_string(),
        }
        assert!(writers.len() < 100, "the parent allows fewer");
    };
    assert!(error.ends_with("too many files are open, close some or raise the limit"), "{error}");
    let len = writers.len();
    publish_all(writers).unwrap();
    assert_eq!(len, names(folder.path()).len());
}

#[test]
fn a_batch_of_all_files_that_may_be_open_is_published() {
    let child = std::env::current_exe().unwrap();
    let test = "faults::child_that_opens_all_it_may";
    let script = format!("ulimit -n 64 && exec \"$0\" --exact {test} --ignored --test-threads=1");
    let output = Command::new("sh").args(["-c", script.as_str()]).arg(child).output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && report.contains("1 passed"), "{report}");
}

#[test]
fn a_missing_folder_is_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("absent/weights");
    let error = write(&os_files(), &target, b"x").unwrap_err();
    assert_eq!(
        format!("cannot create {}: not there, check the path", target.display()),
        error.to_string()
    );
}

/// tmpfs takes no `RWF_DONTCACHE`; the file is right all the same, and the device is asked once.
#[test]
fn a_file_system_without_uncached_writes_gets_ordinary_ones() {
    let Some(disk) = SmallDisk::mount("size=16m") else { return };
    let files: Arc<dyn FileSystem> = Arc::new(OsFiles::new());
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|index| index as u8).collect();
    write(&files, &disk.path("a"), &bytes).unwrap();
    write(&files, &disk.path("b"), &bytes).unwrap();
    assert_eq!(bytes, std::fs::read(disk.path("a")).unwrap());
    assert_eq!(bytes, std::fs::read(disk.path("b")).unwrap());
}
