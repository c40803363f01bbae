//! A kernel that kills, refuses and pretends at chosen system calls (`strace -e inject`), and a real disk that
//! runs full or may only be read (a tmpfs in a namespace of our own). Where one is not to be had, a line says so.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::shelf::{self, Shelf};
use crate::world::{NAME, World};

/// Whether a helper does its work here; tells when it does not.
fn is_there(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    let is_there = command.status().is_ok_and(|status| status.success());
    if !is_there {
        let arguments = arguments.join(" ");
        // Who does not read it misses a hint.
        let _ = writeln!(std::io::stderr(), "left out: `{program} {arguments}` does not run here");
    }
    is_there
}

fn strace_is_there() -> bool {
    is_there("strace", &["-f", "-o", "/dev/null", "true"])
}

fn tmpfs_is_there() -> bool {
    is_there("unshare", &["--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"])
}

fn arguments(world: &World) -> Vec<String> {
    let url = format!("http://{}/{NAME}", world.origin.address());
    let sha256 = world.blob.digests().sha256.clone();
    let target = world.target().display().to_string();
    let words = ["get", "--no-history", "--chunk-size", "256KiB", &url, "--sha256", &sha256];
    words.iter().map(|&word| word.to_owned()).chain(["-o".to_owned(), target]).collect()
}

/// The program, with something done to its system calls.
fn injected(world: &World, inject: &str) -> Command {
    let mut command = strace(inject);
    command.args(arguments(world));
    command
}

fn strace(inject: &str) -> Command {
    let mut command = Command::new("strace");
    let calls = inject.split(':').next().unwrap_or_default();
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    command.args(["-e", &format!("inject={inject}"), env!("CARGO_BIN_EXE_download")]);
    command.env_remove("HTTPS_PROXY").stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Without injections it ends right, and nothing else is left.
#[track_caller]
fn ends_right(world: &World, what: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_download"));
    let output = command.args(arguments(world)).env_remove("HTTPS_PROXY").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(Some(0), output.status.code(), "{what}: {told}");
    assert_eq!(Some(true), world.is_right(), "{what}");
    assert_eq!(vec!["file".to_owned()], world.names(), "{what}");
}

#[test]
fn killed_at_any_write_sync_or_rename_it_goes_on() {
    if !strace_is_there() {
        return;
    }
    let mut kills = 0;
    for calls in ["pwrite64", "?fsync,fdatasync", "?rename,?renameat,renameat2"] {
        for nth in [1, 2, 3, 5, 8, 12, 17] {
            let world = World::new(&[]);
            let what = format!("{calls} {nth}");
            let status = injected(&world, &format!("{calls}:signal=KILL:when={nth}")).status();
            let ended = status.unwrap().success();
            kills += u32::from(!ended);
            assert!(world.is_right().is_none_or(|is_right| is_right), "{what}: a wrong file");
            assert!(!ended || world.is_right() == Some(true), "{what}");
            ends_right(&world, &what);
        }
    }
    assert!(9 <= kills, "{kills} kills");
}

#[test]
fn a_sync_that_the_kernel_fails_is_exit_6_and_publishes_nothing() {
    if !strace_is_there() {
        return;
    }
    let mut failed = 0;
    for nth in [1, 2, 3, 4] {
        let world = World::new(&[]);
        let status = injected(&world, &format!("?fsync,fdatasync:error=EIO:when={nth}")).status();
        match status.unwrap().code() {
            Some(6) => failed += 1,
            code => assert_eq!(Some(0), code, "sync {nth}"),
        }
        // The last sync is that of the folder: then the file has its name already, and is whole.
        assert!(world.is_right().is_none_or(|is_right| is_right), "sync {nth}: a wrong file");
        ends_right(&world, &format!("sync {nth}"));
    }
    assert!(1 < failed, "{failed} failed");
}

#[test]
fn interrupted_writes_change_nothing() {
    if !strace_is_there() {
        return;
    }
    let world = World::new(&[]);
    let status = injected(&world, "pwrite64:error=EINTR:when=2+3").status().unwrap();
    assert_eq!((Some(0), Some(true)), (status.code(), world.is_right()));
}

#[test]
fn locks_that_do_nothing_mix_no_two_transfers() {
    if !strace_is_there() {
        return;
    }
    let world = World::new(&[]);
    world.origin.update(|settings| settings.bandwidth = Some(4_000_000));
    let mut children: Vec<_> =
        (0..2).map(|_| injected(&world, "flock:retval=0").spawn().unwrap()).collect();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    assert_eq!(Some(true), world.is_right());
    assert_eq!(vec!["file".to_owned()], world.names());
}

/// Without locks, processes that want one model may both fetch it, and neither may spoil it.
#[test]
fn models_come_right_where_locks_do_nothing() {
    const PROCESSES: u64 = 3;
    if !strace_is_there() {
        return;
    }
    let shelf = Shelf::new(vec![shelf::repo("org/a", 1)]);
    shelf.hub.cdn().unwrap().update(|settings| settings.bandwidth = Some(4_000_000));
    let model = ["model", "org/a", "--no-history", "--cache-dir", "cache", "--endpoint"];
    let start = || {
        let mut command = strace("flock:retval=0");
        command.args(model).arg(shelf.hub.url()).current_dir(shelf.folder());
        command.spawn().unwrap()
    };
    let mut children: Vec<_> = (0..PROCESSES).map(|_| start()).collect();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    let before = shelf.sent_bytes();
    assert!(before <= (PROCESSES + 1) * shelf::WEIGHTS, "{before} B were sent");
    shelf.ensure("org/a").unwrap();
    let found = download::verify(shelf.cache().root()).unwrap();
    assert!(found.iter().all(|model| model.files == 3 && model.findings.is_empty()), "{found:?}");
    assert_eq!(before, shelf.sent_bytes(), "what is there is asked for again");
}

/// Fills a tmpfs of 8 MiB up to what is not enough, fetches, makes room, fetches again.
const SCRIPT: &str = r#"
folder=$1; shift
mount -t tmpfs -o size=8m none "$folder" || exit 99
head -c 6000000 /dev/zero > "$folder/filler"
"$@"; echo "first $?"; [ -e "$folder/file" ] && echo "published"
rm "$folder/filler"
"$@"; echo "second $?"; sha256sum < "$folder/file"; ls "$folder"
"#;

#[track_caller]
fn runs_full(faults: &[&str]) {
    if !tmpfs_is_there() {
        return;
    }
    let world = World::new(faults);
    let folder = world.target().parent().map(Path::to_path_buf).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"]).arg(&folder);
    command.arg(env!("CARGO_BIN_EXE_download")).args(arguments(&world)).env_remove("HTTPS_PROXY");
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = told.lines().collect();
    let sha256 = format!("{}  -", world.blob.digests().sha256);
    let target = world.target().display().to_string();
    let expected = vec!["first 6", &target, "second 0", &sha256, "file"];
    assert_eq!(expected, lines, "{faults:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_real_disk_that_runs_full_is_exit_6_and_gone_on_from() {
    // The size is known, and that there is no room for it.
    runs_full(&[]);
    // It is not known: the disk is full half-way.
    runs_full(&["http10=close"]);
}

/// Brings a model to a tmpfs, which may only be read from then on, takes it from there, and cleans up.
const READ_ONLY: &str = r#"
folder=$1; shift
mount -t tmpfs none "$folder" || exit 99
"$@" > /dev/null
rm -r "$folder/models--org--a/trees"
mount -o remount,ro "$folder" || exit 99
"$@"; echo "model $?"
"$@" --offline; echo "model $?"
"$1" gc --cache-dir "$folder" --grace 0s 2>&1; echo "gc $?"
"#;

#[test]
fn a_cache_that_may_only_be_read_will_do() {
    if !tmpfs_is_there() {
        return;
    }
    let shelf = Shelf::new(vec![shelf::repo("org/a", 1)]);
    let folder = shelf.cache().root().to_path_buf();
    std::fs::create_dir(&folder).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", READ_ONLY, "sh"]).arg(&folder);
    command.args([env!("CARGO_BIN_EXE_download"), "model", "org/a", "--no-history"]);
    command.args(["--endpoint", &shelf.hub.url(), "--cache-dir"]).arg(&folder);
    let output = command.env_remove("HTTPS_PROXY").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = told.lines().collect();
    let snapshot = folder.join("models--org--a/snapshots").join(shelf::COMMIT);
    let here = snapshot.display().to_string();
    let denied = "org/a cannot be written to and was left alone";
    let expected = [&here, "model 0", &here, "model 0", denied, "freed 0.0 MB", "gc 0"];
    assert_eq!(expected, *lines, "{}", String::from_utf8_lossy(&output.stderr));
}
