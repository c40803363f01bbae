//! The options of `vision`, and what they ask for.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use inference_bench::vision::zoo::{self, MODELS, Variant};
use inference_bench::vision::{Facts, Family, Fault, Targets};

use crate::kept_figures::{Measured, word};

/// What quick mode measures unless told otherwise.
const QUICK: [&str; 3] = ["yolo11n", "yolo11s", "yolo12n"];
/// How long one model may take unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(600);
/// The same where each of eight families may take half an hour.
const STRESS_TIMEOUT: Duration = Duration::from_secs(8 * 1800);
/// Threads that may share an inference: more than the largest machines have cores.
const THREADS_MAX: usize = 1024;
/// Models that one run may measure.
const MODELS_MAX: usize = 64;

/// The options of `vision`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// A model of the zoo or an ONNX file; those of the mode unless given.
    #[arg(long = "model", value_name = "NAME|FILE")]
    pub(crate) models: Vec<String>,
    /// What runs the models.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) engine: EngineName,
    /// The library of the engine `ort`: libonnxruntime.so, as it lies in the package `onnxruntime`.
    #[arg(long, value_name = "FILE")]
    pub(crate) ort_lib: Option<PathBuf>,
    /// How thorough to be.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) mode: ModeName,
    /// Only this family of requirements: load, real-time, pictures, batch, memory, concurrent, leak,
    /// cleanup.
    #[arg(long = "family", value_name = "NAME")]
    pub(crate) families: Vec<Family>,
    /// A JSON file with other targets than those of the founding suite.
    #[arg(long, value_name = "FILE")]
    pub(crate) targets: Option<PathBuf>,
    /// Pictures to look at (PNG, JPEG) instead of made-up ones, in the family `real-time`.
    #[arg(long = "picture", value_name = "FILE")]
    pub(crate) pictures: Vec<PathBuf>,
    /// Writes pictures with boxes drawn over them into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) draw: Option<PathBuf>,
    /// The side of the pictures that models take, in pixels, where they leave it open; a model of the zoo
    /// is made for it.
    #[arg(long, value_name = "PIXELS", default_value_t = zoo::SIZE)]
    pub(crate) size: u64,
    /// Threads that share the work of one inference; all cores unless given.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// How long one model may take, loading and all: 10m unless given, 4h with `--mode stress`.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// The memory that the process of one model may have: 512MiB.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) memory_limit: Option<u64>,
    /// Decides weights and pictures.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Judges times even where other processes had the machine.
    #[arg(long)]
    pub(crate) noisy: bool,
    /// What goes wrong in each inference: delay=MS, leak=BYTES, error=N, crash=N.
    #[arg(long, value_name = "KIND", hide = true)]
    pub(crate) fault: Option<Fault>,
    /// Compares with the figures in this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// Keeps the figures in this file, unless the run is interrupted, invalid, or most of it failed.
    #[arg(long, value_name = "FILE")]
    pub(crate) save_baseline: Option<PathBuf>,
    /// Writes the report in all its forms, and the raw figures, into this folder.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Prints NDJSON events on stdout, all else on stderr.
    #[arg(long)]
    pub(crate) json: bool,
}

const EXAMPLES: &str = "Examples:
  inference-bench vision
  inference-bench vision --model yolo11n --family leak --mode stress
  inference-bench vision --model detector.onnx --picture street.jpg --draw seen
  inference-bench vision --engine ort --ort-lib libonnxruntime.so.1.32.0 -o report
  inference-bench vision --save-baseline main.json; inference-bench vision --baseline main.json

Models of the zoo have synthetic weights: their speed and memory are true, what they see is nothing.
Each model runs in a process of its own. Exit codes: 0 all met, 1 under 80 % of operations succeeded,
2 under 90 % of single pictures in real time, 3 worse than the baseline, 4 not to be trusted or not
decided, 5 another target missed, 64 usage, 130 interrupted.";

/// What runs the models.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum EngineName {
    /// Written in Rust, built in.
    #[default]
    Rten,
    /// ONNX Runtime, found at `--ort-lib`.
    Ort,
}

/// How thorough to be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum ModeName {
    /// Three models, the fewest repetitions that say anything.
    #[default]
    Quick,
    /// The whole zoo.
    Comprehensive,
    /// As long as it takes.
    Stress,
}

/// What is asked for, checked.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) models: Vec<Model>,
    pub(crate) targets: Targets,
}

/// A model that was asked for.
#[derive(Clone, Debug)]
pub(crate) enum Model {
    Zoo(&'static zoo::Model),
    File { path: PathBuf, name: String },
}

impl Model {
    fn name(&self) -> &str {
        match self {
            Self::Zoo(model) => model.name,
            Self::File { name, .. } => name,
        }
    }

    pub(crate) fn facts(&self, size: u64) -> Facts {
        match self {
            Self::Zoo(model) => {
                let graph = model.graph(size, 0, zoo::Normalization::Fused);
                Facts {
                    name: model.name.to_owned(),
                    variant: Some(model.variant),
                    gflops: graph.ok().map(|graph| graph.counts().gflops()),
                    is_synthetic: true,
                }
            }
            Self::File { name, .. } => Facts { name: name.clone(), ..Facts::default() },
        }
    }
}

impl Options {
    /// Checks what the parser cannot.
    pub(crate) fn check(&self) -> Result<Asked, String> {
        self.check_engine()?;
        if let Some(missing) = self.pictures.iter().find(|path| !path.is_file()) {
            return Err(format!("no picture at {}", missing.display()));
        }
        if let Some(threads) = self.threads.filter(|threads| !(1..=THREADS_MAX).contains(threads)) {
            return Err(format!("{threads} threads, from 1 to {THREADS_MAX}"));
        }
        let zoo = &MODELS[0];
        zoo.graph(self.size, 0, zoo::Normalization::Fused).map_err(|error| error.to_string())?;
        let models = self.models()?;
        Ok(Asked { targets: self.targets(&models)?, models })
    }

    /// How long one model may take, loading and all.
    pub(crate) fn timeout(&self) -> Duration {
        let usual = if self.mode == ModeName::Stress { STRESS_TIMEOUT } else { TIMEOUT };
        self.timeout.unwrap_or(usual)
    }

    /// What this command measures, and under what.
    pub(crate) fn measured(&self) -> Measured {
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        let load = [
            ("engine", word(&self.engine)),
            ("pictures", self.pictures.len().to_string()),
            ("size", self.size.to_string()),
            ("threads", self.threads.unwrap_or_else(cores).to_string()),
        ];
        let load = load.into_iter().map(|(name, value)| (name.to_owned(), value));
        Measured { command: "vision", load: load.collect() }
    }

    fn check_engine(&self) -> Result<(), String> {
        if self.engine == EngineName::Rten {
            return Ok(());
        }
        if !cfg!(feature = "ort") {
            return Err("this program was built without the feature `ort`".to_owned());
        }
        let Some(library) = &self.ort_lib else {
            return Err("the engine ort needs the path of its library: --ort-lib FILE".to_owned());
        };
        if library.is_file() {
            return Ok(());
        }
        Err(format!("no library at {}; the package onnxruntime has one", library.display()))
    }

    fn models(&self) -> Result<Vec<Model>, String> {
        if MODELS_MAX < self.models.len() {
            return Err(format!("{} models, at most {MODELS_MAX}", self.models.len()));
        }
        if !self.models.is_empty() {
            return told_apart(
                self.models.iter().map(|name| model(name)).collect::<Result<_, _>>()?,
            );
        }
        let in_mode =
            |model: &&zoo::Model| self.mode != ModeName::Quick || QUICK.contains(&model.name);
        Ok(MODELS.iter().filter(in_mode).map(Model::Zoo).collect())
    }

    fn targets(&self, models: &[Model]) -> Result<Targets, String> {
        let Some(path) = &self.targets else { return Ok(Targets::default()) };
        let told =
            |error: &dyn std::fmt::Display| format!("cannot use {}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
        if !text.trim_start().starts_with('{') {
            return Err(told(&"targets are an object, such as {\"real_time_ms\": 50}"));
        }
        let targets: Targets = serde_json::from_str(&text).map_err(|error| told(&error))?;
        match targets.throughput.keys().find(|name| !is_known(name, models)) {
            Some(name) => Err(told(&format!("`{name}` is neither a size nor a model"))),
            None => Ok(targets),
        }
    }
}

/// Whether targets may name this: a size, a model of the zoo or of this run, or one that the founding suite has.
fn is_known(name: &str, models: &[Model]) -> bool {
    Variant::ALL.iter().any(|size| size.word() == name)
        || zoo::find(name).is_some()
        || models.iter().any(|model| model.name() == name)
        || Targets::default().throughput.contains_key(name)
}

/// Calls files that would share their name by the whole of their paths: results are kept by name.
fn told_apart(mut models: Vec<Model>) -> Result<Vec<Model>, String> {
    let names: Vec<String> = models.iter().map(|model| model.name().to_owned()).collect();
    let is_shared = |name: &String| 1 < names.iter().filter(|other| *other == name).count();
    for model in &mut models {
        if let Model::File { path, name } = model
            && is_shared(name)
        {
            *name = name_of(path.as_os_str());
        }
    }
    let mut told = BTreeSet::new();
    match models.iter().find(|model| !told.insert(model.name())) {
        Some(model) => Err(format!("`{}` is asked for twice", model.name())),
        None => Ok(models),
    }
}

/// What a model is called that comes from a file: it stands in names of cases and of files.
fn name_of(path: &OsStr) -> String {
    path.to_string_lossy().replace(['/', '\\'], "_").replace(char::is_control, "_")
}

fn model(name: &str) -> Result<Model, String> {
    // An existing path wins over a name.
    let path = Path::new(name);
    if path.is_file() {
        let name = name_of(path.file_stem().unwrap_or_default());
        return Ok(Model::File { path: path.to_path_buf(), name });
    }
    if let Some(model) = zoo::find(name) {
        return Ok(Model::Zoo(model));
    }
    let names: Vec<_> = MODELS.iter().map(|model| model.name).collect();
    Err(format!("`{name}` is no file and no model of the zoo; there are: {}", names.join(", ")))
}

/// `512MiB`: KB are thousands, KiB are 1024, bare numbers are bytes.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("`{text}` is no size; 512MiB is one");
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_of_one_name_are_told_apart_by_their_paths_and_none_is_measured_twice() {
        let file = |path: &str| {
            let path = PathBuf::from(path);
            Model::File { name: name_of(path.file_stem().unwrap()), path }
        };
        let names = |models: Vec<Model>| -> Result<Vec<String>, String> {
            Ok(told_apart(models)?.iter().map(|model| model.name().to_owned()).collect())
        };
        let told = names(vec![file("a/model.onnx"), file("b/model.onnx"), file("c/other.onnx")]);
        assert_eq!(Ok(["a_model.onnx", "b_model.onnx", "other"].map(str::to_owned).into()), told);
        let zoo = || Model::Zoo(&MODELS[0]);
        let told = names(vec![zoo(), file("yolo11n.onnx")]);
        assert_eq!(Ok(["yolo11n", "yolo11n.onnx"].map(str::to_owned).into()), told);
        for twice in [vec![zoo(), zoo()], vec![file("model.onnx"), file("model.onnx")]] {
            assert!(names(twice).unwrap_err().contains("twice"));
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(Ok(512 << 20), size("512MiB"));
        assert_eq!(Ok(2_000_000_000), size("2 GB"));
        assert_eq!(Ok(7), size("7"));
        for wrong in ["", "MiB", "1.5GiB", "-1", "99999999999GiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
