//! A report with every kind of verdict in it, to see what each looks like.
//!
//! ```sh
//! cargo run -p inference-bench --example sample_report -- sample   # then open sample/report.html
//! ```

use std::error::Error;
use std::path::PathBuf;

use inference_bench::report::{Environment, Report, Run};
use inference_bench::stats::{Random, interval, median};
use inference_bench::{CaseRecord, Fingerprint, Limit, Verdict};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).map_or_else(|| PathBuf::from("sample"), PathBuf::from);
    let report = sample();
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("report.html"), report.to_html())?;
    std::fs::write(folder.join("report.json"), report.to_json())?;
    std::fs::write(folder.join("report.md"), report.to_markdown())?;
    Ok(())
}

fn sample() -> Report {
    let mut report = Report::new("sample", environment());
    report.command = vec!["perf".to_owned(), "--mode".to_owned(), "quick".to_owned()];
    report.add("micro", measured("limiter/admit", "ns", 24.0, Limit::at_most(31.0)));
    report.add("micro", measured("limiter/admit/vs/governor", "ratio", 1.24, Limit::at_most(1.25)));
    report.add("micro", measured("queue/submit_take/10000", "ns", 260.0, Limit::at_most(200.0)));
    report.add("micro", measured("memory/reserve", "ns", 15.0, Limit::at_most(40.0)));
    let mut clock = CaseRecord::new("std/clock", "ns");
    clock.value = Some(24.8);
    clock.n = 41;
    report.add("micro", clock);
    report.add("stream", measured("flood/1_stream", "tokens/s", 7.8e6, Limit::at_least(4e6)));
    let mut lost = CaseRecord::new("cadence/lost", "tokens");
    lost.value = Some(0.0);
    lost.n = 200_000;
    lost.judge(Limit::at_most(0.0));
    report.add("stream", lost);
    let mut wrong = CaseRecord::new("drain", "streams");
    wrong.withdraw(Verdict::Invalid, "the case panicked: 99 of 100 streams ended");
    report.add("stream", wrong);
    let mut elsewhere = CaseRecord::new("yolo11_n/throughput", "images/s");
    elsewhere.value = Some(12.9);
    elsewhere.withdraw(
        Verdict::NotApplicable,
        "6.5 GFLOPs an image; the reference kernel reaches 84 GFLOP/s: 20 images/s are out of reach",
    );
    report.add("infer", elsewhere);
    report.finish(Run::default());
    report
}

fn environment() -> Environment {
    Environment {
        machine: Fingerprint::read("model name: A processor", "MemTotal: 25165824 kB", "6.18", 2),
        started: "2026-11-22T10:00:00Z".to_owned(),
        revision: Some("0123456789ab".to_owned()),
        notes: [("congestion control".to_owned(), "bbr".to_owned())].into(),
    }
}

/// A record over made-up samples that scatter by 5 % around `center`.
fn measured(case: &str, unit: &str, center: f64, limit: Limit) -> CaseRecord {
    let mut random = Random::new(case.len() as u64);
    let mut samples: Vec<f64> = (0..41).map(|_| center * (0.95 + 0.1 * random.unit())).collect();
    samples.sort_by(f64::total_cmp);
    let mut record = CaseRecord::new(case, unit);
    record.value = Some(median(&samples));
    record.interval = interval(&samples, 0.5, 0.95);
    record.n = samples.len() as u64;
    record.wall_s = 0.12;
    record.cpu_s = Some(0.11);
    record.peak_rss_bytes = Some(3 << 20);
    if unit == "ns" {
        record.beside.insert("peer_ns".to_owned(), center * 1.3);
    }
    record.judge(limit);
    record
}
