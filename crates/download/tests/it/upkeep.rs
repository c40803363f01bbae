//! What is kept of a cache: verified, healed, listed, cleaned up.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use download::{ErrorKind, FindingFault, Gc, GcOptions, ModelEvent, ModelSpec, list, verify};
use testkit::HubFile;

use crate::shelf::{COMMIT, Shelf, WEIGHTS, WEIGHTS_PATH, repo};

const NOTHING_SPARED: GcOptions = GcOptions {
    max_age: None,
    max_bytes: None,
    grace: Duration::ZERO,
    partial_age: Duration::ZERO,
    dry_run: false,
};

/// Looks at a moment when nobody uses the cache. Other tests start programs meanwhile: between its fork and
/// its exec a child holds every lock of this process, also those that were given back.
#[track_caller]
fn collect(shelf: &Shelf, options: &GcOptions) -> Gc {
    const LOOKS_MAX: usize = 10_000;
    for _ in 0..LOOKS_MAX {
        let done = download::collect(&shelf.cache(), options).unwrap();
        if done.in_use.is_empty() {
            return done;
        }
        std::thread::yield_now();
    }
    panic!("somebody uses it all the time");
}

#[test]
fn what_is_wrong_is_found_and_healed_by_fetching_that_alone() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    let here = shelf.ensure("org/a").unwrap();
    let model = shelf.cache().root().join("models--org--a");
    assert!(verify(&model).unwrap()[0].findings.is_empty());
    let weights = shelf.weights("org/a");
    let mut flipped = std::fs::read(&weights).unwrap();
    flipped[1_234_567] ^= 0x40;
    std::fs::write(&weights, flipped).unwrap();
    let tokenizer = here.path.join("tokenizer.json").canonicalize().unwrap();
    std::fs::write(&tokenizer, "{").unwrap();
    std::fs::remove_file(here.path.join("config.json").canonicalize().unwrap()).unwrap();

    let found = &verify(&model).unwrap()[0];
    let missing =
        found.findings.iter().filter(|finding| finding.fault == FindingFault::Missing).count();
    assert_eq!((3, 3, 1), (found.files, found.findings.len(), missing));
    assert_eq!(
        1,
        verify(&here.path.join(WEIGHTS_PATH)).unwrap()[0].findings.len(),
        "of the one file"
    );
    shelf.reset();
    let repaired =
        shelf.run(async |models: download::Models| models.repair(found, |_| {}).await.unwrap());
    assert_eq!((3, 3), (repaired, shelf.resolves() as usize));
    assert!(verify(shelf.cache().root()).unwrap()[0].findings.is_empty());
    shelf.reset();
    shelf.ensure("org/a").unwrap();
    assert_eq!(1, shelf.requests(), "what was verified need not be fetched or hashed again");
}

/// Bytes that nothing refers to cannot be had again, and are no reason to leave the rest as it is.
#[test]
fn what_cannot_be_healed_keeps_nothing_else_from_it() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    shelf.ensure("org/a").unwrap();
    let weights = shelf.weights("org/a");
    std::fs::write(&weights, "spoiled").unwrap();
    for orphan in ["00", "ff"] {
        std::fs::write(weights.with_file_name(orphan.repeat(32)), "orphan").unwrap();
    }
    let found = &verify(shelf.cache().root()).unwrap()[0];
    assert_eq!(3, found.findings.len());
    let failed = Mutex::new(0);
    let tell =
        |event| *failed.lock().unwrap() += u32::from(matches!(event, ModelEvent::Failed { .. }));
    let repaired = shelf.run(async |models: download::Models| models.repair(found, tell).await);
    assert_eq!(ErrorKind::NotFound, repaired.unwrap_err().kind());
    assert_eq!(1, *failed.lock().unwrap(), "beside the one that is returned");
    shelf.reset();
    shelf.ensure("org/a").unwrap();
    assert_eq!(1, shelf.requests(), "it is healed, and need not be hashed again");
}

#[test]
fn what_is_being_healed_is_left_alone() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    shelf.ensure("org/a").unwrap();
    std::fs::write(shelf.weights("org/a"), "spoiled").unwrap();
    let found = &verify(shelf.cache().root()).unwrap()[0];
    let all = GcOptions { max_age: Some(Duration::ZERO), ..NOTHING_SPARED };
    let (cache, in_use) = (shelf.cache(), Mutex::new(0));
    let tell = |_| *in_use.lock().unwrap() += download::collect(&cache, &all).unwrap().in_use.len();
    shelf.run(async |models: download::Models| models.repair(found, tell).await).unwrap();
    assert!(0 < *in_use.lock().unwrap());
    assert!(verify(shelf.cache().root()).unwrap()[0].findings.is_empty());
}

#[test]
fn a_folder_of_its_own_is_verified_and_healed_too() {
    let shelf = Shelf::new(vec![repo("org/a", 1).with(HubFile::text("unwanted.bin", "x"))]);
    let target = shelf.folder().join("local");
    let spec = ModelSpec {
        target: Some(target.clone()),
        ..ModelSpec::new("org/a".parse().unwrap(), "main".parse().unwrap())
    };
    shelf.ensure_spec(&spec).unwrap();
    std::fs::write(target.join("config.json"), "spoiled").unwrap();
    let found = &verify(&target).unwrap()[0];
    assert_eq!((3, 1), (found.files, found.findings.len()));
    shelf.run(async |models: download::Models| models.repair(found, |_| {}).await.unwrap());
    assert!(verify(&target).unwrap()[0].findings.is_empty());
    assert!(verify(shelf.folder()).is_err(), "nothing is known of that folder");
}

#[test]
fn models_are_listed() {
    let shelf = Shelf::new(vec![repo("org/a", 1), repo("org/b", 2)]);
    shelf.ensure("org/a").unwrap();
    shelf.ensure("org/b").unwrap();
    std::fs::remove_file(shelf.weights("org/b")).unwrap();
    let models = list(&shelf.cache());
    let told: Vec<_> = models
        .iter()
        .map(|model| (model.repo.as_str(), model.revisions[0].files, model.revisions[0].missing))
        .collect();
    assert_eq!(vec![("org/a", 3, 0), ("org/b", 3, 1)], told);
    assert_eq!(["main"], *models[0].revisions[0].references);
    assert!(WEIGHTS < models[0].bytes);
}

#[test]
fn what_nothing_refers_to_is_taken_away_and_the_rest_stays() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    shelf.ensure("org/a").unwrap();
    let blobs = shelf.cache().repo(&"org/a".parse().unwrap()).blobs();
    let (orphan, partial) = (blobs.join("ab".repeat(32)), blobs.join("cd.12345678.incomplete"));
    std::fs::write(&orphan, "orphan").unwrap();
    std::fs::write(&partial, "partial").unwrap();
    let careful = collect(&shelf, &GcOptions::default());
    assert!(careful.removed.is_empty(), "they are too young");
    let dry = collect(&shelf, &GcOptions { dry_run: true, ..NOTHING_SPARED });
    assert_eq!((2, true), (dry.removed.len(), orphan.exists()));
    let done = collect(&shelf, &NOTHING_SPARED);
    assert_eq!((dry.removed, 13), (done.removed, done.freed_bytes));
    assert!(!orphan.exists() && !partial.exists());
    shelf.reset();
    assert_eq!(3, shelf.ensure("org/a").unwrap().unchanged);
}

/// What a transfer left behind has set aside the room of all that was to come.
#[test]
fn remains_count_and_go_with_the_last_of_their_model() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    shelf.ensure("org/a").unwrap();
    let model = shelf.cache().repo(&"org/a".parse().unwrap());
    let remains = model.blobs().join(".ab.fetching.part");
    std::fs::write(&remains, vec![1; WEIGHTS as usize]).unwrap();
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::options().append(true).open(&remains).unwrap().set_modified(hour_ago).unwrap();
    let young = GcOptions::default();
    let small = GcOptions { max_bytes: Some(WEIGHTS + 1000), dry_run: true, ..young };
    let (done, names) = (collect(&shelf, &small), |done: &Gc| -> Vec<_> {
        done.removed.iter().map(|removal| removal.path.clone()).collect()
    });
    assert_eq!(vec![remains.clone()], names(&done), "unused for longer than the model");
    let old = GcOptions { max_age: Some(Duration::ZERO), ..young };
    let dry = collect(&shelf, &GcOptions { dry_run: true, ..old });
    assert!(names(&dry).contains(&remains) && 2 * WEIGHTS <= dry.freed_bytes, "{dry:?}");
    assert_eq!(dry, collect(&shelf, &old));
    assert!(!model.folder().exists());
}

#[test]
fn a_model_that_is_not_used_is_taken_away_whole() {
    let shelf = Shelf::new(vec![repo("org/a", 1), repo("org/b", 2)]);
    shelf.ensure("org/a").unwrap();
    shelf.ensure("org/b").unwrap();
    let old = SystemTime::now() - Duration::from_secs(1000);
    for entry in shelf.cache().repo(&"org/a".parse().unwrap()).blobs().read_dir().unwrap() {
        let file = std::fs::File::options().append(true).open(entry.unwrap().path()).unwrap();
        file.set_times(std::fs::FileTimes::new().set_accessed(old).set_modified(old)).unwrap();
    }
    let snapshot = shelf.cache().repo(&"org/a".parse().unwrap()).snapshot(&COMMIT.parse().unwrap());
    let folder = std::fs::File::open(snapshot).unwrap();
    folder.set_times(std::fs::FileTimes::new().set_accessed(old).set_modified(old)).unwrap();
    let options = GcOptions { max_bytes: Some(WEIGHTS + 1000), ..GcOptions::default() };
    collect(&shelf, &options);
    let left: Vec<_> =
        list(&shelf.cache()).into_iter().map(|model| model.repo.to_string()).collect();
    assert_eq!(["org/b"], *left);
    assert!(!shelf.cache().root().join("models--org--a").exists());
    assert_eq!(0, shelf.ensure("org/a").unwrap().unchanged, "and can be had again");
}

/// Two models have the same weights, once on the disk.
#[test]
fn bytes_that_another_model_keeps_are_not_free() {
    let shelf = Shelf::new(vec![repo("org/a", 7), repo("org/b", 7)]);
    shelf.ensure("org/a").unwrap();
    shelf.ensure("org/b").unwrap();
    let models = list(&shelf.cache());
    assert_eq!((0, WEIGHTS), (models[0].shared_bytes, models[1].shared_bytes));
    let snapshots = shelf.cache().repo(&"org/a".parse().unwrap()).snapshots();
    std::fs::remove_dir_all(&snapshots).unwrap();
    let small = models[0].bytes - WEIGHTS;
    assert_eq!(small, collect(&shelf, &GcOptions { dry_run: true, ..NOTHING_SPARED }).freed_bytes);
    let both = GcOptions { max_age: Some(Duration::ZERO), max_bytes: Some(0), ..NOTHING_SPARED };
    let dry = collect(&shelf, &GcOptions { dry_run: true, ..both });
    assert_eq!(WEIGHTS + 2 * small, dry.freed_bytes, "with the last name they are");
    collect(&shelf, &both);
    assert!(list(&shelf.cache()).is_empty());
}

/// Somebody brings a file of the model: with our sign, or with the lock of the hub's own library.
#[test]
fn what_is_in_use_is_left_alone() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    shelf.ensure("org/a").unwrap();
    let repo = shelf.cache().repo(&"org/a".parse().unwrap());
    let orphan = repo.blobs().join("ab".repeat(32));
    std::fs::write(&orphan, "orphan").unwrap();
    let all = GcOptions { max_age: Some(Duration::ZERO), max_bytes: Some(0), ..NOTHING_SPARED };
    let sign = repo.folder().join(".download/use");
    let lock = shelf.cache().root().join(format!(".locks/models--org--a/{}.lock", "ab".repeat(32)));
    for path in [sign, lock] {
        let held = std::fs::File::options().append(true).create(true).open(&path).unwrap();
        held.lock_shared().unwrap();
        let done = download::collect(&shelf.cache(), &all).unwrap();
        assert!(done.removed.is_empty() && orphan.exists(), "{}", path.display());
    }
    let done = collect(&shelf, &all);
    assert!(!orphan.exists() && !done.removed.is_empty());
}
