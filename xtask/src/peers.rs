//! Speed side by side: `download get`, curl, aria2 and wget2 fetch the same file from one nginx.
//!
//! In rounds, in an order that turns from round to round, each alone on the machine; medians are told.
//! None of the peers verifies what it fetches, so `wget2` with a hash afterwards runs beside it, and the
//! hash alone, which nothing that verifies can beat. What is not installed is left out, with a line that
//! says so.

mod contest;
mod site;

use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use inference_bench::stats::median;

use self::contest::{Contender, Figures, contest, large, small};
use self::site::{Congestion, Site};
use crate::cargo::{cargo, root};
use crate::perf::signals::Signals;
use crate::steps::{Failure, say};

/// What is fetched, how often, and where to.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Size of the large file: `64MiB`, `1 GB`, or bytes
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "2GiB")]
    bytes: u64,
    /// Rounds; 0 leaves the large file out
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Small files of 4 KiB; 0 leaves them out
    #[arg(long, default_value_t = 10_000)]
    files: usize,
    /// Folder for all of it; memory is told from disk by it
    #[arg(long, default_value = "/dev/shm")]
    folder: PathBuf,
    /// The sender's congestion control, set for the whole machine meanwhile; needs root
    #[arg(long, value_name = "NAME")]
    congestion: Option<String>,
}

/// Units of a size, in bytes.
const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A gate on our figure: its name, the figure, and the most that it may be.
type Gate = (&'static str, Option<f64>, f64);

/// Runs the comparison; fails when a gate is missed.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    cargo(
        &["build", "--release", "--package", "download", "--features", "cli", "--bin", "download"],
        &[],
    )?;
    let program = root().join("target/release/download");
    if !is_there("nginx") {
        say("nginx is not installed: nothing is compared");
        return Ok(());
    }
    // From here on there is something to clean up: a signal ends the contest, not the process.
    let signals = Signals::listen()?;
    let congestion = Congestion::set(options.congestion.as_deref())?;
    let mut missed = Vec::new();
    if 0 < options.rounds {
        let site = Site::start(&options.folder, options.bytes, 0)?;
        let contenders = present(large(&program, &site));
        let figures = contest(&contenders, &site, options.rounds, &signals)?;
        say(&format!(
            "{} bytes from nginx with {} to {}, medians of {} rounds:",
            options.bytes,
            congestion.name(),
            options.folder.display(),
            options.rounds
        ));
        missed.extend(judge_large(&figures, &congestion, options.bytes));
    }
    if 0 < options.files {
        let site = Site::start(&options.folder, 0, options.files)?;
        let contenders = present(small(&program, &site));
        let figures = contest(&contenders, &site, options.rounds.max(3), &signals)?;
        say(&format!("{} files of 4 KiB:", options.files));
        table(&figures, site::SMALL_BYTES * options.files as u64);
        let ours = wall(&figures, "download");
        missed.extend(judge(&[(
            "x curl --parallel",
            ratio(ours, wall(&figures, "curl --parallel")),
            2.0,
        )]));
    }
    if missed.is_empty() { Ok(()) } else { Err(format!("missed: {}", missed.join("; "))) }
}

/// Bytes: a whole number in one of the units that the programs take, KB 1000, KiB 1024, none bytes.
fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_bytes = UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, bytes)| *bytes);
    let bytes =
        number.parse::<u64>().ok().zip(unit_bytes).and_then(|(n, each)| n.checked_mul(each));
    bytes.ok_or_else(|| format!("`{text}` is no size: a whole number and B, KB, KiB, … TiB"))
}

fn is_there(program: &str) -> bool {
    Command::new("which").arg(program).output().is_ok_and(|output| output.status.success())
}

fn present(contenders: Vec<Contender>) -> Vec<Contender> {
    let is_present = |contender: &Contender| {
        let lacking = contender.needs.iter().find(|&&program| !is_there(program));
        if let Some(program) = lacking {
            say(&format!("{} is left out: {program} is not installed", contender.name));
        }
        lacking.is_none()
    };
    contenders.into_iter().filter(is_present).collect()
}

fn wall(figures: &[Figures], name: &str) -> Option<f64> {
    figures.iter().find(|figures| figures.name == name).map(|figures| median(&figures.wall_s))
}

fn ratio(ours: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some(ours? / other?)
}

/// The gates of the specification, which differ by the sender's congestion control.
fn judge_large(figures: &[Figures], congestion: &Congestion, bytes: u64) -> Vec<String> {
    table(figures, bytes);
    let ours = wall(figures, "download");
    let over = |name| ratio(ours, wall(figures, name));
    let gib = bytes as f64 / (1_u64 << 30) as f64;
    let own = figures.iter().find(|figures| figures.name == "download");
    let cpu = own.map(|own| median(&own.cpu_s) / gib);
    let peak = own.map(|own| own.peak_rss_bytes as f64 / (1 << 20) as f64);
    let mut gates: Vec<Gate> = vec![("MiB of peak memory", peak, 32.0)];
    if congestion.name() == "bbr" {
        gates.push(("x wget2", over("wget2"), 1.65));
        gates.push(("x wget2, then hash", over("wget2, then hash"), 0.8));
        gates.push(("s of CPU per GiB", cpu, 1.85));
    } else {
        gates.push(("x the hash alone", over("hash alone"), 1.35));
        gates.push(("x wget2, then hash", over("wget2, then hash"), 0.6));
        gates.push(("x aria2 -x4", over("aria2 -x4"), 0.9));
        gates.push(("s of CPU per GiB", cpu, 1.40));
    }
    judge(&gates)
}

/// Tells each gate; returns those that are missed.
fn judge(gates: &[Gate]) -> Vec<String> {
    let mut missed = Vec::new();
    for (name, figure, most) in gates {
        let Some(figure) = figure else {
            say(&format!("  not measured: {name}"));
            continue;
        };
        let verdict = if figure <= most { "met" } else { "MISSED" };
        say(&format!("  {verdict}: {figure:.2} {name}, at most {most}"));
        if most < figure {
            missed.push(format!("{figure:.2} {name} (at most {most})"));
        }
    }
    missed
}

fn table(figures: &[Figures], bytes: u64) {
    let gib = bytes as f64 / (1_u64 << 30) as f64;
    for Figures { name, wall_s, cpu_s, peak_rss_bytes } in figures {
        let (least, most) =
            wall_s.iter().fold((f64::MAX, 0.0_f64), |(a, b), &s| (a.min(s), b.max(s)));
        say(&format!(
            "  {name:<18} {:>7.3} s [{least:.3}..{most:.3}]  {:>6.2} s of CPU per GiB  {:>5} MiB",
            median(wall_s),
            median(cpu_s) / gib,
            peak_rss_bytes >> 20,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_numbers_with_the_units_of_the_programs() {
        for (text, bytes) in [("7", 7), ("2GiB", 2 << 30), ("1 MB", 1_000_000), ("64KiB", 65_536)] {
            assert_eq!(Ok(bytes), size(text));
        }
        for text in ["", "GiB", "2gib", "1.5GiB", "-1", "99999999TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
