//! What a hub says, read as raw bytes; the real client is asked by `xtask/scripts/hub-client`.

use serde_json::Value;
use testkit::{Hub, HubFile, HubOptions, HubRateLimit, HubRepo, StartError};

use crate::wire::{Received, request};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// Of `{}`, by git.
const CONFIG_ETAG: &str = "\"9e26dfeeb6e641a33dae4961196235bdb965b21b\"";

fn repo(id: &str) -> HubRepo {
    HubRepo::new(id, COMMIT).with(HubFile::text("config.json", "{}")).with(HubFile::blob(
        "weights/model.bin",
        10_000,
        5,
    ))
}

fn options(repos: Vec<HubRepo>) -> HubOptions {
    HubOptions { repos, ..HubOptions::default() }
}

fn hub() -> Hub {
    Hub::start(options(vec![repo("org/a")])).unwrap()
}

fn get(hub: &Hub, path: &str, headers: &[&str]) -> Received {
    request(hub.origin().address(), "GET", path, headers, "")
}

fn json(received: &Received) -> Value {
    assert_eq!(200, received.status(), "{}", received.text());
    serde_json::from_slice(&received.body).unwrap()
}

/// Asks the content network by a URL that the hub gave.
fn follow(hub: &Hub, location: &str, headers: &[&str]) -> Received {
    let cdn = hub.cdn().unwrap();
    let path = location.strip_prefix(&cdn.url("")).expect("it leads to the content network");
    request(cdn.address(), "GET", path, headers, "")
}

#[test]
fn a_repository_is_described_at_its_commit() {
    let hub = hub();
    for path in ["", "/revision/main", &format!("/revision/{COMMIT}")] {
        let about = json(&get(&hub, &format!("/api/models/org/a{path}"), &[]));
        assert_eq!((Some("org/a"), Some(COMMIT)), (about["id"].as_str(), about["sha"].as_str()));
        assert_eq!("config.json", about["siblings"][0]["rfilename"]);
    }
    let about = json(&get(&hub, "/api/models/org/a?blobs=true", &[]));
    assert_eq!(10_000, about["siblings"][1]["lfs"]["size"]);
}

#[test]
fn a_listing_may_have_its_digests_in_capitals() {
    let hub = HubOptions { upper_case_digests: true, ..options(vec![repo("a")]) };
    let hub = Hub::start(hub).unwrap();
    let listing = json(&get(&hub, "/api/models/a/tree/main?recursive=true", &[]));
    let large = listing.as_array().unwrap().iter().find(|entry| entry["lfs"].is_object()).unwrap();
    let told = large["lfs"]["oid"].as_str().unwrap();
    let etag = get(&hub, "/a/resolve/main/weights/model.bin", &[]);
    assert_eq!(Some(&*format!("\"{}\"", told.to_lowercase())), etag.header("X-Linked-Etag"));
    assert_eq!(told.to_uppercase(), told);
}

#[test]
fn listings_come_in_pages_that_name_the_next() {
    let hub = Hub::start(HubOptions { page_size: 2, ..options(vec![repo("a")]) }).unwrap();
    let first = get(&hub, "/api/models/a/tree/main?recursive=true", &[]);
    let link = first.header("Link").expect("there are three entries");
    let next = link.strip_prefix("<http://localhost").and_then(|link| link.split('>').next());
    assert!(link.ends_with("; rel=\"next\""), "{link}");
    let second = get(&hub, next.expect("it is of the host that was asked"), &[]);
    assert_eq!(None, second.header("Link"));
    let entries =
        [json(&first), json(&second)].map(|page| page.as_array().unwrap().clone()).concat();
    let paths: Vec<_> = entries.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(["weights", "config.json", "weights/model.bin"], *paths);
    assert_eq!(
        (2, "directory".into()),
        (entries[1]["size"].as_u64().unwrap(), entries[0]["type"].clone())
    );
    assert_eq!(64, entries[2]["lfs"]["oid"].as_str().unwrap().len());
}

#[test]
fn small_files_are_redirected_within_the_hub() {
    let hub = hub();
    let resolved = get(&hub, "/org/a/resolve/main/config.json", &[]);
    assert_eq!((307, Some(COMMIT)), (resolved.status(), resolved.header("X-Repo-Commit")));
    assert_eq!(Some(CONFIG_ETAG), resolved.header("X-Linked-Etag"));
    let served = get(&hub, resolved.header("Location").unwrap(), &[]);
    assert_eq!((200, "{}"), (served.status(), served.text()));
    assert_eq!(
        (Some(CONFIG_ETAG), Some(COMMIT)),
        (served.header("ETag"), served.header("X-Repo-Commit"))
    );
}

#[test]
fn large_files_lie_at_the_other_origin_under_urls_that_expire() {
    let hub = hub();
    let path = "/org/a/resolve/main/weights/model.bin";
    let resolved = get(&hub, path, &["Authorization: Bearer t"]);
    assert_eq!((302, Some("10000")), (resolved.status(), resolved.header("X-Linked-Size")));
    let location = resolved.header("Location").unwrap();
    let part = follow(&hub, location, &["Range: bytes=10-19"]);
    assert_eq!((206, 10), (part.status(), part.body.len()));
    assert_eq!(resolved.header("X-Linked-Etag"), part.header("ETag"));
    assert_eq!(403, follow(&hub, location.split('?').next().unwrap(), &[]).status());
    assert_eq!(403, follow(&hub, &location.replace("model", "other"), &[]).status());
    assert_ne!(Some(location), get(&hub, path, &[]).header("Location"), "each is another one");

    let expired =
        HubOptions { signed_ttl: std::time::Duration::ZERO, ..options(vec![repo("org/a")]) };
    let hub = Hub::start(expired).unwrap();
    let resolved = get(&hub, path, &[]);
    assert_eq!(403, follow(&hub, resolved.header("Location").unwrap(), &[]).status());
}

#[test]
fn a_hub_without_content_network_serves_large_files_itself() {
    let hub = Hub::start(HubOptions { cdn: false, ..options(vec![repo("org/a")]) }).unwrap();
    let served = get(&hub, "/org/a/resolve/main/weights/model.bin", &["Range: bytes=-5"]);
    assert_eq!((206, Some(COMMIT)), (served.status(), served.header("X-Repo-Commit")));
    assert!(hub.cdn().is_none());
}

#[track_caller]
fn check_refused(hub: &Hub, path: &str, token: Option<&str>, expected: (u16, &str)) {
    let header = token.map(|token| format!("Authorization: Bearer {token}"));
    let received = get(hub, path, &header.as_deref().into_iter().collect::<Vec<_>>());
    let code = received.header("X-Error-Code").unwrap_or_default();
    assert_eq!(expected, (received.status(), code), "{path}");
}

#[test]
fn refusals_carry_the_code_that_the_client_reads() {
    let gated = HubRepo { gated: true, token: Some("key".to_owned()), ..repo("org/gated") };
    let private = HubRepo { token: Some("key".to_owned()), ..repo("org/private") };
    let hub = Hub::start(options(vec![repo("org/a"), gated, private])).unwrap();
    check_refused(&hub, "/api/models/org/none/revision/main", None, (404, "RepoNotFound"));
    check_refused(&hub, "/org/none/resolve/main/x", None, (404, "RepoNotFound"));
    check_refused(&hub, "/org/a/resolve/dev/config.json", None, (404, "RevisionNotFound"));
    check_refused(&hub, "/org/a/resolve/main/none", None, (404, "EntryNotFound"));
    check_refused(&hub, "/api/models/org/a/tree/main/none", None, (404, "EntryNotFound"));
    let gated = "/org/gated/resolve/main/config.json";
    check_refused(&hub, gated, None, (401, "GatedRepo"));
    check_refused(&hub, gated, Some("other"), (403, "GatedRepo"));
    check_refused(&hub, gated, Some("key"), (307, ""));
    check_refused(&hub, "/api/models/org/gated", None, (200, ""));
    let private = "/api/models/org/private/tree/main";
    check_refused(&hub, private, None, (401, "RepoNotFound"));
    check_refused(&hub, private, Some("other"), (404, "RepoNotFound"));
    check_refused(&hub, private, Some("key"), (200, ""));

    let missing = get(&hub, "/org/a/resolve/main/none", &[]);
    assert_eq!(
        Some(COMMIT),
        missing.header("X-Repo-Commit"),
        "the client remembers that it is not there"
    );
    assert_eq!(
        405,
        request(hub.origin().address(), "POST", "/api/models/org/a", &[], "x").status()
    );
}

#[test]
fn above_the_quota_requests_are_refused_with_the_time_to_wait() {
    let limit = HubRateLimit { quota: 1, window: std::time::Duration::from_secs(300) };
    let hub =
        Hub::start(HubOptions { rate_limit: Some(limit), ..options(vec![repo("a")]) }).unwrap();
    let first = get(&hub, "/api/models/a", &[]);
    assert_eq!((200, Some("\"api\";r=0;t=300")), (first.status(), first.header("RateLimit")));
    let second = get(&hub, "/api/models/a", &[]);
    assert_eq!(429, second.status());
    assert_eq!(Some("\"fixed window\";\"api\";q=1;w=300"), second.header("RateLimit-Policy"));
}

#[test]
fn what_is_left_is_told_with_files_too() {
    let limit = HubRateLimit { quota: 9, window: std::time::Duration::from_secs(300) };
    let hub =
        Hub::start(HubOptions { rate_limit: Some(limit), ..options(vec![repo("org/a")]) }).unwrap();
    let way = get(&hub, "/org/a/resolve/main/config.json", &[]);
    let file = get(&hub, way.header("Location").unwrap(), &[]);
    assert_eq!((200, Some("\"api\";r=7;t=300")), (file.status(), file.header("RateLimit")));
}

#[test]
fn a_hundred_thousand_files_are_listed() {
    let mut large = HubRepo::new("large", COMMIT);
    large.files = (0..100_000).map(|n| HubFile::blob(format!("f/{n:06}"), 8, n)).collect();
    let hub = Hub::start(options(vec![large])).unwrap();
    let last = get(&hub, "/api/models/large/tree/main?recursive=true&cursor=100000", &[]);
    let last = json(&last);
    assert_eq!((1, Some("f/099999")), (last.as_array().unwrap().len(), last[0]["path"].as_str()));
}

#[test]
fn descriptions_that_make_no_sense_are_refused() {
    let refused = |options| match Hub::start(options) {
        Err(StartError::Setting(what)) => what,
        other => panic!("{other:?}"),
    };
    let no_page = HubOptions { page_size: 0, ..HubOptions::default() };
    assert!(refused(no_page).contains("page"));
    assert!(refused(options(vec![HubRepo::new("a/b/c", COMMIT)])).contains("`a/b/c`"));
}
