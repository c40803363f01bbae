//! The numbers of the founding suite, and others in their place.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::vision::figures::Facts;
use crate::vision::zoo::Variant;

/// What is demanded. Each number can be replaced by one from a file; what a file leaves out stays.
///
/// # Examples
///
/// ```
/// use inference_bench::vision::Targets;
///
/// let targets: Targets = serde_json::from_str(r#"{"real_time_ms":50}"#)?;
/// assert_eq!((50.0, 1024.0), (targets.real_time_ms, targets.memory_mib));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Targets {
    /// A single picture, all stages, in milliseconds.
    pub real_time_ms: f64,
    /// The peak of one inference above what was there before, in MiB.
    pub memory_mib: f64,
    /// The same of a batch.
    pub batch_memory_mib: f64,
    /// The slowest response of requests that come at once, in milliseconds.
    pub concurrent_ms: f64,
    /// Bytes that each inference may leave on the heap. The least leak that is to be found is 64.
    pub leak_bytes: f64,
    /// What loading and dropping a model may leave behind, in MiB.
    pub cleanup_mib: f64,
    /// From the file to a model that can run, in milliseconds, by size.
    #[serde(deserialize_with = "load_ms")]
    pub load_ms: BTreeMap<Variant, f64>,
    /// Pictures per second, by size or by name; the name comes first.
    #[serde(deserialize_with = "throughput")]
    pub throughput: BTreeMap<String, f64>,
}

impl Default for Targets {
    fn default() -> Self {
        let load_ms = [
            (Variant::Nano, 500.0),
            (Variant::Small, 1000.0),
            (Variant::Medium, 2000.0),
            (Variant::Large, 3000.0),
            (Variant::ExtraLarge, 5000.0),
        ];
        let throughput = [("nano", 20.0), ("small", 10.0), ("sam2_large", 1.0)];
        Self {
            real_time_ms: 2000.0,
            memory_mib: 1024.0,
            batch_memory_mib: 4096.0,
            concurrent_ms: 5000.0,
            leak_bytes: 63.0,
            cleanup_mib: 1.0,
            load_ms: load_ms.into(),
            throughput: throughput.map(|(name, rate)| (name.to_owned(), rate)).into(),
        }
    }
}

/// What a file says of some sizes leaves the others as they are.
fn load_ms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Variant, f64>, D::Error> {
    let mut numbers = Targets::default().load_ms;
    numbers.extend(BTreeMap::<Variant, f64>::deserialize(deserializer)?);
    Ok(numbers)
}

fn throughput<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, f64>, D::Error> {
    let mut numbers = Targets::default().throughput;
    numbers.extend(BTreeMap::<String, f64>::deserialize(deserializer)?);
    Ok(numbers)
}

impl Targets {
    /// The two that reports of the founding suite have, by its names. Its MB have 2^20 bytes.
    #[must_use]
    pub fn by_founding_names(&self) -> [(String, Value); 2] {
        [
            ("real_time_target_ms".to_owned(), self.real_time_ms.into()),
            ("max_memory_per_inference_mb".to_owned(), self.memory_mib.into()),
        ]
    }

    /// How long this model may take to load, if there is a number for its size.
    #[must_use]
    pub fn load_ms_of(&self, facts: &Facts) -> Option<f64> {
        self.load_ms.get(&facts.variant?).copied()
    }

    /// How many pictures per second this model has to do, if there is a number for it.
    #[must_use]
    pub fn throughput_of(&self, facts: &Facts) -> Option<f64> {
        let by_size = || self.throughput.get(facts.variant?.word());
        self.throughput.get(&facts.name).or_else(by_size).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_for_one_size_leaves_those_of_the_others() {
        let text = r#"{"load_ms":{"nano":1},"throughput":{"nano":2,"yolo11m":3}}"#;
        let targets: Targets = serde_json::from_str(text).unwrap();
        let load_ms = [Variant::Nano, Variant::Small].map(|size| targets.load_ms[&size]);
        assert_eq!([1.0, 1000.0], load_ms);
        let throughput = ["nano", "small", "yolo11m"].map(|name| targets.throughput[name]);
        assert_eq!([2.0, 10.0, 3.0], throughput);
    }
}
