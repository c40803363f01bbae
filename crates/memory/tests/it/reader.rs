//! Reader and mapping on a simulated disk and on the machine's: M9.

use std::path::Path;

use memory::files::simulated::Faults;
use memory::files::{Open, Reason};
use memory::{Budget, BufferPool, FileReader, Mapping, ReadOptions, cached_bytes};
use proptest::prelude::*;

use crate::support::{TARGET, cases, content, disk, os_files};

#[test]
fn a_file_that_is_cut_under_its_reader_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    std::fs::write(&path, content(10_000)).unwrap();
    let pool = BufferPool::new(&Budget::new(8192), 4096, 2);
    let mut reader = FileReader::open(&os_files(), &path, ReadOptions::default()).unwrap();
    assert_eq!(4096, reader.next(pool.try_get().unwrap()).unwrap().unwrap().len());
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(5000).unwrap();
    let error = reader.next(pool.try_get().unwrap()).unwrap_err();
    assert!(matches!(error.reason(), Reason::Shrunk { expected_bytes: 10_000 }), "{error}");
    let message = format!(
        "cannot read {} at byte 5000: it should have 10000 B and was cut, fetch it again",
        path.display()
    );
    assert_eq!(message, error.to_string());

    // SAFETY: the mapping is refused, so there is none to be careful with.
    #[expect(unsafe_code, reason = "the contract of mappings")]
    let mapped = unsafe { Mapping::open(&path, 10_000) };
    assert!(matches!(mapped.unwrap_err().reason(), Reason::Shrunk { expected_bytes: 10_000 }));
}

#[test]
fn it_may_read_ahead_to_the_end_of_any_file() {
    let (disk, files) = disk(0);
    disk.write(Path::new(TARGET), &content(10_000));
    let options = ReadOptions { read_ahead_bytes: u64::MAX, ..ReadOptions::default() };
    let mut reader = FileReader::open(&files, Path::new(TARGET), options).unwrap();
    let pool = BufferPool::new(&Budget::new(4096), 4096, 1);
    let mut read = Vec::new();
    while let Some(bytes) = reader.next(pool.try_get().unwrap()).unwrap() {
        read.extend_from_slice(&bytes);
    }
    assert_eq!(content(10_000), read);
}

#[test]
fn a_file_that_grows_is_read_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    std::fs::write(&path, b"before").unwrap();
    let options = ReadOptions { drop_behind: true, ..ReadOptions::default() };
    let reader = FileReader::open(&os_files(), &path, options).unwrap();
    std::fs::write(&path, b"before and after").unwrap();
    let mut into = [0; 16];
    assert_eq!((6, 6), (reader.len_bytes(), reader.read_at(&mut into, 0).unwrap() as u64));
    assert_eq!(0, reader.read_at(&mut into, 6).unwrap());
    assert_eq!(0, reader.read_at(&mut into, u64::MAX).unwrap());
}

#[test]
fn a_mapping_is_the_file_and_the_cache_can_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    std::fs::write(&path, content(1 << 20)).unwrap();
    // SAFETY: the file lies in a folder of our own, and nobody touches it.
    #[expect(unsafe_code, reason = "the contract of mappings")]
    let mapping = unsafe { Mapping::open(&path, 1 << 20).unwrap() };
    mapping.advise_sequential().unwrap();
    assert_eq!(content(1 << 20), mapping[..]);
    assert_eq!(1 << 20, cached_bytes(&path).unwrap());
    let bytes = mapping.into_bytes();
    assert_eq!(content(1 << 20)[100..200], bytes.slice(100..200)[..]);

    std::fs::write(&path, b"").unwrap();
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "the contract of mappings")]
    let empty = unsafe { Mapping::open(&path, 0).unwrap() };
    assert_eq!(0, cached_bytes(&path).unwrap());
    assert!(empty.into_bytes().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(128)))]

    /// M9: whatever is asked, the answer is the file's bytes or an error that says where it ended.
    #[test]
    fn a_reader_gives_the_bytes_or_says_where_they_end(
        seed in any::<u64>(), len in 0_usize..20_000, cut in any::<prop::sample::Index>(),
        offset in 0_u64..25_000, into in 0_usize..9000,
    ) {
        let (disk, files) = disk(seed);
        let path = Path::new(TARGET);
        disk.write(path, &content(len));
        disk.set_faults(Faults { interrupt_one_in: 3, shorten_one_in: 2, ..Faults::default() });
        let reader = FileReader::open(&files, path, ReadOptions::default()).unwrap();
        let cut = cut.index(len + 1) as u64;
        files.open(path, Open::Write).unwrap().set_len(cut).unwrap();
        let mut found = vec![0; into];
        let expected = into.min((len as u64).saturating_sub(offset) as usize);
        match reader.read_at(&mut found, offset) {
            Ok(read) => {
                prop_assert_eq!(expected, read);
                prop_assert!(read == 0 || offset + read as u64 <= cut);
                let start = (offset as usize).min(len);
                prop_assert_eq!(&content(len)[start..start + read], &found[..read]);
            }
            Err(error) => {
                prop_assert!(cut < offset + expected as u64);
                let shrunk = matches!(error.reason(), Reason::Shrunk { .. });
                prop_assert!(shrunk);
            }
        }
    }
}
