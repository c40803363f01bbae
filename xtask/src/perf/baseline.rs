//! Baselines: figures and the programs that produced them, kept; later run in pairs with the new ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use inference_bench::ab::{Comparison, Decision, Order, Thresholds};
use inference_bench::report::Report;
use inference_bench::{Baseline, CaseRecord, Verdict, process};

use super::program::Program;
use super::screen::Screen;
use super::signals::Signals;
use super::{Chosen, Stop};
use crate::cargo::root;
use crate::steps::Failure;

/// The figures, within the folder of a baseline.
const FILE: &str = "baseline.json";
/// Decides the order within pairs and the resampling.
const SEED: u64 = 1;

/// A baseline that was read and found usable.
pub(crate) struct Loaded {
    baseline: Baseline,
    folder: PathBuf,
    /// Why it can only be advice, if so.
    advisory: Option<String>,
}

fn folder_of(name: &str) -> Result<PathBuf, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(plain) || name.starts_with('.') {
        return Err(format!("`{name}` is no name for a baseline: letters, digits, `-`, `_`, `.`"));
    }
    Ok(root().join("target/perf/baselines").join(name))
}

/// Reads a baseline: a name that is not there is a slip of the user, a file that cannot be trusted makes
/// the run invalid.
pub(crate) fn load(name: &str) -> Result<Loaded, Stop> {
    let folder = folder_of(name).map_err(Stop::Usage)?;
    let path = folder.join(FILE);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let advice = format!("`--save-baseline {name}` makes it");
        Stop::Usage(format!("cannot read baseline `{name}` ({error}); {advice}"))
    })?;
    let refused = |error| Stop::Broken(format!("{}: {error}", path.display()));
    let mut baseline = Baseline::parse(&text).map_err(refused)?;
    baseline.programs.retain(|_, file| folder.join(file).is_file());
    let advisory = baseline.advisory_reason(&process::fingerprint());
    Ok(Loaded { baseline, folder, advisory })
}

/// Keeps the figures of a run and its programs.
pub(crate) fn save(name: &str, report: &Report, chosen: &[Chosen]) -> Result<PathBuf, Failure> {
    let folder = folder_of(name)?;
    let programs = folder.join("programs");
    std::fs::create_dir_all(&programs)
        .map_err(|error| format!("cannot make {}: {error}", programs.display()))?;
    let mut baseline = Baseline::new(name, report.environment.machine.clone());
    baseline.revision.clone_from(&report.environment.revision);
    for (suite, records) in &report.suites {
        for record in records.iter().filter(|record| record.value.is_some()) {
            baseline.cases.insert(format!("{suite}/{}", record.case), record.clone());
        }
    }
    for chosen in chosen {
        let file = format!("programs/{}", chosen.suite.name);
        std::fs::copy(chosen.program.path(), folder.join(&file)).map_err(|error| {
            format!("cannot keep the program of {}: {error}", chosen.suite.name)
        })?;
        baseline.programs.insert(chosen.suite.name.to_owned(), file);
    }
    let path = folder.join(FILE);
    replace(&path, &baseline.to_json())?;
    Ok(path)
}

/// A reader finds the old file or the new one, never a half of either.
fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let new = path.with_extension("new");
    std::fs::write(&new, text)
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Compares the new programs with the kept ones, or, where that cannot be, the numbers for advice.
pub(crate) fn compare(
    loaded: &Loaded,
    chosen: &[Chosen],
    signals: &Signals,
    screen: &Screen,
    report: &mut Report,
) {
    let name = &loaded.baseline.name;
    if let Some(why) = &loaded.advisory {
        screen.say(&format!("baseline {name}: advice only, {why}"));
        advise(&loaded.baseline, report, why);
        return;
    }
    for chosen in chosen {
        let Some(file) = loaded.baseline.programs.get(chosen.suite.name) else { continue };
        let old = Program::new(loaded.folder.join(file));
        screen.say(&format!("── {}: pairs with baseline {name}", chosen.suite.name));
        let records = pairs(&old, chosen, signals, screen);
        for record in records {
            screen.record(chosen.suite.name, &record);
            report.add(chosen.suite.name, record);
        }
    }
}

/// Runs old and new in turn until every case is decided.
fn pairs(old: &Program, chosen: &Chosen, signals: &Signals, screen: &Screen) -> Vec<CaseRecord> {
    let known: Vec<String> = old
        .list(super::Mode::Quick)
        .map(|cases| cases.into_iter().map(|case| case.name).collect())
        .unwrap_or_default();
    let both = |case: &&super::Listed| case.paired && known.contains(&case.name);
    let fresh = || Comparison::new(Thresholds::default(), SEED);
    let mut comparisons: BTreeMap<String, Comparison> =
        chosen.cases.iter().filter(both).map(|case| (case.name.clone(), fresh())).collect();
    let mut order = fresh();
    let mut failure = None;
    while signals.code().is_none() && failure.is_none() {
        let open: Vec<String> = comparisons
            .iter()
            .filter(|(_, comparison)| comparison.decision().is_none())
            .map(|(case, _)| case.clone())
            .collect();
        if open.is_empty() {
            break;
        }
        screen.case(&format!("{} cases open", open.len()), 0, open.len());
        failure = pair(old, &chosen.program, order.next_order(), &open, &mut comparisons).err();
    }
    screen.clear();
    comparisons
        .iter()
        .map(|(case, comparison)| judged(case, comparison, failure.as_ref()))
        .collect()
}

fn pair(
    old: &Program,
    new: &Program,
    order: Order,
    cases: &[String],
    comparisons: &mut BTreeMap<String, Comparison>,
) -> Result<(), Failure> {
    let (a, b) = match order {
        Order::AThenB => {
            let a = old.figures(cases)?;
            (a, new.figures(cases)?)
        }
        Order::BThenA => {
            let b = new.figures(cases)?;
            (old.figures(cases)?, b)
        }
    };
    for (a, b) in a.iter().zip(&b) {
        if let (Some(before), Some(after)) = (a.value, b.value)
            && a.case == b.case
            && let Some(comparison) = comparisons.get_mut(&a.case)
        {
            comparison.push(before, after);
        }
    }
    Ok(())
}

fn judged(case: &str, comparison: &Comparison, failure: Option<&Failure>) -> CaseRecord {
    let thresholds = Thresholds::default();
    let mut record = CaseRecord::new(format!("{case}/vs/baseline"), "ratio");
    let ratio = comparison.ratio();
    record.value = ratio.map(|ratio| ratio.median);
    record.interval = ratio.map(|ratio| ratio.interval);
    record.n = comparison.pairs().len() as u64;
    record.gate = Some(format!("at most {} ratio, twice", thresholds.slower_above));
    record.limit = Some(inference_bench::Limit::at_most(thresholds.slower_above));
    let (verdict, reason) = match (comparison.decision(), failure) {
        (Some(Decision::NotSlower), _) => (Verdict::Pass, None),
        (Some(Decision::Slower), _) => {
            (Verdict::Regression, Some("slower than the baseline, twice".to_owned()))
        }
        (Some(_), _) => (Verdict::Undecided, Some("noise above the difference".to_owned())),
        (None, Some(failure)) => (Verdict::Invalid, Some(failure.clone())),
        (None, None) => (Verdict::Undecided, Some("interrupted".to_owned())),
    };
    (record.verdict, record.reason) = (verdict, reason);
    record
}

/// Puts the old number beside the new one; another machine or another day decides nothing.
fn advise(baseline: &Baseline, report: &mut Report, why: &str) {
    for (suite, records) in &mut report.suites {
        for record in records {
            let Some(old) = baseline.cases.get(&format!("{suite}/{}", record.case)) else {
                continue;
            };
            if let (Some(before), true) = (old.value, old.unit == record.unit) {
                record.beside.insert(format!("baseline_{}", record.unit), before);
            }
        }
    }
    report.environment.notes.insert("baseline".to_owned(), format!("advice only: {why}"));
}
