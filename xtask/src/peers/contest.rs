//! Who fetches, how, and what it costs.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use inference_bench::process;

use super::site::Site;
use crate::perf::signals::Signals;
use crate::steps::Failure;

/// A contender that takes longer hangs.
const RUN_MAX: Duration = Duration::from_secs(120);

/// Each run begins as the first one does.
const NO_HISTORY: &str = "--no-history";

/// One way to fetch.
pub(super) struct Contender {
    pub(super) name: &'static str,
    /// What has to be installed.
    pub(super) needs: &'static [&'static str],
    /// `None` for the hash alone.
    command: Option<Box<dyn Fn() -> Command>>,
}

/// What one contender's runs cost.
pub(super) struct Figures {
    pub(super) name: &'static str,
    pub(super) wall_s: Vec<f64>,
    pub(super) cpu_s: Vec<f64>,
    /// The largest of all runs.
    pub(super) peak_rss_bytes: u64,
}

fn contender(
    name: &'static str,
    needs: &'static [&'static str],
    command: impl Fn() -> Command + 'static,
) -> Contender {
    Contender { name, needs, command: Some(Box::new(command)) }
}

/// A command of these words.
fn words(words: &[&str]) -> impl Fn() -> Command + use<> {
    let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
    move || {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_remove("HTTPS_PROXY");
        command
    }
}

/// Those who fetch one large file.
pub(super) fn large(program: &Path, site: &Site) -> Vec<Contender> {
    let (url, target) = (site.url("large"), site.target().join("large"));
    let (program, target) = (program.display().to_string(), target.display().to_string());
    let folder = site.target().display().to_string();
    let then_hash = format!("wget2 -q -O {target} {url} && openssl dgst -sha256 {target}");
    vec![
        contender(
            "download",
            &[],
            words(&[&program, "get", NO_HISTORY, &url, "--sha256", &site.sha256, "-o", &target]),
        ),
        contender("wget2", &["wget2"], words(&["wget2", "-q", "-O", &target, &url])),
        contender("curl", &["curl"], words(&["curl", "-s", "-o", &target, &url])),
        contender(
            "aria2 -x4",
            &["aria2c"],
            words(&["aria2c", "-q", "-x4", "-s4", "-d", &folder, "-o", "large", &url]),
        ),
        contender("wget2, then hash", &["wget2", "openssl"], words(&["sh", "-c", &then_hash])),
        Contender { name: "hash alone", needs: &[], command: None },
    ]
}

/// Those who fetch many small ones.
pub(super) fn small(program: &Path, site: &Site) -> Vec<Contender> {
    let program = program.display().to_string();
    let (list, config) = (site.path("list.urls"), site.path("curl.urls"));
    let base = site.url("");
    for (from, to) in [("list", &list), ("curl.conf", &config)] {
        let text = fs::read_to_string(site.path(from)).unwrap_or_default();
        // A list that cannot be written is missed by those who read it.
        let _ = fs::write(to, text.replace("URL/", &base));
    }
    let (list, config) = (list.display().to_string(), config.display().to_string());
    let folder = site.target().display().to_string();
    vec![
        contender(
            "download",
            &[],
            words(&[&program, "get", NO_HISTORY, "--input", &list, "-d", &folder]),
        ),
        contender(
            "curl --parallel",
            &["curl"],
            words(&["curl", "-s", "--parallel", "--output-dir", &folder, "-K", &config]),
        ),
    ]
}

/// Runs all in rounds, in an order that turns, until a signal comes.
pub(super) fn contest(
    contenders: &[Contender],
    site: &Site,
    rounds: usize,
    signals: &Signals,
) -> Result<Vec<Figures>, Failure> {
    let blank = |contender: &Contender| Figures {
        name: contender.name,
        wall_s: Vec::new(),
        cpu_s: Vec::new(),
        peak_rss_bytes: 0,
    };
    let mut figures: Vec<_> = contenders.iter().map(blank).collect();
    for round in 0..rounds {
        for k in 0..contenders.len() {
            if signals.code().is_some() {
                return Err("interrupted; what was changed is put back".to_owned());
            }
            let k = (k + round) % contenders.len();
            run_once(&contenders[k], site, &mut figures[k])?;
        }
    }
    Ok(figures)
}

fn run_once(contender: &Contender, site: &Site, figures: &mut Figures) -> Result<(), Failure> {
    let Some(command) = &contender.command else {
        let seconds = site.hash_alone();
        figures.wall_s.push(seconds);
        figures.cpu_s.push(seconds);
        return Ok(());
    };
    site.clear()?;
    let name = contender.name;
    let measured = process::run(&mut command(), RUN_MAX).map_err(|e| format!("{name}: {e}"))?;
    if !measured.status.success() || !site.is_fetched() {
        return Err(format!("{name} ended with {} and without the file", measured.status));
    }
    figures.wall_s.push(measured.wall.as_secs_f64());
    figures.cpu_s.push(measured.cpu.as_secs_f64());
    figures.peak_rss_bytes = figures.peak_rss_bytes.max(measured.peak_rss_bytes);
    site.clear()
}
