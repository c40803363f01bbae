//! Each way in which a server can be wrong: the right file, or an error and no file.

use download::ErrorKind;

use crate::world::{World, fetch, options};

/// What must come of a fault.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// The right file.
    Right,
    /// An error of this kind, and nothing at the target.
    Refused(ErrorKind),
}

use Expected::{Refused, Right};

#[track_caller]
fn check(faults: &[&str], with_digest: bool, expected: Expected) {
    let world = World::new(faults);
    let result = fetch(&world.job(with_digest), &options(), |_| ());
    match (expected, &result) {
        (Right, Ok(_)) => {
            assert_eq!(Some(true), world.is_right(), "{faults:?}: {result:?}");
            assert_eq!(["file"], *world.names(), "{faults:?}: nothing else is left");
        }
        (Refused(kind), Err(error)) => {
            assert_eq!(kind, error.kind(), "{faults:?}: {error:?}");
            assert_eq!(None, world.is_right(), "{faults:?}");
        }
        _ => panic!("{faults:?}: {result:?}"),
    }
    let counted = world.origin.stats().faults;
    assert!(counted.values().all(|&n| 0 < n), "a fault was never injected: {counted:?}");
}

#[test]
fn a_polite_server_is_no_trouble() {
    check(&[], true, Right);
    check(&[], false, Right);
}

#[test]
fn connections_that_end_early_are_begun_again() {
    for rule in ["cut#1:at=1000", "cut#1..3:at=100000", "rst#1:at=1000", "rst#2:at=0"] {
        check(&[rule], true, Right);
        check(&[rule], false, Right);
    }
    check(&["half-close#1:at=1000"], true, Right);
}

#[test]
fn a_server_that_never_finishes_is_given_up() {
    check(&["cut:at=0"], true, Refused(ErrorKind::Network));
    check(&["rst:at=0"], true, Refused(ErrorKind::Network));
    check(&["hang"], true, Refused(ErrorKind::Network));
}

#[test]
fn stalls_end() {
    check(&["stall#1:at=1000"], true, Right);
    check(&["stall#2:at=0"], true, Right);
    check(&["hang#1"], true, Right);
}

#[test]
fn ranges_that_are_ignored_are_done_without() {
    check(&["ignore-range"], true, Right);
    check(&["ignore-range"], false, Right);
    check(&["ignore-range#2.."], true, Right);
    check(&["ignore-range#1"], true, Right);
}

#[test]
fn ranges_that_are_wrong_are_not_written() {
    check(&["wrong-range"], true, Right);
    check(&["wrong-range#3"], true, Right);
    check(&["wrong-range#3"], false, Right);
}

#[test]
fn an_object_that_changes_is_never_mixed() {
    check(&["etag#3.."], true, Right);
    check(&["etag#3.."], false, Right);
    check(&["swap#3..5"], true, Right);
    check(&["swap"], true, Refused(ErrorKind::Integrity));
}

#[test]
fn what_nothing_guards_comes_in_one_answer() {
    for etag in ["etag=none", "etag=weak"] {
        // The first answer is of another object, as if that had changed right after it.
        check(&[etag, "swap#1"], false, Right);
        check(&[etag], true, Right);
        check(&[etag, "cut#1:at=1000000"], false, Right);
    }
}

#[test]
fn a_mark_that_is_gone_ends_in_the_right_file() {
    check(&["etag=none#2.."], false, Right);
    check(&["etag=none#2.."], true, Right);
}

#[test]
fn a_flipped_bit_is_caught() {
    check(&["flip#1:at=5"], true, Right);
    check(&["flip:at=5"], true, Refused(ErrorKind::Integrity));
}

#[test]
fn an_encoding_that_nobody_asked_for_is_refused() {
    check(&["gzip"], true, Refused(ErrorKind::Network));
}

#[test]
fn lengths_that_lie_are_caught() {
    check(&["short=1000#1"], true, Right);
    check(&["long=1000#1"], true, Right);
}

#[test]
fn statuses_have_their_kinds() {
    check(&["status=404"], true, Refused(ErrorKind::NotFound));
    check(&["status=403"], true, Refused(ErrorKind::NotAllowed));
    check(&["status=500#1..3"], true, Right);
    check(&["status=503"], true, Refused(ErrorKind::Network));
    check(&["retry-after=0#1..2"], true, Right);
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    check(&["redirect-loop"], true, Refused(ErrorKind::Network));
}

#[test]
fn old_servers_will_do() {
    check(&["http10"], true, Right);
}
