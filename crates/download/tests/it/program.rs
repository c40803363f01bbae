//! The program `download get`, by its contract.

use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::world::{NAME, SIZE, World};

fn download() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_download"));
    command.args(["get", "--no-history"]).env_remove("HTTPS_PROXY");
    command
}

fn url(world: &World) -> String {
    format!("http://{}/{NAME}", world.origin.address())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn events(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

#[test]
fn paths_come_on_stdout_and_the_unverified_are_named() {
    let world = World::new(&[]);
    let target = world.target();
    let output = download().arg(url(&world)).arg("-o").arg(&target).output().unwrap();
    assert_eq!(Some(0), output.status.code());
    assert_eq!(format!("{}\n", target.display()), text(&output.stdout));
    assert!(text(&output.stderr).contains("unverified: "), "{}", text(&output.stderr));
    assert_eq!(Some(true), world.is_right());
}

#[test]
fn events_tell_plan_progress_file_and_end() {
    let world = World::new(&["status=503#2"]);
    let sha256 = world.blob.digests().sha256.clone();
    let mut command = download();
    command.args([&url(&world), "--json", "--sha256", &sha256, "-o"]).arg(world.target());
    let output = command.output().unwrap();
    let events = events(&output);
    assert!(events.iter().all(|event| event["t_ms"].is_u64() && event["event"].is_string()));
    let plan = of(&events, "plan")[0];
    assert_eq!((1, SIZE), (plan["files"].as_u64().unwrap(), plan["bytes"].as_u64().unwrap()));
    assert_eq!(1, of(&events, "retry").len());
    let file = of(&events, "file")[0];
    assert_eq!(
        ("sha256", "fetched"),
        (file["verified"].as_str().unwrap(), file["how"].as_str().unwrap())
    );
    assert_eq!(format!("sha256:{sha256}"), file["digest"].as_str().unwrap());
    let progress = of(&events, "progress");
    assert_eq!(SIZE, progress.last().unwrap()["done_bytes"].as_u64().unwrap());
    let end = events.last().unwrap();
    assert_eq!(("end", 0), (end["event"].as_str().unwrap(), end["exit_code"].as_u64().unwrap()));
    assert_eq!(world.origin.stats().requests, end["requests"].as_u64().unwrap());
    assert_eq!(1, end["retries"].as_u64().unwrap());
}

#[test]
fn each_beginning_anew_is_a_retry_with_its_number() {
    let world = World::new(&["flip:at=5"]);
    let sha256 = world.blob.digests().sha256.clone();
    let mut command = download();
    command.args([&url(&world), "--json", "--sha256", &sha256, "-o"]).arg(world.target());
    let events = events(&command.output().unwrap());
    let attempts: Vec<_> =
        of(&events, "retry").iter().map(|retry| retry["attempt"].clone()).collect();
    assert_eq!(vec![1, 2], attempts);
    assert_eq!(2, events.last().unwrap()["retries"].as_u64().unwrap());
}

#[track_caller]
fn check_exit(faults: &[&str], arguments: &[&str], expected: i32) {
    let world = World::new(faults);
    let mut command = download();
    command.args([&url(&world), "--retries", "1", "-o"]).arg(world.target()).args(arguments);
    let output = command.output().unwrap();
    assert_eq!(Some(expected), output.status.code(), "{faults:?} {}", text(&output.stderr));
    assert_eq!(None, world.is_right());
    assert!(output.stdout.is_empty());
    assert!(
        text(&output.stderr).starts_with("error: ") || text(&output.stderr).contains("\nerror: ")
    );
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    check_exit(&["status=404"], &[], 3);
    check_exit(&["status=403"], &[], 4);
    check_exit(&["flip:at=5"], &["--sha256", &"ab".repeat(32)], 5);
    check_exit(&[], &["--require-digest"], 5);
    check_exit(&["status=503"], &[], 7);
    check_exit(&["hang"], &["--timeout", "300ms"], 7);
    check_exit(&[], &["--sha256", "abc"], 64);
    check_exit(&[], &["--memory", "1MiB"], 64);
    check_exit(&[], &["-H", "no colon"], 64);
    check_exit(&[], &["--proxy", "sock5://127.0.0.1:1"], 64);
    check_exit(&[], &["--nonsense"], 64);
}

#[test]
fn of_several_failures_the_gravest_is_the_code() {
    let (missing, refused) = (World::new(&["status=404"]), World::new(&["status=403"]));
    let good = World::new(&[]);
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    let lines = [url(&good), url(&refused).replace(NAME, "b"), url(&missing).replace(NAME, "c")];
    std::fs::write(&list, lines.join("\n")).unwrap();
    let mut command = download();
    command.arg("--input").arg(&list).arg("-d").arg(folder.path().join("new"));
    let output = command.output().unwrap();
    assert_eq!(Some(4), output.status.code(), "{}", text(&output.stderr));
    assert!(folder.path().join("new").join(NAME).is_file());
}

#[test]
fn secrets_are_told_to_nobody() {
    for faults in [&["status=403"][..], &["cut#1..9"], &[]] {
        let world = World::new(faults);
        let secret_url = format!("{}?signature=hush", url(&world));
        let mut command = download();
        command.args([&secret_url, "--json", "--retries", "2", "-H", "Authorization: Bearer hush"]);
        let output = command.arg("-o").arg(world.target()).output().unwrap();
        let all = text(&output.stdout) + &text(&output.stderr);
        assert!(!all.contains("hush"), "{all}");
    }
    let output = download().args(["http://x:hush@y/z", "-H", "hush"]).output().unwrap();
    assert!(!text(&output.stderr).contains("hush"), "{}", text(&output.stderr));
}

#[test]
fn an_interrupted_run_ends_at_once_and_is_gone_on_with() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let world = World::new(&[]);
        world.origin.update(|settings| settings.bandwidth = Some(2_000_000));
        let mut command = download();
        command.args([&url(&world), "--chunk-size", "64KiB", "--json", "-o"]).arg(world.target());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        wait_until(|| SIZE / 4 < world.origin.stats().sent_bytes);
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let start = Instant::now();
        assert_eq!(Some(code), child.wait().unwrap().code());
        assert!(start.elapsed() < Duration::from_secs(1));
        assert_eq!(None, world.is_right());
        world.origin.update(|settings| settings.bandwidth = None);
        world.origin.reset();
        assert_eq!(Some(0), command.output().unwrap().status.code());
        assert_eq!(Some(true), world.is_right());
        let sent = world.origin.stats().sent_bytes;
        assert!(sent < SIZE, "{sent} bytes were fetched again");
    }
}

pub(crate) fn wait_until(is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "it does not come about");
        std::thread::yield_now();
    }
}

#[test]
fn metrics_are_written_as_prometheus_reads_them() {
    let world = World::new(&[]);
    let metrics = world.target().with_file_name("metrics");
    let mut command = download();
    command.arg(url(&world)).arg("-o").arg(world.target()).arg("--metrics-file").arg(&metrics);
    assert!(command.output().unwrap().status.success());
    let text = std::fs::read_to_string(&metrics).unwrap();
    assert!(text.contains(&format!("\ndownload_bytes_total {SIZE}\n")), "{text}");
    assert!(
        text.contains("\ndownload_files_done_total 1\n")
            || text.contains("download_files_done_total 1\n")
    );
}

#[test]
fn a_limit_is_kept_and_can_be_changed() {
    let world = World::new(&[]);
    let start = Instant::now();
    let mut command = download();
    command.args([&url(&world), "--limit-rate", "3MB/s", "-o"]).arg(world.target());
    assert!(command.output().unwrap().status.success());
    let spent = start.elapsed();
    assert!(Duration::from_millis(900) < spent, "{spent:?}");

    let world = World::new(&[]);
    let rate = world.target().with_file_name("rate");
    std::fs::write(&rate, "100KB/s").unwrap();
    let mut command = download();
    command.arg(url(&world)).arg("-o").arg(world.target()).arg("--limit-rate-file").arg(&rate);
    let mut child = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    wait_until(|| 0 < world.origin.stats().sent_bytes);
    std::fs::write(&rate, "unlimited").unwrap();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGHUP).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(Some(true), world.is_right());
}

#[test]
fn what_was_learnt_of_a_server_is_kept_unless_that_is_not_wanted() {
    let world = World::new(&[]);
    world.origin.update(|settings| settings.bandwidth = Some(4_000_000));
    let folder = tempfile::tempdir().unwrap();
    let history = folder.path().join("download").join("history");
    for arguments in [&["--no-history"][..], &[]] {
        assert!(!history.exists());
        let target = folder.path().join(arguments.len().to_string());
        let mut command = Command::new(env!("CARGO_BIN_EXE_download"));
        // One connection is a short search.
        command.args(["get", &url(&world), "--connections", "1", "-o"]).arg(target).args(arguments);
        command.env_remove("HTTPS_PROXY").env("XDG_CACHE_HOME", folder.path());
        assert!(command.output().unwrap().status.success());
    }
    let text = std::fs::read_to_string(&history).unwrap();
    let line: Value = serde_json::from_str(text.trim()).unwrap();
    let origin = format!("http://{}", world.origin.address());
    assert_eq!((Some(&*origin), Some(1)), (line["origin"].as_str(), line["connections"].as_u64()));
    assert!(0 < line["bytes_per_s"].as_u64().unwrap(), "{text}");
}

#[test]
fn help_has_examples_and_the_version_its_name() {
    let help = download().arg("--help").output().unwrap();
    assert_eq!(Some(0), help.status.code());
    assert!(text(&help.stdout).contains("Examples:"));
    let version = Command::new(env!("CARGO_BIN_EXE_download")).arg("--version").output().unwrap();
    assert_eq!(format!("download {}\n", env!("CARGO_PKG_VERSION")), text(&version.stdout));
}

#[test]
fn a_target_without_a_folder_is_refused_before_a_request() {
    let world = World::new(&[]);
    let mut command = download();
    let output = command.arg(url(&world)).args(["-o", "/no/such/folder/x"]).output().unwrap();
    assert_eq!((Some(64), 0), (output.status.code(), world.origin.stats().requests));
    assert!(Path::new("/no").metadata().is_err());
}

/// A socket stands for devices and pipes, too: what is published would take its place.
#[test]
fn what_is_no_regular_file_is_not_replaced() {
    let world = World::new(&[]);
    let socket = world.target();
    let _listener = UnixListener::bind(&socket).unwrap();
    let link = socket.with_file_name("link");
    std::os::unix::fs::symlink(&socket, &link).unwrap();
    for (option, path) in [("-o", &socket), ("-o", &link), ("--metrics-file", &socket)] {
        let mut command = download();
        command.arg(url(&world)).arg(option).arg(path).current_dir(socket.parent().unwrap());
        let output = command.output().unwrap();
        assert_eq!(Some(64), output.status.code(), "{option} {}", text(&output.stderr));
    }
    assert!(socket.metadata().unwrap().file_type().is_socket());
    assert_eq!(0, world.origin.stats().requests);
}

#[test]
fn a_folder_that_cannot_be_created_is_a_failure_of_the_disk() {
    let world = World::new(&[]);
    std::fs::write(world.target(), "no folder").unwrap();
    let folder = world.target().join("new");
    let output = download().arg(url(&world)).arg("-d").arg(folder).output().unwrap();
    assert_eq!((Some(6), 0), (output.status.code(), world.origin.stats().requests));
}
