//! Going on where an earlier attempt ended.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use download::{ErrorKind, How};

use crate::world::{SIZE, World, fetch, options};

/// Fetches until the server refuses after `n` requests, then again from a polite one.
fn interrupted_after(n: u32, with_digest: bool) -> (World, download::Fetched) {
    let world = World::new(&[]);
    let rule = format!("status=404#{n}..");
    world.origin.update(|settings| settings.faults = vec![rule.parse().expect("a rule")]);
    let error = fetch(&world.job(with_digest), &options(), |_| ()).unwrap_err();
    assert_eq!((ErrorKind::NotFound, None), (error.kind(), world.is_right()));
    world.origin.update(|settings| settings.faults.clear());
    world.origin.reset();
    let fetched = fetch(&world.job(with_digest), &options(), |_| ()).unwrap();
    (world, fetched)
}

#[test]
fn what_is_here_is_not_fetched_again() {
    for with_digest in [true, false] {
        let (world, fetched) = interrupted_after(8, with_digest);
        assert_eq!((Some(true), How::Resumed), (world.is_right(), fetched.how));
        let sent = world.origin.stats().sent_bytes;
        assert!(sent < SIZE, "{sent} of {SIZE} bytes were sent again");
        assert_eq!(["file"], *world.names());
    }
}

#[test]
fn bytes_of_another_object_are_not_kept() {
    let world = World::new(&["status=404#8.."]);
    fetch(&world.job(false), &options(), |_| ()).unwrap_err();
    // The same name, another mark: as after an upload of a new version.
    world.origin.update(|settings| {
        settings.faults = vec!["etag".parse().expect("a rule")];
    });
    let fetched = fetch(&world.job(false), &options(), |_| ()).unwrap();
    assert_eq!((Some(true), How::Fetched), (world.is_right(), fetched.how));
}

/// Premise: the server has lost its mark for good, and knows no ranges any more.
#[test]
fn what_can_never_be_gone_on_with_is_begun_anew() {
    for with_digest in [true, false] {
        let world = World::new(&["status=404#8.."]);
        fetch(&world.job(with_digest), &options(), |_| ()).unwrap_err();
        let faults = ["etag=none", "ignore-range"].map(|rule| rule.parse().expect("a rule"));
        world.origin.update(|settings| settings.faults = faults.to_vec());
        let fetched = fetch(&world.job(with_digest), &options(), |_| ()).unwrap();
        assert_eq!((Some(true), How::Fetched), (world.is_right(), fetched.how));
        assert_eq!(["file"], *world.names());
    }
}

#[test]
fn another_number_of_connections_changes_nothing() {
    let world = World::new(&["status=404#6.."]);
    fetch(&world.job(true), &options(), |_| ()).unwrap_err();
    world.origin.update(|settings| settings.faults.clear());
    let one = download::FetchOptions { connections_max: 1, ..options() };
    let fetched = fetch(&world.job(true), &one, |_| ()).unwrap();
    assert_eq!((Some(true), How::Resumed), (world.is_right(), fetched.how));
}

/// More than the lag is here and none of it is hashed, as after a kill before the hash was claimed: the first
/// answer is used, and nothing holds its connection for ever.
#[test]
fn what_is_here_may_be_far_ahead_of_the_hash() {
    let size = 20 << 20;
    let world = World::of_size(size, &["status=404#74.."]);
    let one = download::FetchOptions { connections_max: 1, ..options() };
    fetch(&world.job(true), &one, |_| ()).unwrap_err();
    was_touched(&part_of(&world));
    let brought = world.origin.stats().sent_bytes;
    assert!((16 << 20) < brought, "{brought} B are no more than the lag");
    world.origin.update(|settings| settings.faults.clear());
    let fetched = fetch(&world.job(true), &one, |_| ()).unwrap();
    assert_eq!((Some(true), How::Resumed), (world.is_right(), fetched.how));
    let repeated = world.origin.stats().sent_bytes - size;
    assert!(repeated < 1024, "{repeated} B more than the file and a refusal have");
}

fn part_of(world: &World) -> PathBuf {
    let names = world.names();
    let part = names.iter().find(|name| name.ends_with(".part")).unwrap();
    world.target().with_file_name(part)
}

/// As by a hand that needs longer than the file system's clock ticks: what was hashed is not trusted.
fn was_touched(part: &Path) {
    let later = SystemTime::now() + Duration::from_secs(10);
    std::fs::File::options().write(true).open(part).unwrap().set_modified(later).unwrap();
}

/// The seed of all corruption: a journal that speaks of bytes that are not there.
#[test]
fn a_part_that_was_tampered_with_is_caught_by_the_digest() {
    let world = World::new(&["status=404#8.."]);
    fetch(&world.job(true), &options(), |_| ()).unwrap_err();
    let part = part_of(&world);
    let mut bytes = std::fs::read(&part).unwrap();
    let middle = bytes.len() / 2;
    bytes[..middle].fill(0);
    std::fs::write(&part, bytes).unwrap();
    was_touched(&part);
    world.origin.update(|settings| settings.faults.clear());
    fetch(&world.job(true), &options(), |_| ()).unwrap();
    assert_eq!(Some(true), world.is_right());
}
