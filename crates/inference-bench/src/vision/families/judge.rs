//! Figures of a model as cases with verdicts.

use super::{Family, Targets};
use crate::case::CaseRecord;
use crate::gate::{Limit, Side, short};
use crate::report::Rates;
use crate::stats::{EarlyStop, Interval, interval, median, quantile, slope};
use crate::verdict::Verdict;
use crate::vision::figures::{Figures, Growth, OfPicture, Sample};

const MIB: f64 = (1 << 20) as f64;
/// Resident memory that grows by more than this in [`HORIZON`] inferences is a leak …
const RESIDENT_BYTES_MAX: f64 = 16.0 * MIB;
/// … where nothing more exact is known.
const HORIZON: f64 = 10_000.0;
/// The confidence of percentiles, as in the rules of MLCommons.
const CONFIDENCE: f64 = 0.99;

/// A model's cases, and its shares of the rates of a run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Judged {
    /// The cases; their names begin with the model's.
    pub cases: Vec<CaseRecord>,
    /// Operations that were tried: loads and inferences.
    pub tried: u64,
    /// Those that succeeded.
    pub ok: u64,
    /// Single pictures.
    pub single: u64,
    /// Those in real time.
    pub in_time: u64,
}

impl Judged {
    /// The rates of a run over these models, in percent.
    #[must_use]
    pub fn rates(all: &[Self]) -> Rates {
        let share = |part: u64, whole: u64| (0 < whole).then(|| 100.0 * part as f64 / whole as f64);
        let sum = |of: fn(&Self) -> u64| all.iter().map(of).sum::<u64>();
        Rates {
            success: share(sum(|j| j.ok), sum(|j| j.tried)),
            compliance: share(sum(|j| j.in_time), sum(|j| j.single)),
        }
    }
}

/// Judges what was measured of a model by the targets.
#[must_use]
pub fn judge(figures: &Figures, targets: &Targets) -> Judged {
    let cases = Cases { figures, targets };
    let in_time = figures.single.iter().filter(|s| s.total_ms() < targets.real_time_ms).count();
    Judged {
        cases: cases.all(),
        tried: figures.tried,
        ok: figures.tried - figures.failed,
        single: figures.single.len() as u64,
        in_time: in_time as u64,
    }
}

struct Cases<'a> {
    figures: &'a Figures,
    targets: &'a Targets,
}

impl Cases<'_> {
    fn all(&self) -> Vec<CaseRecord> {
        let mut cases = vec![self.operations()];
        cases.extend(self.load());
        cases.extend(self.real_time());
        cases.extend(self.batch());
        cases.extend(self.memory());
        cases.extend(self.concurrent());
        cases.extend(self.figures.growth.as_ref().and_then(|growth| self.leak(growth)));
        cases.extend(self.cleanup());
        cases.extend(self.pictures());
        cases.extend(self.figures.pictures.iter().filter_map(|of| self.picture(of)));
        cases
    }

    fn case(&self, name: &str, unit: &str, seed_case: &str) -> CaseRecord {
        let mut record = CaseRecord::new(format!("{}/{name}", self.figures.facts.name), unit);
        record.seed_case = Some(seed_case.to_owned());
        record
    }

    /// A case around the median of some values.
    fn spread(&self, (name, unit, seed): (&str, &str, &str), values: &[f64]) -> Option<CaseRecord> {
        if values.is_empty() {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let mut record = self.case(name, unit, seed);
        (record.n, record.value) = (values.len() as u64, Some(median(values)));
        record.interval = interval(&sorted, 0.5, 0.95);
        record.wall_s = if unit == "ms" { values.iter().sum::<f64>() / 1e3 } else { 0.0 };
        record.beside.insert("min".to_owned(), sorted[0]);
        record.beside.insert("max".to_owned(), sorted[sorted.len() - 1]);
        Some(record)
    }

    /// What was tried at all, and the words of the first failure.
    fn operations(&self) -> CaseRecord {
        let Figures { tried, failed, failures, .. } = self.figures;
        let mut record = self.case("operations", "%", "Error Conditions");
        record.n = *tried;
        if *tried == 0 {
            record.withdraw(Verdict::Invalid, "nothing was tried");
            return record;
        }
        record.value = Some(100.0 * (tried - failed) as f64 / *tried as f64);
        record.judge(Limit::at_least(80.0));
        if let Some(words) = failures.first() {
            add_reason(&mut record, &format!("{failed} failed, the first: {words}"));
        }
        if !self.figures.left_out.is_empty() {
            let told = self.figures.left_out.iter().map(|(family, n)| format!("{n} of {family}"));
            let told = told.collect::<Vec<_>>().join(", ");
            add_reason(&mut record, &format!("left out for want of time: {told}"));
        }
        record
    }

    fn load(&self) -> Option<CaseRecord> {
        let what = ("load", "ms", "Model Loading Tests");
        let mut record = self.spread(what, &self.figures.load_ms)?;
        if let Some(limit) = self.targets.load_ms_of(&self.figures.facts) {
            record.judge(Limit::at_most(limit));
        }
        Some(record)
    }

    fn real_time(&self) -> Vec<CaseRecord> {
        let samples = &self.figures.single;
        let totals = totals(samples);
        let what = ("real_time", "ms", "test_single_inference_real_time_performance");
        let Some(mut record) = self.spread(what, &totals) else { return Vec::new() };
        record.real_time = true;
        record.beside.extend(stages(samples));
        record.judge(Limit::at_most(self.targets.real_time_ms));
        self.excuse(&mut record, self.targets.real_time_ms);
        let mut sorted = totals;
        sorted.sort_by(f64::total_cmp);
        vec![record, self.percentile(&sorted, 0.9), self.share(samples)]
    }

    /// A percentile, or the number of samples that it takes.
    fn percentile(&self, sorted: &[f64], p: f64) -> CaseRecord {
        let name = format!("real_time/p{:.0}", 100.0 * p);
        let mut record = self.case(&name, "ms", "Report Generation");
        record.n = sorted.len() as u64;
        match EarlyStop::of(sorted, p, CONFIDENCE) {
            Ok(_) => {
                record.value = Some(quantile(sorted, p));
                record.interval = interval(sorted, p, 0.95);
            }
            Err(too_few) => record.reason = Some(too_few.to_string()),
        }
        record
    }

    /// What stands around the model, beside the model.
    fn share(&self, samples: &[Sample]) -> CaseRecord {
        let of = |part: fn(&Sample) -> f64| median(&samples.iter().map(part).collect::<Vec<_>>());
        let around = of(|s| s.before_ms + s.after_ms);
        let mut record = self.case("real_time/around_share", "%", "Benchmark Configuration");
        record.n = samples.len() as u64;
        record.value = Some(100.0 * around / of(|s| s.inference_ms));
        record
    }

    fn batch(&self) -> Vec<CaseRecord> {
        let Some((batch, value)) = self.figures.batch.as_ref().and_then(|b| Some((b, b.rate()?)))
        else {
            return Vec::new();
        };
        let mut rate = self.case("throughput", "images/s", "Batch Processing Tests");
        rate.n = batch.pictures;
        rate.wall_s = batch.wall_ms / 1e3;
        rate.value = Some(value);
        // As sure as the typical look is known.
        let mut each_ms = batch.each_ms.clone();
        each_ms.sort_by(f64::total_cmp);
        rate.interval = interval(&each_ms, 0.5, 0.95).map(|Interval { low, high }| {
            let of_typical = |ms| value * median(&each_ms) / ms;
            Interval { low: of_typical(high), high: of_typical(low) }
        });
        if let Some(limit) = self.targets.throughput_of(&self.figures.facts) {
            rate.judge(Limit::at_least(limit));
            self.excuse(&mut rate, 1e3 / limit);
        }
        let mut cases = vec![rate];
        if let Some(bytes) = batch.peak_bytes {
            let mut memory = self.case("batch_memory", "MiB", "Batch Processing Tests");
            (memory.n, memory.value) = (1, Some(bytes as f64 / MIB));
            memory.judge(Limit::at_most(self.targets.batch_memory_mib));
            cases.push(memory);
        }
        cases
    }

    /// A demand that this machine cannot meet whatever the program does is no demand: the operations of
    /// one inference take a plain matrix product longer than is allowed for all of it.
    fn excuse(&self, record: &mut CaseRecord, allowed_ms: f64) {
        let (Some(gflops), Some(speed)) =
            (self.figures.facts.gflops, self.figures.reference_gflops_per_s)
        else {
            return;
        };
        let least_ms = 1e3 * gflops / speed;
        if record.verdict == Verdict::Fail && allowed_ms < least_ms {
            let reason = format!(
                "{gflops:.1} GFLOPs at the {speed:.1} GFLOP/s of a matrix product here take {} ms, \
                 {} ms are allowed",
                short(least_ms),
                short(allowed_ms)
            );
            record.withdraw(Verdict::NotApplicable, reason);
        }
    }

    fn memory(&self) -> Option<CaseRecord> {
        let mib: Vec<f64> = self.figures.peak_bytes.iter().map(|&b| b as f64 / MIB).collect();
        let mut record = self.spread(("memory", "MiB", "Memory Usage Monitoring"), &mib)?;
        // The worst of them has to fit.
        record.value = record.beside.get("max").copied();
        record.interval = None;
        record.judge(Limit::at_most(self.targets.memory_mib));
        Some(record)
    }

    fn concurrent(&self) -> Option<CaseRecord> {
        let what = ("concurrent", "ms", "Concurrent Load Tests");
        let mut record = self.spread(what, &self.figures.concurrent_ms)?;
        let typical = record.value.unwrap_or_default();
        record.beside.insert("median".to_owned(), typical);
        record.beside.insert("at_once".to_owned(), self.figures.at_once as f64);
        record.value = record.beside.get("max").copied();
        record.interval = None;
        record.judge(Limit::at_most(self.targets.concurrent_ms));
        Some(record)
    }

    fn leak(&self, growth: &Growth) -> Option<CaseRecord> {
        let floats = |bytes: &[u64]| bytes.iter().map(|&b| b as f64).collect::<Vec<_>>();
        let live = slope(&floats(&growth.live_bytes));
        let resident = slope(&floats(&growth.resident_bytes));
        let (found, limit) = match (live, resident) {
            (Some(live), _) => (live, self.targets.leak_bytes),
            // Allocators keep pages back, so this one sees only what is large.
            (None, Some(resident)) => (resident, RESIDENT_BYTES_MAX / HORIZON),
            (None, None) => return None,
        };
        let mut record = self.case("leak", "B/inference", "test_memory_leak_detection");
        record.n = growth.resident_bytes.len().max(growth.live_bytes.len()) as u64;
        (record.value, record.interval) = (Some(found.median), Some(found.interval));
        record.judge(Limit::at_most(limit));
        record.beside.insert("side_pixels".to_owned(), growth.side as f64);
        if let Some(resident) = resident {
            record.beside.insert("resident_bytes_per_inference".to_owned(), resident.median);
        }
        if live.is_none() && record.reason.is_none() {
            record.reason = Some("by resident memory, which hides what is small".to_owned());
        }
        Some(record)
    }

    fn cleanup(&self) -> Option<CaseRecord> {
        let cleanup = self.figures.cleanup?;
        let mut record = self.case("cleanup", "MiB", "Resource Cleanup");
        record.n = cleanup.cycles;
        let left = cleanup.after_bytes as f64 - cleanup.before_bytes as f64;
        record.value = Some(left.max(0.0) / MIB);
        record.judge(Limit { side: Side::AtMost, value: self.targets.cleanup_mib });
        Some(record)
    }

    /// The slowest of all sizes, shapes and contents: each is a single picture, and has the time of one.
    fn pictures(&self) -> Option<CaseRecord> {
        let timed = self.figures.pictures.iter().filter(|of| !of.samples.is_empty());
        let typical = timed.map(|of| (median(&totals(&of.samples)), of));
        let (ms, slowest) = typical.clone().max_by(|a, b| a.0.total_cmp(&b.0))?;
        let mut record = self.case("pictures", "ms", "Image Sizes and Complexity");
        (record.n, record.value) = (typical.clone().count() as u64, Some(ms));
        let fastest = typical.map(|(ms, _)| ms).fold(ms, f64::min);
        record.beside.insert("fastest".to_owned(), fastest);
        record.judge(Limit::at_most(self.targets.real_time_ms));
        let OfPicture { width, height, content, .. } = slowest;
        let which = format!("the slowest is {width} x {height}, {}", content.word());
        add_reason(&mut record, &which);
        self.excuse(&mut record, self.targets.real_time_ms);
        Some(record)
    }

    fn picture(&self, of: &OfPicture) -> Option<CaseRecord> {
        let totals = totals(&of.samples);
        let name = format!("picture/{}x{}/{}", of.width, of.height, of.content.word());
        let mut record = self.spread((&name, "ms", "Image Sizes and Complexity"), &totals)?;
        record.beside.extend(stages(&of.samples));
        record.beside.insert("entropy_bits".to_owned(), of.entropy_bits);
        Some(record)
    }
}

/// Says something more, after what is said already.
fn add_reason(record: &mut CaseRecord, words: &str) {
    let before = record.reason.take().map_or_else(String::new, |reason| reason + "; ");
    record.reason = Some(before + words);
}

fn totals(samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(Sample::total_ms).collect()
}

/// The medians of all stages.
fn stages(samples: &[Sample]) -> [(String, f64); 3] {
    let of = |name: &str, part: fn(&Sample) -> f64| {
        (name.to_owned(), median(&samples.iter().map(part).collect::<Vec<_>>()))
    };
    [
        of("before", |sample| sample.before_ms),
        of("inference", |sample| sample.inference_ms),
        of("after", |sample| sample.after_ms),
    ]
}

impl Figures {
    /// Whether a family came to its end.
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        self.done.contains(&family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::figures::{Batch, Cleanup};
    use crate::vision::picture::Content;
    use crate::vision::zoo::Variant;

    fn model() -> Figures {
        let mut figures = Figures { tried: 10, ..Figures::default() };
        figures.facts.name = "model".to_owned();
        figures.facts.variant = Some(Variant::Nano);
        figures
    }

    #[track_caller]
    fn check(figures: &Figures, name: &str, expected: Verdict) -> CaseRecord {
        let cases = judge(figures, &Targets::default()).cases;
        let case = cases.into_iter().find(|case| case.case == format!("model/{name}")).unwrap();
        assert_eq!(expected, case.verdict, "{case:?}");
        case
    }

    fn single(ms: f64) -> Vec<Sample> {
        vec![Sample { before_ms: 1.0, inference_ms: ms - 2.0, after_ms: 1.0 }; 12]
    }

    #[test]
    fn each_target_of_the_founding_suite_is_a_gate() {
        let load = |ms| Figures { load_ms: vec![ms], ..model() };
        check(&load(500.0), "load", Verdict::Pass);
        check(&load(500.1), "load", Verdict::Fail);
        let real_time = |ms| Figures { single: single(ms), ..model() };
        check(&real_time(1999.0), "real_time", Verdict::Pass);
        check(&real_time(2001.0), "real_time", Verdict::Fail);
        let peak = |mib: u64| Figures { peak_bytes: vec![1, mib << 20], ..model() };
        check(&peak(1024), "memory", Verdict::Pass);
        check(&peak(1025), "memory", Verdict::Fail);
        let batch = |pictures, mib: u64| {
            let batch = Batch {
                pictures,
                wall_ms: 1000.0,
                peak_bytes: Some(mib << 20),
                ..Batch::default()
            };
            Figures { batch: Some(batch), ..model() }
        };
        check(&batch(20, 4096), "throughput", Verdict::Pass);
        check(&batch(19, 4096), "throughput", Verdict::Fail);
        check(&batch(20, 4097), "batch_memory", Verdict::Fail);
        let concurrent = |ms| Figures { concurrent_ms: vec![10.0, ms], at_once: 10, ..model() };
        check(&concurrent(5000.0), "concurrent", Verdict::Pass);
        check(&concurrent(5001.0), "concurrent", Verdict::Fail);
        let cleanup = |left: u64| {
            let cleanup = Cleanup { before_bytes: 9, after_bytes: 9 + left, cycles: 5 };
            Figures { cleanup: Some(cleanup), ..model() }
        };
        check(&cleanup(1 << 20), "cleanup", Verdict::Pass);
        check(&cleanup(2 << 20), "cleanup", Verdict::Fail);
    }

    /// Looks that differ by more than the limit is away decide nothing.
    #[test]
    fn a_rate_is_as_sure_as_its_typical_look() {
        let batch = |spread_ms: f64| {
            let each_ms = (0..24).map(|i| 100.0 + spread_ms * (f64::from(i) - 11.5)).collect();
            Some(Batch { pictures: 21, wall_ms: 1000.0, each_ms, ..Batch::default() })
        };
        check(&Figures { batch: batch(0.1), ..model() }, "throughput", Verdict::Pass);
        let unsure =
            check(&Figures { batch: batch(2.0), ..model() }, "throughput", Verdict::Undecided);
        let Interval { low, high } = unsure.interval.unwrap();
        assert!(low < 20.0 && 21.0 < high && high < 25.0, "{low} {high}");
    }

    #[test]
    fn what_was_left_out_is_told() {
        let left_out = [(Family::RealTime, 29), (Family::Pictures, 24)].into();
        let case = check(&Figures { left_out, ..model() }, "operations", Verdict::Pass);
        let expected = "left out for want of time: 29 of real-time, 24 of pictures";
        assert_eq!(Some(expected), case.reason.as_deref());
    }

    #[test]
    fn variants_without_a_number_are_reported() {
        let mut figures = Figures { load_ms: vec![9e9], ..model() };
        figures.facts.variant = None;
        check(&figures, "load", Verdict::Reported);
        figures.batch = Some(Batch { pictures: 1, wall_ms: 9e9, ..Batch::default() });
        figures.facts.variant = Some(Variant::Medium);
        check(&figures, "throughput", Verdict::Reported);
    }

    #[test]
    fn the_slowest_picture_of_any_kind_has_the_time_of_one() {
        let of = |width, ms| OfPicture {
            width,
            height: 40,
            content: Content::Medium,
            entropy_bits: 5.0,
            samples: single(ms),
        };
        let all =
            |ms| Figures { pictures: vec![of(64, 20.0), of(4000, ms), of(9, 1.0)], ..model() };
        let case = check(&all(1999.0), "pictures", Verdict::Pass);
        assert_eq!((3, Some("the slowest is 4000 x 40, medium")), (case.n, case.reason.as_deref()));
        let case = check(&all(2001.0), "pictures", Verdict::Fail);
        assert!(case.reason.unwrap().ends_with("; the slowest is 4000 x 40, medium"));
    }

    fn leak(live: impl Fn(u64) -> u64, resident: impl Fn(u64) -> u64) -> Figures {
        let live_bytes = (0..50).map(live).collect();
        let resident_bytes = (0..50).map(resident).collect();
        Figures { growth: Some(Growth { live_bytes, resident_bytes, side: 64 }), ..model() }
    }

    #[test]
    fn sixty_four_live_bytes_are_a_leak_and_restless_pages_are_none() {
        check(&leak(|_| 7, |k| 4096 * k), "leak", Verdict::Pass);
        check(&leak(|k| 64 * k, |_| 7), "leak", Verdict::Fail);
        check(&leak(|k| 1000 + k % 7 * 100, |_| 7), "leak", Verdict::Pass);
        let mut coarse = leak(|_| 7, |k| 64 * k);
        coarse.growth.as_mut().unwrap().live_bytes.clear();
        let case = check(&coarse, "leak", Verdict::Pass);
        assert!(case.reason.unwrap().contains("hides what is small"));
    }

    #[test]
    fn what_no_such_machine_can_do_is_not_applicable_with_both_numbers() {
        let mut slow = Figures { single: single(3000.0), ..model() };
        slow.facts.gflops = Some(100.0);
        // 100 GFLOPs at 40 GFLOP/s take longer than two seconds; at 60 they do not.
        slow.reference_gflops_per_s = Some(40.0);
        let case = check(&slow, "real_time", Verdict::NotApplicable);
        let reason = case.reason.unwrap();
        assert!(reason.contains("100.0 GFLOPs") && reason.contains("40.0 GFLOP/s"), "{reason}");
        slow.reference_gflops_per_s = Some(60.0);
        check(&slow, "real_time", Verdict::Fail);
        slow.single = single(1000.0);
        slow.reference_gflops_per_s = Some(40.0);
        check(&slow, "real_time", Verdict::Pass);
    }

    #[test]
    fn rates_count_operations_and_single_pictures() {
        let late = Figures { single: single(3000.0), failed: 5, ..model() };
        let fine = Figures { single: single(10.0), ..model() };
        let judged = [judge(&late, &Targets::default()), judge(&fine, &Targets::default())];
        let expected = Rates { success: Some(75.0), compliance: Some(50.0) };
        assert_eq!(expected, Judged::rates(&judged));
        let mut dead = fine;
        dead.lose("killed".to_owned());
        let judged = [judge(&dead, &Targets::default())];
        assert_eq!(Some(0.0), Judged::rates(&judged).success);
    }
}
