//! The writer on a simulated disk and on the machine's: M8.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use memory::files::simulated::Faults;
use memory::files::{FileSystem, Open, OsFiles, Reason, Step};
use memory::{CachePolicy, FileWriter, WriteOptions, publish_all, remove_orphans};
use proptest::prelude::*;

use crate::support::{TARGET, cases, content, disk, names, os_files};

fn known(len_bytes: u64) -> WriteOptions {
    WriteOptions { len_bytes: Some(len_bytes), ..WriteOptions::default() }
}

#[test]
fn until_it_is_published_the_old_file_stays() {
    let (disk, files) = disk(0);
    disk.write(Path::new(TARGET), b"old");
    let writer = FileWriter::create(&files, Path::new(TARGET), known(3)).unwrap();
    writer.write_at(b"new", 0).unwrap();
    assert_eq!(Some(b"old".to_vec()), disk.read(Path::new(TARGET)));
    writer.publish().unwrap();
    assert_eq!(Some(b"new".to_vec()), disk.read(Path::new(TARGET)));
    assert_eq!(1, disk.paths().len());
}

#[test]
fn a_dropped_writer_leaves_nothing() {
    let (disk, files) = disk(0);
    let writer = FileWriter::create(&files, Path::new(TARGET), known(3)).unwrap();
    writer.write_at(b"n", 0).unwrap();
    assert_eq!(1, disk.paths().len());
    drop(writer);
    assert!(disk.paths().is_empty());
}

#[test]
fn a_file_with_a_hole_is_not_published() {
    let (disk, files) = disk(0);
    let writer = FileWriter::create(&files, Path::new(TARGET), known(10)).unwrap();
    writer.write_at(b"012", 0).unwrap();
    writer.write_at(b"6789", 6).unwrap();
    let error = writer.publish().unwrap_err();
    assert!(matches!(error.reason(), Reason::Incomplete { missing_from: 3 }));
    assert!(disk.paths().is_empty());

    let writer = FileWriter::create(&files, Path::new(TARGET), WriteOptions::default()).unwrap();
    writer.write_at(b"6789", 6).unwrap();
    assert!(writer.publish().is_err());
}

#[test]
fn more_than_announced_is_refused() {
    let (_, files) = disk(0);
    let writer = FileWriter::create(&files, Path::new(TARGET), known(10)).unwrap();
    for (len, offset) in [(11, 0), (2, 9), (1, u64::MAX)] {
        let error = writer.write_at(&vec![0; len], offset).unwrap_err();
        assert!(matches!(error.reason(), Reason::TooLong { expected_bytes: 10 }), "{error}");
    }
}

#[test]
fn an_empty_file_is_a_file() {
    let (disk, files) = disk(0);
    FileWriter::create(&files, Path::new(TARGET), known(0)).unwrap().publish().unwrap();
    assert_eq!(Some(Vec::new()), disk.read(Path::new(TARGET)));
}

#[test]
fn a_resumed_part_stays_and_is_cut_to_what_it_became() {
    let (disk, files) = disk(0);
    let (part, target) = (Path::new("/models/weights.part"), Path::new(TARGET));
    disk.write(part, b"0123xxxxxxxxxxxx");
    let resume =
        |there: std::ops::Range<u64>| FileWriter::resume(&files, part, target, &[there], known(8));
    drop(resume(0..4).unwrap());
    assert!(disk.read(part).is_some(), "it stays for the next attempt");
    let writer = resume(0..4).unwrap();
    writer.write_at(b"4567", 4).unwrap();
    writer.publish().unwrap();
    assert_eq!(Some(b"01234567".to_vec()), disk.read(target));
    assert_eq!(None, disk.read(part));

    disk.write(part, b"0");
    let error = resume(0..4).unwrap_err();
    assert!(matches!(error.reason(), Reason::Shrunk { expected_bytes: 4 }));

    disk.write(part, b"0123456789");
    let error = resume(0..9).unwrap_err();
    assert!(matches!(error.reason(), Reason::TooLong { expected_bytes: 8 }));
    assert!(disk.read(part).is_some(), "it stays for another attempt");
}

#[test]
fn a_target_without_a_name_is_refused() {
    for target in ["", "/", "..", "/models/.."] {
        let created = FileWriter::create(&disk(0).1, Path::new(target), WriteOptions::default());
        assert_eq!(Some(ErrorKind::InvalidInput), created.unwrap_err().io_kind(), "{target}");
    }
}

#[test]
fn an_error_says_what_is_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("taken")).unwrap();
    let create = |name| {
        let target = folder.path().join(name);
        FileWriter::create(&os_files(), &target, WriteOptions::default()).unwrap()
    };
    let writer = create("taken");
    writer.write_at(b"a", 0).unwrap();
    let error = writer.publish().unwrap_err().to_string();
    assert!(error.contains("a folder has that name"), "{error}");
    let error = create("far").write_at(b"a", 1 << 63).unwrap_err().to_string();
    assert!(error.contains("no file can have that name or length"), "{error}");
}

#[test]
fn a_full_disk_is_told_before_the_first_byte_or_at_the_byte() {
    let (disk, files) = disk(0);
    disk.set_faults(Faults { capacity_bytes: Some(1 << 20), ..Faults::default() });
    let error = FileWriter::create(&files, Path::new(TARGET), known(2 << 20)).unwrap_err();
    assert_eq!((Step::Allocate, true), (error.step(), error.is_no_space()));
    assert!(disk.paths().is_empty(), "nothing is left behind");

    let writer = FileWriter::create(&files, Path::new(TARGET), WriteOptions::default()).unwrap();
    writer.write_at(&vec![1; 1 << 19], 0).unwrap();
    let error = writer.write_at(&vec![2; 1 << 20], 1 << 19).unwrap_err();
    let message = format!(
        "cannot write {} at byte 1048576: no space left, free some and run again",
        writer.part().display()
    );
    assert_eq!(message, error.to_string());
    disk.set_faults(Faults::default());
    writer.write_at(&vec![2; 1 << 20], 1 << 19).unwrap();
    writer.publish().unwrap();
    assert_eq!(3 << 19, disk.read(Path::new(TARGET)).unwrap().len());
}

#[test]
fn a_failed_sync_poisons_the_part() {
    let (disk, files) = disk(0);
    disk.set_faults(Faults { failing_sync: Some(0), ..Faults::default() });
    let part = Path::new("/models/weights.part");
    let writer = FileWriter::resume(&files, part, Path::new(TARGET), &[], known(3)).unwrap();
    writer.write_at(b"new", 0).unwrap();
    let error = writer.sync().unwrap_err();
    assert_eq!((Step::Sync, Some(ErrorKind::Other)), (error.step(), error.io_kind()));
    let error = writer.publish().unwrap_err();
    assert!(matches!(error.reason(), Reason::Unsynced), "success now would prove nothing");
    assert_eq!(1, disk.syncs());
    assert!(disk.paths().is_empty(), "neither target nor part");
}

#[test]
fn a_read_only_folder_is_told_at_once() {
    let (disk, files) = disk(0);
    disk.set_faults(Faults { read_only: true, ..Faults::default() });
    let error = FileWriter::create(&files, Path::new(TARGET), known(1)).unwrap_err();
    assert_eq!(
        "cannot create /models/weights: not allowed, choose another folder",
        error.to_string()
    );
}

#[test]
fn a_batch_has_no_name_before_all_contents_are_safe() {
    let (disk, files) = disk(0);
    let writers = |names: &[&str]| -> Vec<FileWriter> {
        let writer = |name: &&str| {
            let target = Path::new("/models").join(name);
            let writer = FileWriter::create(&files, &target, known(1)).unwrap();
            writer.write_at(b"x", 0).unwrap();
            writer
        };
        names.iter().map(writer).collect()
    };
    publish_all(writers(&["a", "b", "c"])).unwrap();
    assert_eq!((3, 3), (disk.paths().len(), disk.syncs()));

    disk.set_faults(Faults { failing_sync: Some(5), ..Faults::default() });
    let failed = publish_all(writers(&["d", "e", "f"])).unwrap_err();
    assert!(failed.published.is_empty());
    assert_eq!(3, disk.paths().len(), "none of the second batch, and no parts");

    let mut incomplete = writers(&["g"]);
    incomplete.push(FileWriter::create(&files, Path::new("/models/h"), known(9)).unwrap());
    let failed = publish_all(incomplete).unwrap_err();
    assert!(
        failed.to_string().starts_with("0 files of the batch were published, then: cannot publish")
    );
    publish_all(Vec::new()).unwrap();
}

#[test]
fn threads_write_disjoint_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("weights");
    let bytes = content(3 << 20);
    for cache in [CachePolicy::Keep, CachePolicy::Drop] {
        let options = WriteOptions { len_bytes: Some(3 << 20), cache };
        let writer = FileWriter::create(&os_files(), &target, options).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (writer, bytes) = (&writer, &bytes);
                scope.spawn(move || {
                    for (index, piece) in bytes.chunks(10_007).enumerate().skip(thread).step_by(4) {
                        writer.write_at(piece, index as u64 * 10_007).unwrap();
                    }
                });
            }
        });
        writer.publish().unwrap();
        assert_eq!(bytes, std::fs::read(&target).unwrap());
        assert_eq!(vec!["weights"], names(folder.path()));
    }
}

#[test]
fn room_set_aside_is_no_length() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("weights");
    let writer = FileWriter::create(&os_files(), &target, known(8 << 20)).unwrap();
    writer.write_at(b"begun", 0).unwrap();
    assert_eq!(5, std::fs::metadata(writer.part()).unwrap().len());
    drop(writer);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn parts_of_the_dead_are_removed_and_those_of_the_living_stay() {
    let folder = tempfile::tempdir().unwrap();
    let files = OsFiles::new();
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let dead = format!(".part-{}-0", child.id());
    for name in [dead.as_str(), ".part-1-0", "weights", ".partly-1-0"] {
        std::fs::write(folder.path().join(name), b"x").unwrap();
    }
    let shared: Arc<dyn FileSystem> = Arc::new(files.clone());
    let writer = FileWriter::create(&shared, &folder.path().join("a"), known(1)).unwrap();
    assert_eq!(1, remove_orphans(&files, folder.path()).unwrap());
    let left = names(folder.path());
    assert_eq!(4, left.len(), "{left:?}");
    assert!(!left.contains(&dead));
    drop(writer);

    // A lock that somebody holds keeps a part whose process is not seen here.
    std::fs::write(folder.path().join(&dead), b"x").unwrap();
    let held = files.open(&folder.path().join(&dead), Open::Write).unwrap();
    assert!(held.try_lock().unwrap());
    assert_eq!(0, remove_orphans(&files, folder.path()).unwrap());
}

/// In a container each start may have the same number, often 1.
#[test]
fn parts_of_one_who_had_our_number_are_removed_and_ours_stay() {
    let (disk, files) = disk(0);
    let writer = FileWriter::create(&files, Path::new("/models/a"), known(1)).unwrap();
    let earlier = Path::new("/models").join(format!(".part-{}-{}", std::process::id(), u64::MAX));
    drop(files.open(&earlier, Open::CreateNew).unwrap());
    assert_eq!(2, disk.paths().len());
    assert_eq!(1, remove_orphans(&*files, Path::new("/models")).unwrap());
    assert_eq!(vec![writer.part()], disk.paths());

    // Where locks do nothing, a part of ours is known by its name.
    let (_, lockless) = self::disk(0);
    drop(lockless.open(writer.part(), Open::CreateNew).unwrap());
    assert_eq!(0, remove_orphans(&*lockless, Path::new("/models")).unwrap());
}

#[test]
fn folders_are_created_with_their_names_safe() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("a/b/c");
    let files = OsFiles::new();
    files.create_folders(&deep).unwrap();
    files.create_folders(&deep).unwrap();
    assert!(deep.is_dir());
    assert!(0 < files.free_bytes(&deep).unwrap());
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1_usize..40, 500_usize..5000], 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(128)))]

    /// M8: any pieces, any order, short writes and interruptions; and after a loss of power at any time
    /// the target is the old file or the new one.
    #[test]
    fn a_file_is_what_was_written_or_is_not_there(
        seed in any::<u64>(),
        pieces in pieces(),
        order in any::<prop::sample::Index>(),
        (interrupt_one_in, shorten_one_in) in (0_u64..5, 0_u64..4),
    ) {
        let (disk, files) = disk(seed);
        let target = Path::new(TARGET);
        disk.write(target, b"old");
        let interrupt_one_in = if interrupt_one_in == 1 { 2 } else { interrupt_one_in };
        disk.set_faults(Faults { interrupt_one_in, shorten_one_in, ..Faults::default() });
        let bytes = content(pieces.iter().sum());
        let mut ranges: Vec<_> = pieces
            .iter()
            .scan(0, |at, len| { let start = *at; *at += len; Some(start..*at) })
            .collect();
        let first = order.index(ranges.len());
        ranges.rotate_left(first);

        let old_or_new = |seed: u64| {
            let found = disk.lose_power(seed).read(target);
            prop_assert!(found.as_deref() == Some(b"old") || found.as_ref() == Some(&bytes));
            Ok(())
        };
        let writer = FileWriter::create(&files, target, known(bytes.len() as u64)).unwrap();
        for range in ranges {
            writer.write_at(&bytes[range.clone()], range.start as u64).unwrap();
            old_or_new(seed)?;
        }
        writer.publish().unwrap();
        for seed in 0..4 {
            let found = disk.lose_power(seed).read(target);
            prop_assert_eq!(Some(&bytes), found.as_ref());
        }
        prop_assert_eq!(1, disk.paths().len());
    }

    /// M8: a disk that is full at any byte gives one error and leaves no part.
    #[test]
    fn a_full_disk_leaves_the_old_file_and_nothing_else(pieces in pieces(), room in 4_u64..10_000) {
        let (disk, files) = disk(1);
        disk.write(Path::new(TARGET), b"old");
        disk.set_faults(Faults { capacity_bytes: Some(room), ..Faults::default() });
        let bytes = content(pieces.iter().sum());
        let writer = FileWriter::create(&files, Path::new(TARGET), WriteOptions::default()).unwrap();
        let mut at = 0;
        let mut full = None;
        for piece in pieces {
            if let Err(error) = writer.write_at(&bytes[at..at + piece], at as u64) {
                full = Some(error);
                break;
            }
            at += piece;
        }
        prop_assert_eq!(room - 3 < bytes.len() as u64, full.is_some());
        match full {
            Some(error) => {
                prop_assert!(error.is_no_space());
                drop(writer);
                prop_assert_eq!(Some(b"old".to_vec()), disk.read(Path::new(TARGET)));
            }
            None => {
                writer.publish().unwrap();
                prop_assert_eq!(Some(bytes), disk.read(Path::new(TARGET)));
            }
        }
        prop_assert_eq!(1, disk.paths().len());
    }
}
