//! The suite `scale`: many connections, many files, many models. Cost is to be linear, memory bounded.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use benches::Meter;
use benches::download_world::{World, options};
use benches::model_world::{COMMIT, ModelWorld, bring, models, run, small_model};
use benches::suite::{self, Case, Context, Mode};
use download::{History, Learnt, ModelSpec};
use inference_bench::{CaseRecord, Limit, Verdict};
use streaming_server::raise_open_files;
use testkit::{HubFile, HubRepo};

/// How long the plan of a hundred thousand files may take.
const PLAN_S_MAX: f64 = 3.0;
/// The peak of a process that plans them.
const PLAN_BYTES_MAX: f64 = 150.0 * (1 << 20) as f64;
/// What is called linear: the cost of each of many, over that of each of a tenth as many.
const GROWTH_MAX: f64 = 1.5;
/// Runs this program as one that plans, so that its memory is its own.
const PLANNER: &str = "plan-model";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, url] = &*arguments
        && word == PLANNER
    {
        return plan(url);
    }
    let manifest_case = "test_large_manifest_performance";
    suite::main(&[
        Case::new("connections/most", "test_maximum_concurrent_downloads", 1.0, connections),
        Case::new("manifest/10000", manifest_case, 0.5, |c| manifest(c, 10_000)),
        Case::new("manifest/100000", manifest_case, 3.0, |c| manifest(c, 100_000)),
        Case::new("manifest/memory_100000", manifest_case, 3.0, manifest_memory),
        Case::new("manifest/growth", manifest_case, 3.5, manifest_growth),
        Case::new("models/1000_queued", "_benchmark_scalability", 3.0, queued),
    ])
}

/// Smaller where only the answers count.
fn scaled(mode: Mode, count: usize) -> usize {
    if mode == Mode::Pair { count / 100 } else { count }
}

/// Files that are wrong over hundreds of connections to one origin, each answer 20 ms away.
fn connections(context: &Context) -> CaseRecord {
    // Both ends of each, and the files: more than many systems begin with.
    raise_open_files().expect("limits can be read");
    let most = scaled(context.mode, 500).max(20);
    let world = World::new(&[20_000], 4 * most);
    world.set(|settings| settings.latency = Duration::from_millis(20));
    // As if an earlier run had learnt that so many serve best: by itself it opens as many as pay.
    let mut history = History::default();
    history.learn(&world.origin.url(""), Learnt { connections: most, bytes_per_s: 0, learnt_s: 0 });
    let options = download::FetchOptions { files_max: most, history, ..options(most) };
    let brought = world.fetch(options);
    let wrong = world.wrong(&brought) as f64;
    let mut record = context.mode.judged("wrong files", wrong, 1, Some(Limit::at_most(0.0)));
    let open_at_once = world.origin.stats().connections.max_open;
    record.beside.insert("connections_open_at_once".to_owned(), open_at_once as f64);
    record.beside.insert("files_per_s".to_owned(), 4.0 * most as f64 / brought.wall.as_secs_f64());
    if (open_at_once as usize) < most * 9 / 10 {
        let reason = format!("{open_at_once} connections were open at once, and not {most}");
        record.withdraw(Verdict::Invalid, reason);
    }
    record
}

fn many_files(count: usize) -> HubRepo {
    (0..count).fold(HubRepo::new("org/many", COMMIT), |repo, k| {
        repo.with(HubFile::text(format!("folder-{}/file-{k}.json", k / 1000), ""))
    })
}

/// What a planning process tells of itself.
#[derive(Debug)]
struct Planned {
    wall_s: f64,
    cpu_s: f64,
    peak_bytes: f64,
}

/// Plans the model of so many files in a process of its own.
fn planned(count: usize) -> Planned {
    let world = ModelWorld::new(vec![many_files(count)]);
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(program).args([PLANNER, &world.hub.url()]).output();
    let output = output.expect("this program can be run again");
    let text = String::from_utf8_lossy(&output.stdout);
    let told: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let &[files, wall_s, cpu_s, peak_bytes] = &*told else {
        panic!("the planner failed: {text} {}", String::from_utf8_lossy(&output.stderr));
    };
    assert_eq!(count as f64, files, "files of the plan");
    Planned { wall_s, cpu_s, peak_bytes }
}

/// The planning process: prints the files, seconds and bytes that it took.
fn plan(url: &str) -> ExitCode {
    let meter = Meter::start();
    let start = Instant::now();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = run(async {
        let url = url.parse().expect("the address of a hub");
        let spec: ModelSpec = "org/many".parse().expect("a name");
        models(url, folder.path(), options(20)).plan(&spec, |_| {}).await
    });
    let wall_s = start.elapsed().as_secs_f64();
    let cost = meter.cost();
    let (cpu_s, peak) = (cost.cpu.as_secs_f64(), cost.peak_rss_bytes.unwrap_or(u64::MAX));
    let files = here.map_or(0, |here| here.files.len());
    // The reader has gone: then nobody wants to know.
    let _ = writeln!(std::io::stdout(), "{files} {wall_s} {cpu_s} {peak}");
    ExitCode::SUCCESS
}

fn manifest(context: &Context, count: usize) -> CaseRecord {
    let Planned { wall_s, peak_bytes, .. } = planned(scaled(context.mode, count));
    let mut record = context.mode.judged("s", wall_s, 1, Some(Limit::at_most(PLAN_S_MAX)));
    record.beside.insert("peak_rss_bytes".to_owned(), peak_bytes);
    record
}

fn manifest_memory(context: &Context) -> CaseRecord {
    let Planned { peak_bytes, .. } = planned(scaled(context.mode, 100_000));
    context.mode.judged("B", peak_bytes, 1, Some(Limit::at_most(PLAN_BYTES_MAX)))
}

/// CPU seconds of the planning process per file of many, over those of a tenth as many. Not wall time: the
/// emulated hub counts through its listing for each page.
fn manifest_growth(context: &Context) -> CaseRecord {
    let count = scaled(context.mode, 100_000);
    let each = |count: usize| planned(count).cpu_s / count as f64;
    context.mode.judged("x", each(count) / each(count / 10), 1, Some(Limit::at_most(GROWTH_MAX)))
}

/// Seconds per model of a thousand in the line, over those of a hundred; beside it, when all are here
/// already.
fn queued(context: &Context) -> CaseRecord {
    let count = scaled(context.mode, 1000);
    let each = |count: usize| {
        let world = ModelWorld::new((0..count).map(small_model).collect());
        let specs = || (0..count).map(|k| format!("org/m{k}").parse().expect("a name")).collect();
        run(async {
            let models = models(world.url(), world.cache(), options(20));
            let (first, failed) = bring(models.clone(), specs(), 4).await;
            assert_eq!(0, failed, "models failed");
            let (again, failed) = bring(models, specs(), 4).await;
            assert_eq!(0, failed, "models failed");
            (first.as_secs_f64() / count as f64, again.as_secs_f64() / count as f64)
        })
    };
    let ((few, _), (many, again)) = (each((count / 10).max(1)), each(count));
    let mut record = context.mode.judged("x", many / few, 1, Some(Limit::at_most(GROWTH_MAX)));
    record.beside.insert("model_us".to_owned(), many * 1e6);
    record.beside.insert("finished_model_us".to_owned(), again * 1e6);
    record
}
