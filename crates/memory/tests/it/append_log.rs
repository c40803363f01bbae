//! The log: cut anywhere, damaged anywhere, power lost at any time.

use std::path::Path;
use std::sync::Arc;

use memory::files::simulated::{Faults, SimulatedDisk};
use memory::files::{FileSystem, Step};
use memory::{AppendLog, LogError, LogOptions};
use proptest::prelude::*;

use crate::support::{cases, os_files};

const LOG: &str = "/journal";

fn open(disk: &SimulatedDisk) -> Result<(AppendLog, Vec<Vec<u8>>), LogError> {
    let files: Arc<dyn FileSystem> = Arc::new(disk.clone());
    let mut records = Vec::new();
    let keep = |record: &[u8]| records.push(record.to_vec());
    let log = AppendLog::open(&files, Path::new(LOG), LogOptions::default(), keep)?;
    Ok((log, records))
}

fn records(disk: &SimulatedDisk) -> Vec<Vec<u8>> {
    open(disk).expect("the log opens").1
}

/// A disk with a log of these records, each committed, and the lengths of the log after each.
fn written(payloads: &[&[u8]]) -> (SimulatedDisk, Vec<u64>) {
    let disk = SimulatedDisk::new(0);
    let (log, _) = open(&disk).unwrap();
    let mut lengths = vec![log.len_bytes()];
    for payload in payloads {
        log.append_durably(payload).unwrap();
        lengths.push(log.len_bytes());
    }
    (disk, lengths)
}

/// The same bytes as a log on a disk of its own.
fn with_bytes(bytes: &[u8]) -> SimulatedDisk {
    let disk = SimulatedDisk::new(0);
    disk.write(Path::new(LOG), bytes);
    disk
}

const PAYLOADS: [&[u8]; 4] = [b"one", b"the second record", &[5; 40], b"4"];

/// Exhaustive: cut at every byte, the whole records before the cut are there and nothing else is.
#[test]
fn cut_at_any_byte_it_has_the_whole_records_before() {
    let (disk, lengths) = written(&PAYLOADS);
    let bytes = disk.read(Path::new(LOG)).unwrap();
    for cut in 0..=bytes.len() {
        let disk = with_bytes(&bytes[..cut]);
        let whole = lengths.iter().filter(|&&length| length <= cut as u64).count().max(1) - 1;
        assert_eq!(PAYLOADS[..whole], records(&disk), "cut at {cut}");
        // And it can go on.
        let (log, _) = open(&disk).unwrap();
        log.append_durably(b"after").unwrap();
        drop(log);
        assert_eq!(whole + 1, records(&disk).len(), "cut at {cut}");
    }
}

/// Such a record is no torn tail: it was written with other options, and may have been committed.
#[test]
fn a_log_with_longer_records_than_it_may_have_is_not_opened() {
    let (disk, _) = written(&[b"short", &[7; 200_000], b"short too"]);
    let before = disk.read(Path::new(LOG)).unwrap();
    let files: Arc<dyn FileSystem> = Arc::new(disk.clone());
    let options = |record_bytes_max| LogOptions { record_bytes_max, ..LogOptions::default() };
    let open = |options| AppendLog::open(&files, Path::new(LOG), options, |_| ());
    let error = open(options(199_999)).unwrap_err();
    assert_eq!("a record of 200000 B, allowed are 1 to 199999 B", error.to_string());
    assert_eq!(Some(before), disk.read(Path::new(LOG)));
    assert!(open(options(200_000)).is_ok());
}

/// Exhaustive: a cut tail with garbage or zeros behind it is a torn tail too.
#[test]
fn garbage_behind_a_cut_is_dropped() {
    let (disk, lengths) = written(&PAYLOADS);
    let bytes = disk.read(Path::new(LOG)).unwrap();
    for cut in 8..=bytes.len() {
        for garbage in [[0; 100], [0xFF; 100], [1; 100]] {
            let disk = with_bytes(&[&bytes[..cut], &garbage].concat());
            let whole = lengths.iter().filter(|&&length| length <= cut as u64).count() - 1;
            assert_eq!(PAYLOADS[..whole], records(&disk), "cut at {cut}");
        }
    }
}

/// Exhaustive: one changed byte of what was acknowledged is never passed over in silence, unless it is in
/// the last record, which cannot be told from a torn tail.
#[test]
fn a_damaged_middle_is_an_error_that_says_where() {
    let (disk, lengths) = written(&PAYLOADS);
    let bytes = disk.read(Path::new(LOG)).unwrap();
    for at in 8..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let disk = with_bytes(&damaged);
        let record = lengths.iter().filter(|&&length| length <= at as u64).count() - 1;
        match open(&disk) {
            Err(LogError::Damaged { position, .. }) => {
                assert_eq!(lengths[record], position, "byte {at}");
                assert_eq!(Some(damaged), disk.read(Path::new(LOG)), "nothing is changed");
            }
            Ok((_, found)) => {
                assert_eq!(PAYLOADS.len() - 1, record, "byte {at}");
                assert_eq!(PAYLOADS[..record], found);
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
}

/// A record behind a torn one is whole where it stands; once dropped, it must not come back when another
/// record of the torn one's length takes its place.
#[test]
fn what_was_dropped_does_not_come_back() {
    let disk = SimulatedDisk::new(0);
    let (log, _) = open(&disk).unwrap();
    log.append(b"torn").unwrap();
    log.append(b"whole, never committed").unwrap();
    drop(log);
    let mut bytes = disk.read(Path::new(LOG)).unwrap();
    bytes[8 + 16] ^= 1;
    let disk = with_bytes(&bytes);
    let (log, found) = open(&disk).unwrap();
    assert!(found.is_empty());
    log.append_durably(b"next").unwrap();
    drop(log);
    assert_eq!(vec![b"next".to_vec()], records(&disk));
}

#[test]
fn other_files_are_left_alone() {
    for (text, expected) in [
        (&b"{\"a\": 1}\n"[..], "/journal is no log, move it away"),
        (b"hi", "/journal is no log, move it away"),
        (
            b"\x89LOG\r\n\x1a\x02 of the future",
            "/journal is a log of version 2, this program reads 1",
        ),
    ] {
        let disk = with_bytes(text);
        assert_eq!(expected, open(&disk).unwrap_err().to_string());
        assert_eq!(Some(text.to_vec()), disk.read(Path::new(LOG)));
    }
}

#[test]
fn a_log_is_open_once() {
    let (disk, _) = written(&[b"a"]);
    let (log, _) = open(&disk).unwrap();
    assert!(matches!(open(&disk), Err(LogError::InUse { .. })));
    drop(log);
    assert!(open(&disk).is_ok());

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let open = || AppendLog::open(&os_files(), &path, LogOptions::default(), drop_record);
    let log = open().unwrap();
    assert!(matches!(open(), Err(LogError::InUse { .. })));
    drop(log);
    open().unwrap();
}

fn drop_record(_: &[u8]) {}

#[test]
fn records_have_bounds_and_logs_too() {
    let files: Arc<dyn FileSystem> = Arc::new(SimulatedDisk::new(0));
    let options = LogOptions { record_bytes_max: 10, log_bytes_max: 70 };
    let log = AppendLog::open(&files, Path::new(LOG), options, drop_record).unwrap();
    assert!(matches!(log.append(b""), Err(LogError::RecordSize { bytes: 0, bytes_max: 10 })));
    assert!(matches!(log.append(&[1; 11]), Err(LogError::RecordSize { bytes: 11, .. })));
    log.append(&[1; 10]).unwrap();
    log.append(&[1; 10]).unwrap();
    assert_eq!(60, log.len_bytes());
    assert!(matches!(log.append(&[1; 10]), Err(LogError::Full { bytes_max: 70 })));
    assert_eq!(60, log.len_bytes());
}

#[test]
fn a_full_disk_leaves_the_log_as_it_was() {
    let (disk, lengths) = written(&[b"first"]);
    let (log, _) = open(&disk).unwrap();
    disk.set_faults(Faults { capacity_bytes: Some(lengths[1] + 20), ..Faults::default() });
    let Err(LogError::File(error)) = log.append(&[7; 50]) else { panic!("there was no room") };
    assert!(error.is_no_space());
    assert_eq!(Some(lengths[1] as usize), disk.read(Path::new(LOG)).map(|bytes| bytes.len()));
    log.append_durably(b"2").unwrap();
    drop(log);
    assert_eq!(vec![b"first".to_vec(), b"2".to_vec()], records(&disk));
}

#[test]
fn after_a_failed_sync_the_log_must_be_opened_anew() {
    let (disk, _) = written(&[b"first"]);
    let (log, _) = open(&disk).unwrap();
    disk.set_faults(Faults { failing_sync: Some(disk.syncs()), ..Faults::default() });
    let position = log.append(b"lost").unwrap();
    assert!(
        matches!(log.commit(position), Err(LogError::File(error)) if error.step() == Step::Sync)
    );
    assert!(matches!(log.commit(position), Err(LogError::Unsynced)));
    assert!(matches!(log.append(b"more"), Err(LogError::Unsynced)));
    drop(log);
    assert_eq!(vec![b"first".to_vec()], records(&disk.lose_power(0)));
}

#[test]
fn one_sync_is_enough_for_all_that_wait() {
    let disk = SimulatedDisk::new(0);
    let (log, _) = open(&disk).unwrap();
    let before = disk.syncs();
    let positions: Vec<_> = (0..10_u8).map(|byte| log.append(&[byte]).unwrap()).collect();
    for position in positions.into_iter().rev() {
        log.commit(position).unwrap();
    }
    assert_eq!(1, disk.syncs() - before);
}

#[test]
fn threads_append_and_commit_together() {
    let disk = SimulatedDisk::new(0);
    let (log, _) = open(&disk).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let log = &log;
            scope.spawn(move || {
                for count in 0..25_u8 {
                    log.append_durably(&[thread, count]).unwrap();
                }
            });
        }
    });
    drop(log);
    let found = records(&disk.lose_power(3));
    for thread in 0..4_u8 {
        let own: Vec<_> = found.iter().filter(|record| record[0] == thread).map(|r| r[1]).collect();
        assert_eq!((0..25).collect::<Vec<_>>(), own);
    }
}

#[test]
fn a_rewritten_log_holds_what_still_counts_and_goes_on() {
    let (disk, _) = written(&PAYLOADS);
    let (mut log, _) = open(&disk).unwrap();
    let before = log.append(&[1; 500]).unwrap();
    log.rewrite([&b"kept"[..], b"too"]).unwrap();
    log.commit(before).unwrap();
    assert!(matches!(open(&disk), Err(LogError::InUse { .. })), "the lock goes on");
    log.append_durably(b"after").unwrap();
    drop(log);
    assert_eq!(vec![b"kept".to_vec(), b"too".to_vec(), b"after".to_vec()], records(&disk));
    assert_eq!(1, disk.paths().len());

    let (mut log, _) = open(&disk).unwrap();
    disk.set_faults(Faults { failing_sync: Some(disk.syncs()), ..Faults::default() });
    log.rewrite([b"lost"]).unwrap_err();
    log.append_durably(b"old log").unwrap();
    drop(log);
    assert_eq!(4, records(&disk).len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(192)))]

    /// Power is lost after any step: what was committed is there, in order, and of the rest a beginning.
    #[test]
    fn what_was_committed_survives_a_loss_of_power(
        seed in any::<u64>(),
        steps in prop::collection::vec((1_usize..900, any::<bool>()), 1..25),
        interrupt in any::<bool>(),
    ) {
        let disk = SimulatedDisk::new(seed);
        let interrupt_one_in = if interrupt { 3 } else { 0 };
        disk.set_faults(Faults { interrupt_one_in, shorten_one_in: 4, ..Faults::default() });
        let (log, _) = open(&disk).unwrap();
        let (mut appended, mut committed) = (Vec::new(), 0);
        for (index, (len, commits)) in steps.into_iter().enumerate() {
            let payload: Vec<u8> = (0..len).map(|byte| (byte + 7 * index) as u8).collect();
            let position = log.append(&payload).unwrap();
            appended.push(payload);
            if commits {
                log.commit(position).unwrap();
                committed = appended.len();
            }
            for round in 0..3 {
                let after = disk.lose_power(seed ^ round);
                let found = records(&after);
                prop_assert!(committed <= found.len() && found.len() <= appended.len());
                prop_assert_eq!(&appended[..found.len()], &found[..]);
                prop_assert_eq!(found.len(), records(&after.lose_power(round)).len(), "twice the same");
            }
        }
    }

    /// Any bytes at all: an answer, never a panic, and no record that was never written.
    #[test]
    fn any_bytes_are_answered(noise in prop::collection::vec(any::<u8>(), 0..600), headed in any::<bool>()) {
        let header: &[u8] = if headed { b"\x89LOG\r\n\x1a\x01" } else { b"" };
        let disk = with_bytes(&[header, &noise].concat());
        if let Ok((_, found)) = open(&disk) {
            prop_assert!(found.is_empty());
        }
    }
}
