//! Models from a hub: what it costs, what is here afterwards, and what is refused.

use std::time::{Duration, Instant};

use download::{
    Commit, ErrorKind, Glob, How, ModelEvent, ModelLine, ModelLineOptions, ModelSource, ModelSpec,
    Models, Priority, Refusal, Selection,
};
use futures::StreamExt;
use limiter::{Burst, Limiter};
use testkit::{HubFile, HubOptions, HubRepo};

use crate::shelf::{COMMIT, Shelf, WEIGHTS, WEIGHTS_PATH, everything, repo};

#[test]
fn a_model_costs_one_question_one_per_page_and_one_per_file() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    let here = shelf.ensure("org/a").unwrap();
    assert_eq!((Some(COMMIT), 3), (here.commit.as_ref().map(Commit::as_str), here.files.len()));
    // Three files and a folder: two pages of two.
    assert_eq!(3, shelf.resolves());
    let stats = shelf.hub.origin().stats();
    let asked = |part: &str| -> u64 {
        stats
            .paths
            .iter()
            .filter(|(path, _)| path.contains(part))
            .map(|(_, stats)| stats.requests)
            .sum()
    };
    assert_eq!((1, 2, 2), (asked("/revision/"), asked("/tree/"), asked("/resolve-cache/")));
    assert_eq!(1 + 2 + 3 + 2, stats.requests, "small files are redirected within the hub");
}

/// A hub redirects each question for a file, with some words beside; unread they would cost the connection.
#[test]
fn a_redirect_costs_no_connection() {
    let file = |k: u64| HubFile::text(format!("{k}.json"), format!("{k}"));
    let many = (0..20).fold(repo("org/a", 1), |repo, k| repo.with(file(k)));
    let mut shelf = Shelf::new(vec![many]);
    shelf.files_max = 1;
    shelf.ensure("org/a").unwrap();
    let opened = shelf.hub.origin().stats().connections.opened;
    // One, unless an answer took so long that others were opened meanwhile.
    assert!(opened < 10, "{opened} connections for 23 files, one after the other");
}

#[test]
fn a_finished_model_costs_one_question() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    shelf.ensure("org/a").unwrap();
    shelf.reset();
    let start = Instant::now();
    let here = shelf.ensure("org/a").unwrap();
    let spent = start.elapsed();
    assert_eq!((1, 0, 3), (shelf.requests(), shelf.sent_bytes(), here.unchanged));
    assert!(spent < Duration::from_millis(50), "{spent:?}");
}

#[test]
fn a_cache_is_laid_out_as_the_libraries_expect() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    let here = shelf.ensure("org/a").unwrap();
    let model = shelf.cache().root().join("models--org--a");
    assert_eq!(model.join("snapshots").join(COMMIT), here.path);
    assert_eq!(COMMIT, std::fs::read_to_string(model.join("refs/main")).unwrap());
    let link = here.path.join(WEIGHTS_PATH).read_link().unwrap();
    assert!(link.starts_with("../../../blobs"), "{}", link.display());
    assert_eq!(WEIGHTS, here.path.join(WEIGHTS_PATH).metadata().unwrap().len());
    let tree = std::fs::read_to_string(model.join(format!("trees/{COMMIT}.json"))).unwrap();
    assert!(
        tree.contains("\"format_version\":1") && tree.contains("\"lfs_size\":3000000"),
        "{tree}"
    );
    let locks: Vec<_> =
        shelf.cache().root().join(".locks/models--org--a").read_dir().unwrap().collect();
    assert_eq!(3, locks.len());
}

#[test]
fn what_was_changed_is_fetched_again_and_nothing_else() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    shelf.ensure("org/a").unwrap();
    let weights = shelf.weights("org/a");
    for spoil in ["truncated", "flipped", "missing"] {
        let bytes = std::fs::read(&weights).unwrap();
        match spoil {
            "truncated" => std::fs::write(&weights, &bytes[..1000]).unwrap(),
            "flipped" => {
                let mut bytes = bytes;
                bytes[5000] ^= 1;
                std::fs::write(&weights, bytes).unwrap();
            }
            _ => std::fs::remove_file(&weights).unwrap(),
        }
        shelf.reset();
        let here = shelf.ensure("org/a").unwrap();
        assert_eq!((2, 1), (here.unchanged, shelf.resolves()), "{spoil}");
        assert_eq!(WEIGHTS, weights.metadata().unwrap().len());
    }
}

#[test]
fn settings_come_before_weights() {
    let files = (0..20).fold(HubRepo::new("org/a", COMMIT), |repo, k| {
        repo.with(HubFile::blob(format!("a{k}.safetensors"), 100_000, k))
    });
    let mut shelf = Shelf::new(vec![files.with(HubFile::text("z.json", "{}"))]);
    shelf.files_max = 1;
    let events = shelf.events(&"org/a".parse().unwrap());
    let begun = events.iter().find_map(|event| match event {
        ModelEvent::Transfer { path, .. } => Some(path.clone()),
        _ => None,
    });
    assert_eq!(Some("z.json".to_owned()), begun);
}

#[test]
fn refusals_say_what_to_do() {
    let gated = HubRepo { gated: true, token: Some("key".to_owned()), ..repo("org/gated", 1) };
    let private = HubRepo { token: Some("key".to_owned()), ..repo("org/private", 1) };
    let mut shelf = Shelf::new(vec![repo("org/a", 1), gated, private]);
    let refused = |shelf: &Shelf, model: &str, kind, refusal: Refusal| {
        let error = shelf.ensure(model).unwrap_err();
        assert_eq!(kind, error.kind(), "{error}");
        assert!(error.to_string().contains(&refusal.to_string()), "{error}");
        assert!(error.object().contains(model.split('@').next().unwrap()), "{error}");
    };
    refused(&shelf, "org/none", ErrorKind::NotFound, Refusal::Repo);
    refused(&shelf, "org/a@dev", ErrorKind::NotFound, Refusal::Revision);
    refused(&shelf, "org/private", ErrorKind::NotFound, Refusal::Repo);
    refused(&shelf, "org/gated", ErrorKind::Gated, Refusal::Gated);
    shelf.token = Some("other");
    refused(&shelf, "org/gated", ErrorKind::Gated, Refusal::Gated);
    refused(&shelf, "org/private", ErrorKind::NotFound, Refusal::Repo);
    shelf.token = Some("key");
    assert_eq!(3, shelf.ensure("org/gated").unwrap().files.len());
    assert_eq!(3, shelf.ensure("org/private").unwrap().files.len());
    for (path, stats) in shelf.hub.cdn().unwrap().stats().paths {
        assert_eq!(0, stats.authorization, "the content network was told the token at {path}");
    }
    let missing = ModelSpec {
        selection: Selection { include: vec![Glob::new("none.json")], ..Selection::default() },
        ..ModelSpec::new("org/a".parse().unwrap(), "main".parse().unwrap())
    };
    let error = shelf.ensure_spec(&missing).unwrap_err();
    assert!(
        error.kind() == ErrorKind::NotFound && error.to_string().contains("none.json"),
        "{error}"
    );
    let absent = shelf.cache().root().join(format!("models--org--a/.no_exist/{COMMIT}/none.json"));
    assert!(absent.is_file());
}

#[test]
fn signed_addresses_that_end_are_looked_up_again() {
    let repos = vec![repo("org/a", 1)];
    let signed_ttl = Duration::from_millis(300);
    let shelf = Shelf::with(HubOptions { repos, signed_ttl, ..HubOptions::default() });
    shelf.hub.cdn().unwrap().update(|settings| settings.bandwidth = Some(2_000_000));
    shelf.ensure("org/a").unwrap();
    let asked =
        shelf.hub.origin().stats().paths[&format!("/org/a/resolve/{COMMIT}/{WEIGHTS_PATH}")];
    assert!(1 < asked.requests, "the address ended, and was looked up again");
}

/// Names that lead elsewhere, and what is no name.
const HOSTILE: [&str; 16] = [
    "/tmp/canary",
    "../canary",
    "a/../../canary",
    "../../../../../../../../tmp/canary",
    "..\\canary",
    "C:/canary",
    "c:canary",
    "\\\\server\\share\\canary",
    "//server/share/canary",
    "a\u{0}b",
    "a\nb",
    "trailing.",
    "trailing ",
    "con.txt",
    "./a",
    ".x.fetching.k.s.part",
];

#[test]
fn hostile_names_are_refused_by_name_and_write_nothing() {
    let long = "x".repeat(300);
    for name in HOSTILE.into_iter().chain([&*long]) {
        let files = repo("org/a", 1).with(HubFile::text(name, "evil"));
        let shelf = Shelf::new(vec![files]);
        std::fs::write(shelf.folder().join("canary"), "untouched").unwrap();
        let before = everything(shelf.folder());
        let local = shelf.folder().join("local");
        for target in [None, Some(local.clone())] {
            let spec = ModelSpec {
                target,
                ..ModelSpec::new("org/a".parse().unwrap(), "main".parse().unwrap())
            };
            let error = shelf.ensure_spec(&spec).unwrap_err();
            assert_eq!(ErrorKind::Integrity, error.kind(), "{name:?}: {error}");
            assert!(error.to_string().contains(&format!("{name:?}")), "{name:?}: {error}");
        }
        assert_eq!(before, everything(shelf.folder()), "{name:?}: something was written");
    }
}

#[test]
fn names_that_some_systems_do_not_tell_apart_are_refused() {
    for (a, b) in [("Config.json", "config.json"), ("a/b.json", "A/b.json"), ("x", "x/y.json")] {
        let files =
            HubRepo::new("org/a", COMMIT).with(HubFile::text(a, "1")).with(HubFile::text(b, "2"));
        let error = Shelf::new(vec![files]).ensure("org/a").unwrap_err();
        assert_eq!(ErrorKind::Integrity, error.kind(), "{a} {b}: {error}");
    }
}

#[test]
fn links_in_the_target_are_not_followed() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    let (local, outside) = (shelf.folder().join("local"), shelf.folder().join("outside"));
    std::fs::create_dir(&local).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, local.join("weights")).unwrap();
    let spec = ModelSpec {
        target: Some(local.clone()),
        ..ModelSpec::new("org/a".parse().unwrap(), "main".parse().unwrap())
    };
    let error = shelf.ensure_spec(&spec).unwrap_err();
    assert!(error.kind() == ErrorKind::Disk && error.to_string().contains("is a link"), "{error}");
    assert_eq!(0, outside.read_dir().unwrap().count());
    // A link in the place of a file is replaced, not written through.
    std::fs::remove_file(local.join("weights")).unwrap();
    std::fs::remove_file(local.join("config.json")).unwrap();
    std::os::unix::fs::symlink(outside.join("victim"), local.join("config.json")).unwrap();
    std::fs::write(outside.join("victim"), "mine").unwrap();
    shelf.ensure_spec(&spec).unwrap();
    assert_eq!("mine", std::fs::read_to_string(outside.join("victim")).unwrap());
    assert!(!local.join("config.json").is_symlink());
}

#[test]
fn a_folder_of_its_own_has_the_files_by_their_names() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    let target = shelf.folder().join("local");
    let spec = ModelSpec {
        target: Some(target.clone()),
        ..ModelSpec::new("org/a".parse().unwrap(), "main".parse().unwrap())
    };
    assert_eq!(target, shelf.ensure_spec(&spec).unwrap().path);
    assert_eq!(WEIGHTS, target.join(WEIGHTS_PATH).symlink_metadata().unwrap().len());
    let note = target.join(".cache/huggingface/download/config.json.metadata");
    assert!(std::fs::read_to_string(note).unwrap().starts_with(COMMIT));
    shelf.reset();
    assert_eq!(3, shelf.ensure_spec(&spec).unwrap().unchanged);
    assert_eq!(1, shelf.requests());
}

/// People upload folders with the notes of who fetched them: ours, and those of the hub's own client.
#[test]
fn files_of_a_model_do_not_take_the_place_of_notes() {
    let long = format!("{}.json", "x".repeat(245));
    let notes = [
        ".cache/download/model.json",
        ".cache/download/verified",
        ".cache/huggingface/download/config.json.metadata",
    ];
    let files = notes
        .iter()
        .fold(repo("org/a", 1), |repo, name| repo.with(HubFile::text(*name, "not ours")));
    let shelf = Shelf::new(vec![files.with(HubFile::text(long.clone(), "{}"))]);
    let target = shelf.folder().join("local");
    let spec = ModelSpec {
        target: Some(target.clone()),
        ..ModelSpec::new("org/a".parse().unwrap(), "main".parse().unwrap())
    };
    let events = shelf.events(&spec);
    for name in notes {
        let is_told =
            |event: &ModelEvent| matches!(event, ModelEvent::Warning(text) if text.contains(name));
        assert!(events.iter().any(is_told), "{name}: {events:?}");
    }
    let found = &download::verify(&target).unwrap()[0];
    assert_eq!((4, 0), (found.files, found.findings.len()), "{found:?}");
    assert!(target.join(long).is_file());
    shelf.reset();
    assert_eq!((4, 1), (shelf.ensure_spec(&spec).unwrap().unchanged, shelf.requests()));
}

#[test]
fn the_same_bytes_are_fetched_once_for_all_models() {
    let shelf = Shelf::new(vec![repo("org/a", 7), repo("org/b", 7), repo("org/c", 7)]);
    shelf.ensure("org/a").unwrap();
    assert_eq!(1, shelf.transfers());
    let events = shelf.events(&"org/b".parse().unwrap());
    assert_eq!(1, shelf.transfers());
    let linked = events.iter().any(|event| {
        matches!(event, ModelEvent::File { path, fetched }
            if path == WEIGHTS_PATH && fetched.how == How::Linked && fetched.fetched_bytes == 0)
    });
    assert!(linked, "{events:?}");
    // Bytes that were changed behind our back are not shared.
    let weights = shelf.weights("org/a");
    let mut bytes = std::fs::read(&weights).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    shelf.ensure("org/c").unwrap();
    assert_eq!(2, shelf.transfers());
}

#[test]
fn tasks_that_want_the_same_bytes_share_one_transfer() {
    let names = ["org/a", "org/b", "org/c", "org/d"];
    let shelf = Shelf::new(names.iter().map(|name| repo(name, 7)).collect());
    shelf.run(async |models: Models| {
        let asked = (0..12).map(|k| {
            let (models, spec) = (models.clone(), names[k % 4].parse::<ModelSpec>().unwrap());
            async move { models.ensure(&spec, |_| {}).await.unwrap() }
        });
        futures::stream::iter(asked).buffer_unordered(12).collect::<Vec<_>>().await
    });
    assert_eq!(1, shelf.transfers());
}

#[test]
fn offline_is_what_is_here_or_an_error() {
    let mut shelf = Shelf::new(vec![repo("org/a", 1)]);
    shelf.offline = true;
    assert_eq!(ErrorKind::Offline, shelf.ensure("org/a").unwrap_err().kind());
    shelf.offline = false;
    shelf.ensure("org/a").unwrap();
    shelf.offline = true;
    shelf.reset();
    assert_eq!(3, shelf.ensure("org/a").unwrap().unchanged);
    assert_eq!(3, shelf.ensure(&format!("org/a@{COMMIT}")).unwrap().unchanged);
    std::fs::remove_file(shelf.weights("org/a")).unwrap();
    assert_eq!(ErrorKind::Offline, shelf.ensure("org/a").unwrap_err().kind());
    assert_eq!(0, shelf.requests());
}

#[test]
fn a_disk_that_will_be_full_is_full_before_the_first_byte() {
    let huge = HubRepo::new("org/huge", COMMIT).with(HubFile::text("config.json", "{}"));
    let shelf = Shelf::new(vec![huge]);
    let entry = |path: &str, bytes| download::Entry {
        path: path.to_owned(),
        bytes,
        digest: Some(download::Digest::sha256(&"ab".repeat(32)).unwrap()),
        pointer: None,
    };
    let files = vec![entry("a.safetensors", 1 << 60)];
    let pinned = Some(download::Pinned { commit: COMMIT.parse().unwrap(), files });
    let source = ModelSource::Hub {
        repo: "org/huge".parse().unwrap(),
        revision: "main".parse().unwrap(),
        pinned,
    };
    let spec = ModelSpec { source, selection: Selection::default(), target: None };
    let error = shelf.ensure_spec(&spec).unwrap_err();
    assert!(error.kind() == ErrorKind::Disk && error.to_string().contains("no room"), "{error}");
    assert_eq!(0, shelf.requests());
}

#[test]
fn a_file_of_another_length_than_listed_is_given_up_at_once() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    let listed = shelf.ensure("org/a").unwrap().files;
    let files = listed.into_iter().map(|entry| match &*entry.path {
        WEIGHTS_PATH => download::Entry { bytes: 1000, ..entry },
        _ => entry,
    });
    let pinned = Some(download::Pinned { commit: COMMIT.parse().unwrap(), files: files.collect() });
    let source = ModelSource::Hub {
        repo: "org/a".parse().unwrap(),
        revision: "main".parse().unwrap(),
        pinned,
    };
    let target = Some(shelf.folder().join("local"));
    shelf.reset();
    let spec = ModelSpec { source, selection: Selection::default(), target };
    assert_eq!(ErrorKind::Integrity, shelf.ensure_spec(&spec).unwrap_err().kind());
    assert!(shelf.sent_bytes() < WEIGHTS, "{} B were sent", shelf.sent_bytes());
}

#[test]
fn files_of_a_web_server_come_into_a_folder() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    let url = format!("{}/org/a/resolve/{COMMIT}", shelf.hub.url()).parse().unwrap();
    let entry = |path: &str, bytes| download::Entry {
        path: path.to_owned(),
        bytes,
        digest: None,
        pointer: None,
    };
    let source =
        ModelSource::Web { url, files: vec![entry("config.json", 0), entry("tokenizer.json", 2)] };
    let target = Some(shelf.folder().join("web"));
    let spec = ModelSpec { source, selection: Selection::default(), target };
    let here = shelf.ensure_spec(&spec).unwrap();
    assert_eq!("{}", std::fs::read_to_string(here.path.join("tokenizer.json")).unwrap());
    shelf.reset();
    let is_unread = |event: &&ModelEvent| matches!(event, ModelEvent::File { fetched, .. } if fetched.digest.is_none());
    assert_eq!(2, shelf.events(&spec).iter().filter(is_unread).count(), "no digest is made up");
    assert_eq!(2, shelf.ensure_spec(&spec).unwrap().unchanged);
    assert_eq!(0, shelf.requests());
    let url: download::Url = format!("{}/some/folder/?key=hush", shelf.hub.url()).parse().unwrap();
    let source = ModelSource::Web { url, files: vec![entry("none.json", 0)] };
    let error = shelf.ensure_spec(&ModelSpec { source, ..spec }).unwrap_err();
    assert_eq!(format!("{}/some/folder/none.json", shelf.hub.url()), error.object());
}

#[test]
fn a_model_may_have_a_limiter_of_its_own() {
    let shelf = Shelf::new(vec![repo("org/a", 1), repo("org/b", 2)]);
    // So slow that what was taken is seen by what is left.
    let own = Limiter::new("1B/s".parse().unwrap(), Burst::new(3 * WEIGHTS).unwrap());
    shelf.run(async |models: Models| {
        let (a, b) = ("org/a".parse().unwrap(), "org/b".parse().unwrap());
        let limited = models.limited(own.clone());
        let (a, b) = tokio::join!(limited.ensure(&a, |_| {}), models.ensure(&b, |_| {}));
        assert_eq!(a.unwrap().bytes, b.unwrap().bytes);
    });
    assert!(own.try_acquire(2 * WEIGHTS).is_err(), "one model is charged to it");
    assert!(own.try_acquire(WEIGHTS).is_ok(), "and the other one is not");
}

#[test]
fn a_line_of_models_keeps_its_cap_and_shares_what_is_the_same() {
    let names: Vec<_> = (0..8).map(|k| format!("org/m{k}")).collect();
    let shelf =
        Shelf::new(names.iter().enumerate().map(|(k, name)| repo(name, k as u64)).collect());
    shelf.run(async |models: Models| {
        let line = ModelLine::new(
            models,
            ModelLineOptions { models_max: 2, ..ModelLineOptions::default() },
        );
        line.set_models_max(0);
        let mut tickets = Vec::new();
        for name in names.iter().chain(&names) {
            tickets
                .push(line.submit(name.parse().unwrap(), Priority::Normal, |_| {}).await.unwrap());
        }
        assert_eq!((8, 0), (line.snapshot().queued, line.snapshot().active_downloads));
        line.pause(&names[0]);
        let cancelled = tickets[1].id();
        assert!(line.cancel(cancelled));
        line.set_models_max(2);
        let first = tickets[0].id();
        assert!(line.wait(first, Duration::from_millis(1)).await.is_err(), "it is paused");
        line.resume(&names[0]);
        let mut done = 0;
        for ticket in tickets {
            assert!(line.snapshot().active_downloads <= 2);
            done += usize::from(ticket.done().await.is_ok());
        }
        assert_eq!(14, done, "two asked for the one that was cancelled");
        let snapshot = line.snapshot();
        assert_eq!((7, 1), (snapshot.done, snapshot.failed));
        assert!(0.0 < snapshot.average_bytes_per_s);
    });
    assert_eq!(7, shelf.transfers());
}

#[test]
fn a_model_whose_turn_does_not_come_is_given_up() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    shelf.run(async |models: Models| {
        let queue_timeout = Some(Duration::from_millis(20));
        let options =
            ModelLineOptions { models_max: 0, queue_timeout, ..ModelLineOptions::default() };
        let line = ModelLine::new(models, options);
        let ticket = line.submit("org/a".parse().unwrap(), Priority::Low, |_| {}).await.unwrap();
        let error = ticket.done().await.unwrap_err();
        assert!(
            error.kind() == ErrorKind::Network && error.to_string().contains("turn"),
            "{error}"
        );
    });
}
