//! The cases of the suite `download` that are about models.

use std::time::Instant;

use inference_bench::{CaseRecord, Limit, Verdict};
use testkit::{HubFile, HubRepo};

use crate::download_world::options;
use crate::model_world::{COMMIT, ModelWorld, bring, models, run};
use crate::suite::{Case, Context};

/// How long a finished model may take that is asked for again.
const AGAIN_MS_MAX: f64 = 50.0;
/// Parts that two connections had, where one was slow, count too.
const TRANSFERS_MAX: f64 = 1.2;
/// How often transfers are counted that seem too many.
const COUNTS_MAX: usize = 3;
const MB: u64 = 1_000_000;

/// The cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("models/one_transfer", "test_lock_contention_performance", 0.3, one_transfer),
        Case::new("models/shared_bytes", "test_concurrent_model_requests", 0.3, shared_bytes),
        Case::new("models/again", "_benchmark_queue_management", 0.2, again),
        Case::new("models/unverified_bytes", "_benchmark_error_recovery", 0.5, unverified),
    ]
}

fn model(id: &str, seed: u64) -> HubRepo {
    HubRepo::new(id, COMMIT).with(HubFile::text("config.json", "{}")).with(HubFile::blob(
        "model.safetensors",
        8 * MB,
        seed,
    ))
}

fn judged(unit: &str, value: f64, limit: Limit, context: &Context) -> CaseRecord {
    context.mode.judged(unit, value, 1, Some(limit))
}

/// Bytes that left the hub's content network, in sizes of the file.
fn transfers(world: &ModelWorld) -> f64 {
    let sent = world.hub.cdn().expect("it has one").stats().sent_bytes;
    sent as f64 / (8 * MB) as f64
}

/// What `count` finds, or the least of a few counts. What a connection that is cut leaves unread in the kernel
/// was sent, too: up to a fifth of a file this small, by chance. A second transfer is there each time.
fn least(count: fn() -> f64) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..COUNTS_MAX {
        least = least.min(count());
        if least <= TRANSFERS_MAX {
            break;
        }
    }
    least
}

/// Sixteen tasks ask for one model.
fn one_transfer(context: &Context) -> CaseRecord {
    judged("transfers", least(for_sixteen_tasks), Limit::at_most(TRANSFERS_MAX), context)
}

fn for_sixteen_tasks() -> f64 {
    let world = ModelWorld::new(vec![model("org/a", 1)]);
    run(async {
        let models = models(world.url(), world.cache(), options(20));
        let spec = "org/a".parse().expect("a name");
        let asked = (0..16).map(|_| models.ensure(&spec, |_| {}));
        let here = futures::future::join_all(asked).await;
        assert!(here.iter().all(Result::is_ok), "{here:?}");
    });
    transfers(&world)
}

/// Eight models with the same weights.
fn shared_bytes(context: &Context) -> CaseRecord {
    judged("transfers", least(for_eight_models), Limit::at_most(TRANSFERS_MAX), context)
}

fn for_eight_models() -> f64 {
    let names: Vec<_> = (0..8).map(|k| format!("org/m{k}")).collect();
    let world = ModelWorld::new(names.iter().map(|name| model(name, 1)).collect());
    let specs = names.iter().map(|name| name.parse().expect("a name")).collect();
    let (_, failed) =
        run(async { bring(models(world.url(), world.cache(), options(20)), specs, 4).await });
    assert_eq!(0, failed, "models failed");
    transfers(&world)
}

/// How long a finished model takes, of two hundred files; the slowest of ten times.
fn again(context: &Context) -> CaseRecord {
    let files = (0..200).fold(HubRepo::new("org/a", COMMIT), |repo, k| {
        repo.with(HubFile::text(format!("part-{k}.json"), format!("{k}")))
    });
    let world = ModelWorld::new(vec![files]);
    let (slowest, requests) = run(async {
        let models = models(world.url(), world.cache(), options(20));
        let spec = "org/a".parse().expect("a name");
        models.ensure(&spec, |_| {}).await.expect("the model is there");
        world.hub.origin().reset();
        let mut slowest = 0.0_f64;
        for _ in 0..10 {
            let start = Instant::now();
            models.ensure(&spec, |_| {}).await.expect("the model is here");
            slowest = slowest.max(start.elapsed().as_secs_f64() * 1e3);
        }
        (slowest, world.hub.origin().stats().requests)
    });
    let mut record = judged("ms", slowest, Limit::at_most(AGAIN_MS_MAX), context);
    record.beside.insert("requests_each".to_owned(), requests as f64 / 10.0);
    record
}

/// Bytes of files that are here and not what the hub listed, where one answer in ten fails and bytes
/// are flipped.
fn unverified(context: &Context) -> CaseRecord {
    let names: Vec<_> = (0..6).map(|k| format!("org/m{k}")).collect();
    let world =
        ModelWorld::new(names.iter().enumerate().map(|(k, name)| model(name, k as u64)).collect());
    let cdn = world.hub.cdn().expect("it has one");
    cdn.update(|settings| {
        settings.error_rate = 0.1;
        settings.faults = vec!["flip#2..3:at=70000".parse().expect("a rule")];
    });
    let specs = names.iter().map(|name| name.parse().expect("a name")).collect();
    let (_, failed) =
        run(async { bring(models(world.url(), world.cache(), options(8)), specs, 4).await });
    let found = download::verify(world.cache()).expect("a cache");
    let wrong: usize = found.iter().map(|model| model.findings.len()).sum();
    let mut record = judged("wrong files", wrong as f64, Limit::at_most(0.0), context);
    record.beside.insert("models_failed".to_owned(), failed as f64);
    if failed == names.len() {
        record.withdraw(Verdict::Invalid, "no model came at all: nothing was there to be wrong");
    }
    record
}
