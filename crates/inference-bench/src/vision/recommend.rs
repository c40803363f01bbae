//! What to do, from the numbers.

use super::families::Targets;
use super::figures::{Figures, Sample};
use crate::gate::short;
use crate::report::Recommendation;
use crate::stats::{median, slope};

const MIB: f64 = (1 << 20) as f64;
/// The step of sides that models can take, in pixels.
const SIDE_STEP: f64 = 32.0;

/// Says what to do about each target that a model misses, the most urgent first: what breaks, then what
/// is late, then what is large.
///
/// Each names the metric, its value and its limit; a model that meets all has none.
#[must_use]
pub fn recommend(figures: &Figures, targets: &Targets) -> Vec<Recommendation> {
    let advisor = Advisor { figures, targets };
    let all = [
        advisor.failures(),
        advisor.leak(),
        advisor.real_time(),
        advisor.concurrent(),
        advisor.throughput(),
        advisor.load(),
        advisor.memory(),
    ];
    all.into_iter().flatten().collect()
}

struct Advisor<'a> {
    figures: &'a Figures,
    targets: &'a Targets,
}

impl Advisor<'_> {
    fn advise(
        &self,
        metric: &str,
        (value, limit): (f64, f64),
        unit: &str,
        what: &str,
    ) -> Recommendation {
        let name = &self.figures.facts.name;
        let text = format!(
            "{name}: {metric} is {} {unit}, the limit {} {unit}: {what}",
            short(value),
            short(limit)
        );
        let metric = format!("{name}/{metric}");
        Recommendation { metric, value: Some(value), limit: Some(limit), text }
    }

    fn failures(&self) -> Option<Recommendation> {
        let Figures { tried, failed, failures, .. } = self.figures;
        let words = failures.first()?;
        let ok_pct = 100.0 * (tried - failed) as f64 / (*tried).max(1) as f64;
        let what = format!("mend what failed first ({words}) before reading other numbers");
        Some(self.advise("operations", (ok_pct, 100.0), "%", &what))
    }

    fn leak(&self) -> Option<Recommendation> {
        let growth = self.figures.growth.as_ref()?;
        let live: Vec<f64> = growth.live_bytes.iter().map(|&bytes| bytes as f64).collect();
        let found = slope(&live).filter(|found| self.targets.leak_bytes < found.interval.low)?;
        let mib_per_day = found.median * self.per_day() / MIB;
        let what = format!(
            "something is kept of every inference; without pause that is {} MiB a day: compare heap \
             profiles of two runs of different length",
            short(mib_per_day)
        );
        Some(self.advise("leak", (found.median, self.targets.leak_bytes), "B/inference", &what))
    }

    /// Inferences of a day at the measured pace, or at one a second.
    fn per_day(&self) -> f64 {
        let pace = self.typical(Sample::total_ms).map_or(1.0, |ms| 1e3 / ms.max(1e-3));
        86_400.0 * pace
    }

    fn typical(&self, part: fn(&Sample) -> f64) -> Option<f64> {
        let values: Vec<f64> = self.figures.single.iter().map(part).collect();
        (!values.is_empty()).then(|| median(&values))
    }

    fn real_time(&self) -> Option<Recommendation> {
        let limit = self.targets.real_time_ms;
        let total = self.typical(Sample::total_ms).filter(|total| limit < *total)?;
        let inference = self.typical(|sample| sample.inference_ms)?;
        let what = if inference < total / 2.0 {
            let around = total - inference;
            format!(
                "{} ms of it pass around the model: scale pictures down before, or prepare the next one \
                 while the model runs",
                short(around)
            )
        } else {
            // Work grows with the square of the side.
            let left = (limit - (total - inference)).max(0.0);
            let now = self.figures.side as f64;
            let side = (now * (left / inference).sqrt() / SIDE_STEP).floor() * SIDE_STEP;
            let smaller = if SIDE_STEP <= side {
                format!("pictures of {side} pixels a side would fit in it, or ")
            } else {
                String::new()
            };
            format!(
                "the model itself takes {} ms: {smaller}take a smaller variant",
                short(inference)
            )
        };
        Some(self.advise("real_time", (total, limit), "ms", &what))
    }

    fn concurrent(&self) -> Option<Recommendation> {
        let limit = self.targets.concurrent_ms;
        let slowest = self.figures.concurrent_ms.iter().copied().reduce(f64::max)?;
        if slowest <= limit {
            return None;
        }
        let at_once = self.figures.at_once.max(1) as f64;
        let fitting = (at_once * limit / slowest).floor();
        let what = if 1.0 <= fitting {
            format!("admit at most {fitting} at once, the others wait at the door")
        } else {
            "one alone takes longer: a smaller variant or more cores".to_owned()
        };
        Some(self.advise("concurrent", (slowest, limit), "ms", &what))
    }

    fn throughput(&self) -> Option<Recommendation> {
        let limit = self.targets.throughput_of(&self.figures.facts)?;
        let rate = self.figures.batch.as_ref()?.rate()?;
        if limit <= rate {
            return None;
        }
        let threads = self.figures.threads.max(1) as f64;
        let needed = (threads * limit / rate).ceil();
        let faster = if self.figures.engine.starts_with("rten") {
            "the engine `ort` is faster on most machines; "
        } else {
            ""
        };
        let what = format!("{faster}about {needed} cores of this kind would do");
        Some(self.advise("throughput", (rate, limit), "images/s", &what))
    }

    fn load(&self) -> Option<Recommendation> {
        let limit = self.targets.load_ms_of(&self.figures.facts)?;
        if self.figures.load_ms.is_empty() {
            return None;
        }
        let typical = median(&self.figures.load_ms);
        let what = "load it before the first request and keep it";
        (limit < typical).then(|| self.advise("load", (typical, limit), "ms", what))
    }

    fn memory(&self) -> Option<Recommendation> {
        let limit = self.targets.memory_mib;
        let peak = *self.figures.peak_bytes.iter().max()? as f64 / MIB;
        let what = "take smaller pictures, or one inference at a time";
        (limit < peak).then(|| self.advise("memory", (peak, limit), "MiB", what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::figures::{Batch, Growth};
    use crate::vision::zoo::Variant;

    fn model() -> Figures {
        let mut figures = Figures::default();
        figures.facts.name = "model".to_owned();
        figures.facts.variant = Some(Variant::Nano);
        figures.engine = "rten".to_owned();
        (figures.threads, figures.side) = (2, 640);
        figures
    }

    fn of(before_ms: f64, inference_ms: f64) -> Vec<Sample> {
        vec![Sample { before_ms, inference_ms, after_ms: 0.0 }; 12]
    }

    #[track_caller]
    fn check(figures: &Figures, metric: &str, numbers: (f64, f64), words: &str) {
        let all = recommend(figures, &Targets::default());
        let [one] = &all[..] else { panic!("one of them: {all:#?}") };
        assert_eq!(format!("model/{metric}"), one.metric);
        assert_eq!((Some(numbers.0), Some(numbers.1)), (one.value, one.limit));
        assert!(one.text.contains(words), "{}", one.text);
        for number in [numbers.0, numbers.1] {
            assert!(one.text.contains(&short(number)), "{}", one.text);
        }
    }

    #[test]
    fn a_model_that_meets_all_has_none() {
        let figures = Figures { single: of(1.0, 30.0), load_ms: vec![100.0], ..model() };
        assert!(recommend(&figures, &Targets::default()).is_empty());
    }

    #[test]
    fn different_numbers_give_different_advice() {
        let slow = Figures { single: of(100.0, 3900.0), ..model() };
        check(&slow, "real_time", (4000.0, 2000.0), "pictures of 416 pixels");
        let unknown = Figures { side: 0, ..slow };
        check(&unknown, "real_time", (4000.0, 2000.0), "takes 3900 ms: take a smaller variant");
        let around = Figures { single: of(3000.0, 1000.0), ..model() };
        check(&around, "real_time", (4000.0, 2000.0), "around the model");
        let live_bytes = (0..50).map(|k| 1000 + 64 * k).collect();
        let leaking =
            Figures { growth: Some(Growth { live_bytes, ..Growth::default() }), ..model() };
        check(&leaking, "leak", (64.0, 63.0), "5.273 MiB a day");
        let batch = Batch { pictures: 10, wall_ms: 1000.0, ..Batch::default() };
        check(
            &Figures { batch: Some(batch), ..model() },
            "throughput",
            (10.0, 20.0),
            "about 4 cores",
        );
        let crowded = Figures { concurrent_ms: vec![100.0, 9000.0], at_once: 10, ..model() };
        check(&crowded, "concurrent", (9000.0, 5000.0), "at most 5 at once");
        check(&Figures { load_ms: vec![800.0], ..model() }, "load", (800.0, 500.0), "keep it");
        check(
            &Figures { peak_bytes: vec![2 << 30], ..model() },
            "memory",
            (2048.0, 1024.0),
            "smaller",
        );
    }

    #[test]
    fn what_broke_comes_first() {
        let mut figures = Figures { load_ms: vec![800.0], tried: 10, ..model() };
        figures.lose("killed by signal 6".to_owned());
        let all = recommend(&figures, &Targets::default());
        assert_eq!(
            ["model/operations", "model/load"],
            *all.iter().map(|r| &*r.metric).collect::<Vec<_>>()
        );
        assert!(all[0].text.contains("killed by signal 6"), "{}", all[0].text);
    }
}
