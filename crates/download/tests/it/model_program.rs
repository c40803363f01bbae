//! The programs `download model`, `sync`, `verify`, `list` and `gc`, by their contract.

use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use testkit::{HubFile, HubRepo};

use crate::program::wait_until;
use crate::shelf::{COMMIT, Shelf, WEIGHTS, WEIGHTS_PATH, repo};

fn download(shelf: &Shelf, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_download"));
    command.args(arguments);
    for name in ["HTTPS_PROXY", "HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE"] {
        command.env_remove(name);
    }
    command.env("XDG_CACHE_HOME", shelf.folder().join("xdg"));
    command.env("HF_ENDPOINT", shelf.hub.url()).env("HF_HOME", shelf.folder().join("home"));
    command.current_dir(shelf.folder());
    command
}

fn run(shelf: &Shelf, arguments: &[&str]) -> Output {
    download(shelf, arguments).output().unwrap()
}

#[track_caller]
fn check_exit(shelf: &Shelf, expected: i32, arguments: &[&str]) -> Output {
    let output = run(shelf, arguments);
    assert_eq!(Some(expected), output.status.code(), "{arguments:?} {}", text(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn events(output: &Output, name: &str) -> Vec<Value> {
    let all = text(&output.stdout);
    let all = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|event| event["event"] == name && event["t_ms"].is_u64()).collect()
}

#[test]
fn the_folder_of_a_model_comes_on_stdout() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    let output = check_exit(&shelf, 0, &["model", "org/a"]);
    let snapshot = shelf.folder().join(format!("home/hub/models--org--a/snapshots/{COMMIT}"));
    assert_eq!(format!("{}\n", snapshot.display()), text(&output.stdout));
    assert_eq!(WEIGHTS, snapshot.join(WEIGHTS_PATH).metadata().unwrap().len());
    let output =
        check_exit(&shelf, 0, &["model", "org/a", "--local-dir", "here", "--include", "*.json"]);
    assert_eq!("here\n", text(&output.stdout));
    assert!(shelf.folder().join("here/config.json").is_file());
    assert!(!shelf.folder().join("here/weights").exists());
}

#[test]
fn events_tell_plan_files_and_end() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    let output = check_exit(&shelf, 0, &["model", "org/a", "--json"]);
    let plan = &events(&output, "plan")[0];
    let bytes = WEIGHTS + 24;
    assert_eq!((3, bytes), (plan["files"].as_u64().unwrap(), plan["bytes"].as_u64().unwrap()));
    assert_eq!(
        (3, bytes),
        (plan["fetch_files"].as_u64().unwrap(), plan["fetch_bytes"].as_u64().unwrap())
    );
    let files = events(&output, "file");
    let weights = files.iter().find(|file| file["path"] == WEIGHTS_PATH).unwrap();
    assert_eq!(
        ("sha256", "fetched"),
        (weights["verified"].as_str().unwrap(), weights["how"].as_str().unwrap())
    );
    assert_eq!(
        "git-sha1",
        files.iter().find(|file| file["path"] == "config.json").unwrap()["verified"]
    );
    let end = &events(&output, "end")[0];
    assert_eq!((3, bytes), (end["files"].as_u64().unwrap(), end["bytes"].as_u64().unwrap()));
    let cdn = shelf.hub.cdn().unwrap().stats().requests;
    assert_eq!(shelf.requests() + cdn, end["requests"].as_u64().unwrap());

    shelf.reset();
    let output = check_exit(&shelf, 0, &["model", "org/a", "--json"]);
    assert_eq!(1, shelf.requests());
    assert!(events(&output, "file").iter().all(|file| file["how"] == "unchanged"));
    assert_eq!(0, events(&output, "plan")[0]["fetch_bytes"].as_u64().unwrap());
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let gated = HubRepo { gated: true, token: Some("hush".to_owned()), ..repo("org/gated", 1) };
    let pickle =
        HubRepo::new("org/pickle", COMMIT).with(HubFile::blob("pytorch_model.bin", 1000, 3));
    let hostile = repo("org/hostile", 1).with(HubFile::text("../x.json", ""));
    let shelf = Shelf::new(vec![repo("org/a", 1), gated, pickle, hostile]);
    check_exit(&shelf, 3, &["model", "org/none"]);
    check_exit(&shelf, 3, &["model", "org/a@dev"]);
    check_exit(&shelf, 3, &["model", "org/a", "--include", "none.json"]);
    let output = check_exit(&shelf, 4, &["model", "org/gated", "--json"]);
    assert_eq!("gated", events(&output, "error")[0]["kind"]);
    check_exit(&shelf, 4, &["model", "org/pickle"]);
    check_exit(&shelf, 0, &["model", "org/pickle", "--allow-pickle"]);
    let output = check_exit(&shelf, 5, &["model", "org/hostile"]);
    assert!(text(&output.stderr).contains("../x.json"), "{}", text(&output.stderr));
    check_exit(&shelf, 8, &["model", "org/a", "--offline"]);
    check_exit(&shelf, 0, &["model", "org/a"]);
    check_exit(&shelf, 0, &["model", "org/a", "--offline"]);
    let mut offline = download(&shelf, &["model", "org/gated"]);
    assert_eq!(Some(8), offline.env("HF_HUB_OFFLINE", "1").status().unwrap().code());
    check_exit(&shelf, 64, &["model", "../a"]);
    check_exit(&shelf, 64, &["model", "org/a", "--endpoint", "nonsense"]);
    check_exit(&shelf, 64, &["sync", "none.toml"]);
    check_exit(&shelf, 64, &["gc", "--max-age", "soon"]);
    let mut far = download(&shelf, &["model", "org/a", "--retries", "0"]);
    assert_eq!(Some(7), far.env("HF_ENDPOINT", "http://127.0.0.1:1").status().unwrap().code());

    std::fs::write(shelf.folder().join("token"), "hush\n").unwrap();
    let output = check_exit(&shelf, 0, &["model", "org/gated", "--token-file", "token", "--json"]);
    assert!(!(text(&output.stdout) + &text(&output.stderr)).contains("hush"));
    let mut by_environment = download(&shelf, &["model", "org/gated"]);
    assert_eq!(Some(0), by_environment.env("HF_TOKEN", "hush").status().unwrap().code());
}

#[test]
fn each_file_that_cannot_be_had_is_told() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    shelf.hub.origin().update(|settings| {
        settings.faults = ["status=404@*config*", "status=403@*tokenizer*"]
            .map(|rule| rule.parse().unwrap())
            .to_vec();
    });
    let output = check_exit(&shelf, 4, &["model", "org/a", "--json"]);
    let mut kinds: Vec<_> =
        events(&output, "error").iter().map(|error| error["kind"].to_string()).collect();
    kinds.sort();
    assert_eq!(["\"not_found\"", "\"unauthorized\""], *kinds);
}

/// What would help with another refusal of the same kind only misleads.
#[test]
fn a_refused_pickle_is_told_with_what_allows_it_alone() {
    let shelf = Shelf::new(vec![repo("org/a", 1).with(HubFile::text("code.pkl", "x"))]);
    let output = check_exit(&shelf, 4, &["model", "org/a", "--include", "*.pkl"]);
    assert!(text(&output.stderr).trim_end().ends_with("give --allow-pickle"), "{output:?}");
}

#[test]
fn a_dry_run_changes_nothing() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    let dry = ["model", "org/a", "--dry-run", "--json", "--write-lock", "model.lock"];
    let output = check_exit(&shelf, 0, &dry);
    assert_eq!(3, events(&output, "plan")[0]["fetch_files"].as_u64().unwrap());
    check_exit(&shelf, 3, &["model", "org/a", "--dry-run", "--include", "none.json"]);
    assert!(!shelf.folder().join("home").exists());
    assert!(!shelf.folder().join("model.lock").exists());
    assert_eq!((0, 0), (shelf.resolves(), shelf.sent_bytes()));
}

#[test]
fn a_locked_model_is_fetched_to_the_byte_and_asks_for_nothing_else() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    check_exit(&shelf, 0, &["model", "org/a", "--write-lock", "model.lock"]);
    let lock = std::fs::read_to_string(shelf.folder().join("model.lock")).unwrap();
    assert!(
        lock.contains(COMMIT) && lock.contains("sha256 = ") && lock.contains("git_sha1 = "),
        "{lock}"
    );
    shelf.reset();
    check_exit(&shelf, 0, &["model", "org/a", "--locked", "model.lock", "--cache-dir", "other"]);
    assert_eq!(3, shelf.resolves());
    assert_eq!(5, shelf.requests(), "three files, two of which are redirected");
    let changed = lock.replace("size = 3000000", "size = 3000001");
    std::fs::write(shelf.folder().join("model.lock"), changed).unwrap();
    check_exit(&shelf, 5, &["model", "org/a", "--locked", "model.lock", "--cache-dir", "third"]);
    check_exit(&shelf, 64, &["model", "org/b", "--locked", "model.lock"]);
}

#[test]
fn a_locked_model_moves_no_branch() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    check_exit(&shelf, 0, &["model", "org/a", "--write-lock", "model.lock"]);
    let references = shelf.folder().join("home/hub/models--org--a/refs");
    let newer = "f".repeat(40);
    std::fs::write(references.join("main"), &newer).unwrap();
    for model in ["org/a", "org/a@v9", &format!("org/a@{COMMIT}")] {
        check_exit(&shelf, 0, &["model", model, "--locked", "model.lock"]);
    }
    assert_eq!(newer, std::fs::read_to_string(references.join("main")).unwrap());
    assert!(!references.join("v9").exists());
    check_exit(&shelf, 64, &["model", &format!("org/a@{newer}"), "--locked", "model.lock"]);
}

#[test]
fn a_lock_file_that_cannot_be_written_is_told_before_the_end() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    check_exit(&shelf, 64, &["model", "org/a", "--write-lock", "none/model.lock"]);
    assert_eq!(0, shelf.requests());
    let long = "x".repeat(300);
    let output = check_exit(&shelf, 6, &["model", "org/a", "--json", "--write-lock", &long]);
    let (errors, ends) = (events(&output, "error"), events(&output, "end"));
    assert_eq!(
        ("disk", 6),
        (errors[0]["kind"].as_str().unwrap(), ends[0]["exit_code"].as_u64().unwrap())
    );
}

#[test]
fn a_list_is_synced_and_again_costs_one_question_each() {
    let shelf = Shelf::new((0..6).map(|k| repo(&format!("org/m{k}"), k)).collect());
    let mut list: String = (0..6).map(|k| format!("[[model]]\nrepo = \"org/m{k}\"\n")).collect();
    let url = format!("{}/org/m0/resolve/{COMMIT}", shelf.hub.url());
    list += &format!(
        "[[model]]\nurl = \"{url}\"\ntarget = \"web\"\nfiles = [{{ path = \"config.json\", size = 22 }}]\n"
    );
    std::fs::write(shelf.folder().join("models.toml"), &list).unwrap();
    let output = check_exit(&shelf, 0, &["sync", "models.toml"]);
    assert_eq!(7, text(&output.stdout).lines().count(), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("unverified: config.json"), "{}", text(&output.stderr));
    shelf.reset();
    let output = check_exit(&shelf, 0, &["sync", "models.toml", "--json", "--jobs", "2"]);
    assert_eq!((6, 7), (shelf.requests(), events(&output, "model").len()));
    std::fs::write(shelf.folder().join("models.toml"), list + "[[model]]\nrepo = \"org/none\"\n")
        .unwrap();
    let output = check_exit(&shelf, 3, &["sync", "models.toml"]);
    assert_eq!(7, text(&output.stdout).lines().count());
    assert!(text(&output.stderr).contains("org/none"));
}

#[test]
fn a_cache_is_verified_repaired_listed_and_cleaned() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    let output = check_exit(&shelf, 0, &["model", "org/a"]);
    let snapshot = text(&output.stdout).trim().to_owned();
    check_exit(&shelf, 0, &["verify", "org/a"]);
    let weights = std::path::Path::new(&snapshot).join(WEIGHTS_PATH).canonicalize().unwrap();
    std::fs::File::options().write(true).open(&weights).unwrap().set_len(1000).unwrap();
    let output = check_exit(&shelf, 5, &["verify", &snapshot, "--json"]);
    assert_eq!("integrity", events(&output, "error")[0]["kind"]);
    shelf.reset();
    check_exit(&shelf, 0, &["verify", "org/a", "--repair"]);
    assert_eq!(1, shelf.resolves());
    check_exit(&shelf, 0, &["verify", &snapshot]);
    check_exit(&shelf, 3, &["verify", shelf.folder().to_str().unwrap()]);
    let output = check_exit(&shelf, 0, &["list"]);
    assert!(text(&output.stdout).contains(&format!("org/a  {COMMIT}  main  3 files  3.0 MB")));
    let orphan = weights.with_file_name("ab".repeat(32));
    std::fs::write(&orphan, "orphan").unwrap();
    let output = check_exit(&shelf, 0, &["gc", "--dry-run", "--grace", "0s"]);
    assert_eq!(format!("{}\n", orphan.display()), text(&output.stdout));
    check_exit(&shelf, 0, &["gc", "--grace", "0s"]);
    assert!(!orphan.exists() && weights.exists());
}

#[test]
fn every_command_has_help_with_examples() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    for command in ["model", "sync", "verify", "list", "gc"] {
        let output = check_exit(&shelf, 0, &[command, "--help"]);
        assert!(text(&output.stdout).contains("Examples:"), "{command}");
    }
}

/// Many processes, one model: each asks for the listing, and one fetches the bytes.
#[test]
fn processes_that_want_the_same_model_fetch_it_once() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    let run = |_| {
        let mut command = download(&shelf, &["model", "org/a"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for child in (0..6).map(run).collect::<Vec<_>>() {
        let output = child.wait_with_output().unwrap();
        let told = text(&output.stderr);
        assert!(output.status.success() && told.matches("another process").count() <= 1, "{told}");
    }
    // The one that fetches may give slow parts to a second connection; another would ask for more files.
    assert_eq!(3, shelf.resolves());
    assert!(shelf.sent_bytes() < 2 * WEIGHTS, "{} B were sent", shelf.sent_bytes());
}

#[test]
fn metrics_tell_of_models_as_prometheus_reads_them() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    check_exit(&shelf, 0, &["model", "org/a", "--metrics-file", "metrics"]);
    let told = std::fs::read_to_string(shelf.folder().join("metrics")).unwrap();
    for line in
        ["download_files_done_total 3", "download_active_downloads 0", "download_completion_rate 1"]
    {
        assert!(told.lines().any(|one| one == line), "{told}");
    }
}

/// The weights of three models are cut.
fn spoiled() -> Shelf {
    let names = ["org/a", "org/b", "org/c"];
    let shelf = Shelf::new((0..3).map(|k| repo(names[k], k as u64)).collect());
    for name in names {
        let here = text(&check_exit(&shelf, 0, &["model", name]).stdout).trim().to_owned();
        let weights = std::path::Path::new(&here).join(WEIGHTS_PATH);
        std::fs::File::options().write(true).open(weights).unwrap().set_len(1000).unwrap();
    }
    shelf.reset();
    shelf
}

#[test]
fn a_repair_keeps_the_rules_of_all_transfers() {
    let shelf = spoiled();
    check_exit(&shelf, 8, &["verify", "home/hub", "--repair", "--offline"]);
    assert_eq!(0, shelf.requests());
    check_exit(&shelf, 0, &["verify", "home/hub", "--repair", "--metrics-file", "metrics"]);
    assert_eq!(3, shelf.resolves());
    let metrics = std::fs::read_to_string(shelf.folder().join("metrics")).unwrap();
    assert!(metrics.contains("\ndownload_files_done_total 9\n"), "{metrics}");
}

#[test]
fn a_repair_ends_at_once_when_it_is_told_to_and_takes_another_rate() {
    let shelf = spoiled();
    std::fs::write(shelf.folder().join("rate"), "100KB/s").unwrap();
    let arguments = ["verify", "home/hub", "--repair", "--limit-rate-file", "rate"];
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGHUP, 0)] {
        shelf.reset();
        let mut command = download(&shelf, &arguments);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap();
        wait_until(|| 0 < shelf.sent_bytes());
        std::fs::write(shelf.folder().join("rate"), "unlimited").unwrap();
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        assert_eq!(Some(code), child.wait().unwrap().code());
        assert!(signal == Signal::SIGHUP || shelf.resolves() == 1, "it went on with the next");
        std::fs::write(shelf.folder().join("rate"), "100KB/s").unwrap();
    }
    check_exit(&shelf, 0, &["verify", "home/hub"]);
}

#[test]
fn an_empty_variable_is_none() {
    let shelf = Shelf::new(vec![repo("org/a", 1)]);
    let offline = ["model", "org/a", "--offline"];
    for name in ["XDG_CACHE_HOME", "HF_HUB_CACHE", "HF_HOME", "HOME", "HTTPS_PROXY", "HF_ENDPOINT"]
    {
        let mut command = download(&shelf, &offline);
        let output = command.env("HOME", shelf.folder()).env(name, "").output().unwrap();
        assert_eq!(Some(8), output.status.code(), "{name}: {}", text(&output.stderr));
    }
    check_exit(&shelf, 64, &["model", "org/a", "--endpoint", ""]);
}
