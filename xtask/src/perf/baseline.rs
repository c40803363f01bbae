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
/// What `report.json` calls the comparison as a whole.
const SUITE: &str = "baseline";
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

/// Refuses a name that is none, and makes the folder of baselines.
pub(crate) fn prepare(name: &str) -> Result<(), Failure> {
    let folder = folder_of(name)?;
    let all = folder.parent().expect("it lies among the others");
    std::fs::create_dir_all(all).map_err(|error| format!("cannot make {}: {error}", all.display()))
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
        advise(&loaded.baseline, report);
        report.environment.notes.insert("baseline".to_owned(), format!("advice only: {why}"));
        return;
    }
    advise(&loaded.baseline, report);
    let mut compared = 0;
    for chosen in chosen {
        if signals.code().is_some() {
            return;
        }
        let suite = chosen.suite.name;
        match comparable(loaded, chosen) {
            Ok((old, cases)) => {
                screen.say(&format!("── {suite}: pairs with baseline {name}"));
                compared += cases.len();
                for record in pairs(&old, chosen, &cases, signals, screen) {
                    screen.record(suite, &record);
                    report.add(suite, record);
                }
            }
            Err(why) => {
                screen.say(&format!("── {suite}: not compared with baseline {name}: {why}"));
                let note = format!("not compared: {why}");
                report.environment.notes.insert(format!("baseline of {suite}"), note);
            }
        }
    }
    if compared == 0 {
        let record = nothing_compared(name);
        screen.record(SUITE, &record);
        report.add(SUITE, record);
    }
}

/// A comparison was asked for, and there was none: that is no pass.
fn nothing_compared(name: &str) -> CaseRecord {
    let mut record = CaseRecord::new(format!("vs/{name}"), "ratio");
    record.withdraw(Verdict::Undecided, "no case was compared; the lines above say why");
    record
}

/// Whether a comparison was asked for and there was none. Then the run is undecided, however many cases pass.
pub(crate) fn is_missing(report: &Report) -> bool {
    report.suites.contains_key(SUITE)
}

/// The kept program of a suite, and its cases that both programs have and can be compared by; or why there is
/// nothing to compare.
fn comparable(loaded: &Loaded, chosen: &Chosen) -> Result<(Program, Vec<String>), Failure> {
    let paired: Vec<&str> =
        chosen.cases.iter().filter(|case| case.paired).map(|case| &*case.name).collect();
    if paired.is_empty() {
        return Err("none of its cases is run in pairs".to_owned());
    }
    let file = loaded.baseline.programs.get(chosen.suite.name);
    let file = file.ok_or_else(|| "its program was not kept".to_owned())?;
    let old = Program::new(loaded.folder.join(file));
    let known = old.list(super::Mode::Quick).map_err(|why| format!("its kept program: {why}"))?;
    let both = |name: &&str| known.iter().any(|case| case.name == *name);
    let cases: Vec<String> = paired.into_iter().filter(both).map(str::to_owned).collect();
    if cases.is_empty() {
        return Err("its kept program has none of these cases".to_owned());
    }
    Ok((old, cases))
}

/// Runs old and new in turn until every case is decided.
fn pairs(
    old: &Program,
    chosen: &Chosen,
    cases: &[String],
    signals: &Signals,
    screen: &Screen,
) -> Vec<CaseRecord> {
    let fresh = || Comparison::new(Thresholds::default(), SEED);
    let mut comparisons: BTreeMap<String, Comparison> =
        cases.iter().map(|case| (case.clone(), fresh())).collect();
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
        let programs = [old, &chosen.program];
        failure = pair(programs, order.next_order(), &open, signals, &mut comparisons).err();
    }
    screen.clear();
    // A program that a signal has ended has not failed.
    failure = failure.filter(|_| signals.code().is_none());
    comparisons
        .iter()
        .map(|(case, comparison)| judged(case, comparison, failure.as_ref()))
        .collect()
}

fn pair(
    [old, new]: [&Program; 2],
    order: Order,
    cases: &[String],
    signals: &Signals,
    comparisons: &mut BTreeMap<String, Comparison>,
) -> Result<(), Failure> {
    let (a, b) = match order {
        Order::AThenB => {
            let a = old.figures(cases, signals)?;
            (a, new.figures(cases, signals)?)
        }
        Order::BThenA => {
            let b = new.figures(cases, signals)?;
            (old.figures(cases, signals)?, b)
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
fn advise(baseline: &Baseline, report: &mut Report) {
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
}

/// Keeps half a baseline, for a test.
#[cfg(test)]
pub(super) fn keep_torn(name: &str) {
    let folder = folder_of(name).unwrap();
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(FILE), "{\"kind\":").unwrap();
}

/// Takes it away.
#[cfg(test)]
pub(super) fn forget(name: &str) {
    std::fs::remove_dir_all(folder_of(name).unwrap()).unwrap();
}

#[cfg(test)]
mod tests {
    use inference_bench::RunVerdict;
    use inference_bench::report::{Environment, Run};

    use super::super::program::Listed;
    use super::super::suites::named;
    use super::*;

    /// Why a suite of one case is not compared with a baseline that has kept this program.
    fn why_not(paired: bool, kept: Option<&str>) -> Failure {
        let mut baseline = Baseline::new("b", process::fingerprint());
        baseline.programs.extend(kept.map(|path| ("micro".to_owned(), path.to_owned())));
        let loaded = Loaded { baseline, folder: PathBuf::new(), advisory: None };
        let case = Listed { name: "a".to_owned(), seed_case: None, expected_s: 0.0, paired };
        let chosen = Chosen {
            suite: named(&["micro".to_owned()]).unwrap()[0],
            program: Program::new(PathBuf::new()),
            cases: vec![case],
        };
        comparable(&loaded, &chosen).unwrap_err()
    }

    #[test]
    fn what_is_not_compared_says_why() {
        assert_eq!("none of its cases is run in pairs", why_not(false, None));
        assert_eq!("its program was not kept", why_not(true, None));
        assert!(why_not(true, Some("/bin/false")).contains("lists no cases"));
    }

    #[test]
    fn a_comparison_of_nothing_is_undecided() {
        let mut report = Report::new("test", Environment::new(process::fingerprint(), ""));
        let mut passed = CaseRecord::new("a", "ns");
        passed.verdict = Verdict::Pass;
        report.add("micro", passed);
        assert!(!is_missing(&report));
        report.add(SUITE, nothing_compared("main"));
        report.finish(Run { strict: is_missing(&report), ..Run::default() });
        assert_eq!((RunVerdict::Undecided, 4), (report.summary.verdict, report.summary.exit_code));
    }

    #[test]
    fn a_name_that_leaves_the_folder_is_refused_before_the_run() {
        assert!(prepare("../a").unwrap_err().contains("no name for a baseline"));
    }
}
