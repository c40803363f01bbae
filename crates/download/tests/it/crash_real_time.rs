//! Processes that are killed at any instant, alone and beside others.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::{Blob, Options, Origin};

/// How often the one process is killed; `DOWNLOAD_CRASHES=500` for the long run.
fn crashes() -> u64 {
    std::env::var("DOWNLOAD_CRASHES").ok().and_then(|text| text.parse().ok()).unwrap_or(50)
}

const SIZE: u64 = 256 << 20;
const PART: u64 = 1 << 20;

struct Stage {
    origin: Origin,
    blob: Blob,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new(size: u64, bandwidth: u64) -> Self {
        let blob = Blob::new("model", size, 11);
        let origin = Origin::start(Options { blobs: vec![blob.clone()], ..Options::default() });
        let origin = origin.unwrap();
        origin.update(|settings| settings.bandwidth = Some(bandwidth));
        Self { origin, blob, folder: tempfile::tempdir().unwrap() }
    }

    fn start(&self, connections: u64) -> Child {
        let target = self.folder.path().join("file");
        Command::new(env!("CARGO_BIN_EXE_download"))
            .args(["get", &format!("http://{}/model", self.origin.address())])
            .args([
                "--no-history",
                "--chunk-size",
                "1MiB",
                "--connections",
                &connections.to_string(),
            ])
            .args(["--sha256", &self.blob.digests().sha256, "-o"])
            .arg(target)
            .env_remove("HTTPS_PROXY")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Whether the file is there; one that is wrong ends the test.
    fn is_there(&self) -> bool {
        let Ok(bytes) = std::fs::read(self.folder.path().join("file")) else { return false };
        let mut expected = vec![0; self.blob.size() as usize];
        self.blob.fill(0, &mut expected);
        assert!(bytes == expected, "a wrong file was published");
        true
    }

    fn names(&self) -> usize {
        self.folder.path().read_dir().unwrap().count()
    }
}

/// Whether a process ends well, within a time that no right transfer needs.
fn succeeds(child: &mut Child) -> bool {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        if end <= Instant::now() {
            child.kill().unwrap();
            panic!("a process hangs");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Numbers that look drawn, and are the same in each run.
fn draw(seed: u64) -> u64 {
    let mixed = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33
}

#[test]
fn killed_again_and_again_it_fetches_nothing_twice_but_what_was_on_its_way() {
    // So slow that all the kills happen, each after up to 0.2 s of work.
    let bandwidth = SIZE * 10 / crashes().max(10);
    let stage = Stage::new(SIZE, bandwidth);
    let (mut kills, mut may_repeat) = (0, 0);
    for round in 0.. {
        let connections = 1 + draw(round) % 8;
        let mut child = stage.start(connections);
        if crashes() <= kills {
            assert!(succeeds(&mut child));
            break;
        }
        std::thread::sleep(Duration::from_millis(draw(round + 1000) % 200));
        let had_ended = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        if stage.is_there() || had_ended {
            break;
        }
        kills += 1;
        may_repeat += connections * PART;
    }
    assert!(stage.is_there());
    assert_eq!(1, stage.names(), "nothing else is left");
    let repeated = stage.origin.stats().sent_bytes - SIZE;
    assert!(repeated <= may_repeat + 8 * PART, "{repeated} bytes twice, {may_repeat} by the kills");
    assert!(crashes() / 4 < kills, "{kills} kills");
    eprintln!("{kills} kills, {repeated} bytes fetched twice, at most {may_repeat} allowed");
}

#[test]
fn what_was_written_before_a_kill_is_not_fetched_again() {
    let size = 32 << 20;
    let stage = Stage::new(size, 32 << 20);
    let mut child = stage.start(2);
    while stage.origin.stats().sent_bytes < size / 2 {
        assert!(child.try_wait().unwrap().is_none(), "it ended too early");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(succeeds(&mut stage.start(2)));
    assert!(stage.is_there());
    let repeated = stage.origin.stats().sent_bytes - size;
    assert!(repeated <= 4 * PART, "{repeated} bytes twice");
}

/// Two and eight processes for one target, some of them killed.
#[test]
fn processes_that_want_the_same_file_fetch_it_once() {
    for processes in [2, 8] {
        let size = 32 << 20;
        let stage = Stage::new(size, 32 << 20);
        let mut children: Vec<_> = (0..processes).map(|k| stage.start(1 + draw(k) % 8)).collect();
        let mut kills = 0;
        for (k, child) in children.iter_mut().enumerate().skip(processes as usize / 2) {
            std::thread::sleep(Duration::from_millis(draw(k as u64) % 150));
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            stage.is_there();
        }
        for child in children.iter_mut().take(processes as usize / 2) {
            assert!(succeeds(child));
        }
        assert!(stage.is_there());
        assert_eq!(1, stage.names(), "nothing else is left");
        let repeated = stage.origin.stats().sent_bytes.saturating_sub(size);
        // Each asks its first question before it sees the others; each kill may cost what was on its way.
        let allowed = processes * PART + kills * 8 * PART + 8 * PART;
        assert!(repeated <= allowed, "{processes} processes: {repeated} bytes twice of {allowed}");
        eprintln!("{processes} processes, {kills} kills: {repeated} bytes fetched twice");
    }
}
