//! A list of models whose process is killed at any instant.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use download::{Cache, ModelJournal, verify};
use testkit::{HubFile, HubRepo};

use crate::shelf::{COMMIT, Shelf};

/// Models of the list.
const MODELS: u64 = 40;
/// Bytes of the weights of each.
const SIZE: u64 = 400_000;

/// How often the process is killed; `DOWNLOAD_SYNC_KILLS=200` for the long run.
fn kills() -> u64 {
    std::env::var("DOWNLOAD_SYNC_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// Numbers that look drawn, and are the same in each run.
fn draw(seed: u64) -> u64 {
    let mixed = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33
}

fn repo(k: u64) -> HubRepo {
    HubRepo::new(format!("org/m{k}"), COMMIT)
        .with(HubFile::text("config.json", format!("{{\"k\": {k}}}")))
        .with(HubFile::blob("model.safetensors", SIZE, k))
}

fn start(shelf: &Shelf) -> Child {
    Command::new(env!("CARGO_BIN_EXE_download"))
        .args(["sync", "models.toml", "--cache-dir", "cache", "--endpoint", &shelf.hub.url()])
        .args(["--retries", "0", "--no-history"])
        .current_dir(shelf.folder())
        .env_remove("HTTPS_PROXY")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What has a name in a snapshot is whole: each link leads to bytes of the right length, under their digest.
fn nothing_wrong_is_visible(cache: &Cache) {
    for model in download::list(cache) {
        for revision in &model.revisions {
            assert_eq!(0, revision.missing, "{} has names that lead to nothing", model.repo);
            for name in ["config.json", "model.safetensors"] {
                let path = revision.path.join(name);
                let length = path.metadata().map(|metadata| metadata.len());
                assert!(
                    name != "model.safetensors" || !path.exists() || length.unwrap() == SIZE,
                    "{name}"
                );
            }
        }
        // Leftovers of links would be files of the model to the libraries.
        let names = model.revisions.iter().flat_map(|revision| names(&revision.path));
        assert!(
            names.into_iter().all(|name| ["config.json", "model.safetensors"].contains(&&*name))
        );
    }
}

fn names(folder: &Path) -> Vec<String> {
    folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn every_model_of_a_killed_list_ends_exactly_once() {
    let shelf = Shelf::new((0..MODELS).map(repo).collect());
    let list: String = (0..MODELS).map(|k| format!("[[model]]\nrepo = \"org/m{k}\"\n")).collect();
    std::fs::write(shelf.folder().join("models.toml"), list).unwrap();
    // So slow that all the kills happen, each after up to 0.2 s of work.
    let bandwidth = MODELS * SIZE * 8 / kills().max(8);
    shelf.hub.cdn().unwrap().update(|settings| settings.bandwidth = Some(bandwidth));
    let cache = shelf.cache();
    let mut n_killed = 0;
    for round in 0..kills() {
        let mut child = start(&shelf);
        std::thread::sleep(Duration::from_millis(draw(round) % 200));
        let had_ended = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        nothing_wrong_is_visible(&cache);
        if had_ended {
            break;
        }
        n_killed += 1;
    }
    shelf.hub.cdn().unwrap().update(|settings| settings.bandwidth = None);
    assert!(start(&shelf).wait().unwrap().success());
    nothing_wrong_is_visible(&cache);
    let found = verify(cache.root()).unwrap();
    assert_eq!(MODELS as usize, found.len());
    assert!(found.iter().all(|model| model.files == 2 && model.findings.is_empty()));

    let journal = ModelJournal::open(&cache.journal()).unwrap();
    assert_eq!((MODELS as usize, 0), journal.counts(), "each ended once, and none is left");
    let asked = shelf.resolves();
    // Each model's two files, and for each kill what was under way of four models.
    assert!(asked <= 2 * MODELS + n_killed * 8, "{asked} questions for files, {n_killed} kills");
    eprintln!("{n_killed} kills, {asked} questions for {} files", 2 * MODELS);
}
