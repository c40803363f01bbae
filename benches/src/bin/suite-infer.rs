//! The suite `infer`: the requirement families on models of the zoo, one case for each demand; and the
//! errors of the instrument that listens to streams of tokens.
//!
//! Models have synthetic weights: times and memory are true, what they see is nothing. Leaks and what
//! stays behind are looked for with the smallest pictures, where a repetition costs least.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use benches::stream_ground_truth;
use benches::suite::{self, Case, Context, Mode};
use inference_bench::vision::zoo::{self, MODELS, Model, Normalization};
use inference_bench::vision::{
    self, EngineKind, Facts, Family, Figures, Observer, Plan, Step, Subject, Targets, judge,
    measure,
};
use inference_bench::{CaseRecord, Limit, Verdict};
use memory::heap::{CountingAllocator, keep_freed, trim_c_heap};

#[global_allocator]
static HEAP: CountingAllocator = CountingAllocator::system();

/// What quick mode measures.
const QUICK: [&str; 3] = ["yolo11n", "yolo11s", "yolo12n"];
/// The side of the smallest pictures that models are made for, in pixels.
const SMALL: u64 = 64;
/// The most that may stand around the model, in percent of its time, with pictures in full HD.
const AROUND_PCT_MAX: f64 = 10.0;
/// Freed memory that stays for the next inference, as in the program.
const KEPT_BYTES: usize = 512 << 20;
/// Time of one family in comprehensive mode: a model has nine cases, and 45 seconds.
const FAMILY_TIME_MAX: Duration = Duration::from_secs(5);

/// The demands: the case of a judged model, the family that measures it, and the seconds that it takes of
/// each GFLOP of the model.
const DEMANDS: [(&str, Family, f64, &str); 9] = [
    ("load", Family::Load, 0.01, "model loading"),
    ("real_time", Family::RealTime, 0.26, "test_single_inference_real_time_performance"),
    (
        "real_time/around_share",
        Family::RealTime,
        0.26,
        "test_single_inference_real_time_performance",
    ),
    ("pictures", Family::Pictures, 0.14, "image sizes and content"),
    ("throughput", Family::Batch, 0.16, "batch processing"),
    ("memory", Family::Memory, 0.08, "memory per inference"),
    ("concurrent", Family::Concurrent, 0.2, "concurrent load"),
    ("leak", Family::Leak, 0.05, "test_memory_leak_detection"),
    ("cleanup", Family::Cleanup, 0.02, "resource cleanup"),
];

fn main() -> ExitCode {
    stream_ground_truth::work_if_told();
    keep_freed(KEPT_BYTES);
    // Which cases there are depends on the mode, and `list` is told it, too.
    let is_long = std::env::args().any(|word| word == "comprehensive" || word == "stress");
    let models = MODELS.iter().filter(|model| is_long || QUICK.contains(&model.name));
    let mut cases: Vec<Case> = models.flat_map(cases).collect();
    cases.extend(stream_ground_truth::cases());
    suite::main(&cases)
}

fn cases(model: &'static Model) -> impl Iterator<Item = Case> {
    DEMANDS.into_iter().map(move |(demand, family, expected_s, seed_case)| {
        let name = format!("{}/{demand}", model.name);
        let expected_s = 0.3 + expected_s * model.gflops;
        Case::new(&name, seed_case, expected_s, move |context| run(context, model, demand, family))
    })
}

fn run(context: &Context, model: &Model, demand: &str, family: Family) -> CaseRecord {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // One side of a pair, and a smoke test, are no measurements.
    let side = if context.mode == Mode::Pair { SMALL } else { zoo::SIZE };
    let graph = model.graph(side, context.seed, Normalization::Fused).expect("the side fits");
    let facts = Facts {
        name: model.name.to_owned(),
        variant: Some(model.variant),
        gflops: Some(graph.counts().gflops()),
        is_synthetic: true,
    };
    let subject = Subject {
        facts,
        file: generate(folder.path(), model, side, context.seed),
        small_file: Some(generate(folder.path(), model, SMALL, context.seed)),
        side: side as usize,
    };
    let plan = plan(context, family);
    let figures = measure(&subject, &EngineKind::Rten, &plan, &mut Quiet);
    let figures = figures.expect("a model of the zoo loads and runs");
    let mut record = record(&figures, demand);
    if context.mode == Mode::Pair && record.verdict != Verdict::Invalid {
        record.withdraw(Verdict::Reported, "too short to be judged");
    }
    record
}

fn generate(folder: &Path, model: &Model, side: u64, seed: u64) -> PathBuf {
    let path = folder.join(format!("{side}.onnx"));
    let graph = model.graph(side, seed, Normalization::Fused).expect("the side fits");
    let mut file = BufWriter::new(File::create(&path).expect("the folder is ours"));
    graph.write(&mut file).and_then(|()| file.flush()).expect("the disk has room");
    path
}

fn plan(context: &Context, family: Family) -> Plan {
    let mut plan = Plan::new(match context.mode {
        Mode::Pair | Mode::Quick => vision::Mode::Quick,
        Mode::Comprehensive => vision::Mode::Comprehensive,
        Mode::Stress => vision::Mode::Stress,
    });
    plan.families = vec![family];
    plan.seed = context.seed;
    if context.mode != Mode::Stress {
        plan.family_time_max = FAMILY_TIME_MAX;
    }
    if context.mode == Mode::Pair {
        (plan.singles, plan.batch, plan.at_once, plan.repeats) = (2, 2, 2, 5);
        plan.pictures.truncate(2);
    }
    plan
}

/// The case of this demand; invalid where anything failed on the way.
fn record(figures: &Figures, demand: &str) -> CaseRecord {
    let judged = judge(figures, &Targets::default());
    let of = |demand: &str| {
        let name = format!("{}/{demand}", figures.facts.name);
        judged.cases.iter().find(|case| case.case == name).cloned()
    };
    let mut record = of(demand).unwrap_or_else(|| {
        let mut record = CaseRecord::new(demand, "");
        record.withdraw(Verdict::Invalid, "nothing was measured");
        record
    });
    if demand.ends_with("around_share") && record.value.is_some() {
        record.judge(Limit::at_most(AROUND_PCT_MAX));
    }
    if let Some(memory) = of("batch_memory").filter(|_| demand == "throughput") {
        carry(&mut record, &memory);
    }
    if let Some(words) = figures.failures.first() {
        record.withdraw(Verdict::Invalid, words);
    }
    record
}

/// A batch has two demands, and is measured once: what it peaks at stands beside its speed, and fails it too.
fn carry(record: &mut CaseRecord, memory: &CaseRecord) {
    record.beside.extend(memory.value.map(|mib| ("batch_memory_mib".to_owned(), mib)));
    if memory.verdict == Verdict::Fail {
        let reason = memory.reason.clone().unwrap_or_default();
        record.withdraw(Verdict::Fail, format!("the memory of the batch: {reason}"));
    }
}

struct Quiet;

impl Observer for Quiet {
    fn live_bytes(&self) -> Option<u64> {
        Some(HEAP.counts().live_bytes)
    }

    fn trim(&self) {
        trim_c_heap();
    }

    fn step(&mut self, _: Step) {}

    fn family(&mut self, _: &Figures) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_takes_too_much_memory_fails_however_fast_it_is() {
        let judged = |unit: &str, value: f64, limit: Limit| {
            let mut record = CaseRecord::new("", unit);
            record.value = Some(value);
            record.judge(limit);
            record
        };
        let mut speed = judged("images/s", 30.0, Limit::at_least(20.0));
        carry(&mut speed, &judged("MiB", 300.0, Limit::at_most(4096.0)));
        assert_eq!((Verdict::Pass, 300.0), (speed.verdict, speed.beside["batch_memory_mib"]));
        carry(&mut speed, &judged("MiB", 5000.0, Limit::at_most(4096.0)));
        assert_eq!(Verdict::Fail, speed.verdict);
    }
}
