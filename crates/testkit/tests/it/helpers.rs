//! What tests take besides servers.

use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::{alive_tasks, assert_tasks_end, measure};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_program_is_measured() {
    let mut command = Command::new("dd");
    command.args(["if=/dev/zero", "of=/dev/null", "bs=1M", "count=64"]).stderr(Stdio::null());
    let measured = measure(&mut command, LIMIT).unwrap();
    assert!(measured.status.success() && !measured.killed);
    assert!(measured.cpu() <= 2 * measured.wall + Duration::from_millis(50));
    let bytes = measured.bytes.expect("its own child's /proc can be read");
    assert!(64 << 20 <= bytes.read && 64 << 20 <= bytes.written, "{bytes:?}");
}

#[test]
fn peak_memory_is_that_of_this_child_alone() {
    let peak = |bytes: &str| {
        let mut command = Command::new("dd");
        let block = format!("bs={bytes}");
        command.args(["if=/dev/zero", "of=/dev/null", &block, "count=1"]).stderr(Stdio::null());
        measure(&mut command, LIMIT).unwrap().peak_rss_bytes
    };
    let large = peak("256M");
    assert!(256 << 20 <= large, "{large}");
    assert!(peak("1K") < 128 << 20, "a later and smaller child is not charged for it");
}

#[test]
fn a_program_that_takes_too_long_is_killed() {
    let measured = measure(Command::new("sleep").arg("60"), Duration::from_millis(20)).unwrap();
    assert!(measured.killed && !measured.status.success());
    assert!(measured.wall < LIMIT);
}

#[tokio::test]
async fn tasks_that_end_are_waited_for() {
    let before = alive_tasks();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(stopped);
    assert_eq!(before + 1, alive_tasks());
    drop(stop);
    assert_tasks_end(before).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "1 tasks are alive, expected at most 0")]
async fn a_task_that_sleeps_is_a_leak() {
    tokio::spawn(tokio::time::sleep(Duration::from_secs(1)));
    assert_tasks_end(0).await;
}
