//! The process that measures one model: told what on stdin, tells how it goes on stdout.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use inference_bench::exit;
use inference_bench::vision::picture::Picture;
use inference_bench::vision::pipeline::{Detection, Pipeline};
use inference_bench::vision::{
    EngineKind, Facts, Family, Fault, Figures, Mode, Observer, Plan, Step, Subject, load, measure,
};
use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};

use crate::HEAP;

/// What is to be done.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Request {
    pub(crate) facts: Facts,
    pub(crate) file: PathBuf,
    pub(crate) small_file: Option<PathBuf>,
    pub(crate) side: usize,
    /// The library of the engine; without one it is the one built in.
    pub(crate) library: Option<PathBuf>,
    /// 0 quick, 1 comprehensive, 2 stress.
    pub(crate) thoroughness: u8,
    pub(crate) families: Vec<Family>,
    pub(crate) threads: Option<usize>,
    pub(crate) fault: Option<String>,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) pictures: Vec<PathBuf>,
    pub(crate) draw: Option<PathBuf>,
    pub(crate) seed: u64,
}

/// What it tells, a line each.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Message {
    Step {
        family: Family,
        done: u64,
        planned: u64,
    },
    Figures(Box<Figures>),
    Drawn {
        path: PathBuf,
        detections: Vec<Detection>,
    },
    /// Pictures could not be drawn; what was measured stands.
    NotDrawn(String),
    /// Nothing could be measured.
    Failed(String),
}

/// Freed memory that stays for the next inference: more than those of the zoo's usual models take.
const KEPT_BYTES: usize = 512 << 20;

/// Measures what stdin asks for; exits with 0 even if the model fails, which its messages tell.
pub(crate) fn see() -> u8 {
    memory::heap::keep_freed(KEPT_BYTES);
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    let request = read.ok().and_then(|_| serde_json::from_str::<Request>(&text).ok());
    let Some(request) = request else {
        tell(&Message::Failed("no request on stdin: `vision` starts this".to_owned()));
        return exit::USAGE;
    };
    if let Err(reason) = work(&request) {
        tell(&Message::Failed(reason));
    }
    exit::OK
}

fn work(request: &Request) -> Result<(), String> {
    if let Some(bytes) = request.memory_limit {
        setrlimit(Resource::RLIMIT_DATA, bytes, bytes)
            .map_err(|error| format!("cannot limit the memory to {bytes} bytes: {error}"))?;
    }
    let engine = engine(request);
    let subject = Subject {
        facts: request.facts.clone(),
        file: request.file.clone(),
        small_file: request.small_file.clone(),
        side: request.side,
    };
    let pictures =
        request.pictures.iter().map(|path| picture(path)).collect::<Result<Vec<_>, _>>()?;
    let plan = plan(request, pictures)?;
    let mut teller = Teller { counts_c: request.library.is_some() };
    let figures =
        measure(&subject, &engine, &plan, &mut teller).map_err(|error| error.to_string())?;
    tell(&Message::Figures(Box::new(figures)));
    if let Some(folder) = &request.draw {
        let pipeline = load(&subject, &engine, &plan).map_err(|error| error.to_string())?;
        if let Err(reason) = draw(request, &pipeline, &plan, folder) {
            tell(&Message::NotDrawn(reason));
        }
    }
    Ok(())
}

fn engine(request: &Request) -> EngineKind {
    #[cfg(feature = "ort")]
    if let Some(library) = &request.library {
        return EngineKind::Ort(library.clone());
    }
    let _ = &request.library;
    EngineKind::Rten
}

fn plan(request: &Request, pictures: Vec<Picture>) -> Result<Plan, String> {
    let mode = [Mode::Quick, Mode::Comprehensive, Mode::Stress][usize::from(request.thoroughness)];
    let mut plan = Plan::new(mode);
    if !request.families.is_empty() {
        plan.families.clone_from(&request.families);
    }
    plan.threads = request.threads.unwrap_or(plan.threads);
    let fault = request.fault.as_deref().map(str::parse::<Fault>).transpose();
    plan.fault = fault.map_err(|error| error.to_string())?;
    plan.seed = request.seed;
    plan.given = pictures;
    Ok(plan)
}

fn picture(path: &Path) -> Result<Picture, String> {
    let told = |error: &dyn std::fmt::Display| format!("cannot use {}: {error}", path.display());
    let bytes = std::fs::read(path).map_err(|error| told(&error))?;
    Picture::read(&bytes).map_err(|error| told(&error))
}

/// Looks at each picture once more, and writes it with what was seen.
fn draw(request: &Request, pipeline: &Pipeline, plan: &Plan, folder: &Path) -> Result<(), String> {
    let (name, place) = (&request.facts.name, folder.display());
    let told = |error: &dyn std::fmt::Display| format!("{name}: cannot draw into {place}: {error}");
    std::fs::create_dir_all(folder).map_err(|error| told(&error))?;
    for (number, mut picture) in plan.single_pictures().into_iter().enumerate() {
        let seen = pipeline.see(&picture).map_err(|error| told(&error))?;
        picture.draw(&seen.detections);
        let path = folder.join(format!("{name}-{number}.png"));
        let file = picture.to_png().map_err(|error| told(&error))?;
        std::fs::write(&path, file).map_err(|error| told(&error))?;
        tell(&Message::Drawn { path, detections: seen.detections });
    }
    Ok(())
}

struct Teller {
    /// The engine is no Rust, so our counter does not see what it takes.
    counts_c: bool,
}

impl Observer for Teller {
    fn live_bytes(&self) -> Option<u64> {
        if self.counts_c {
            return memory::heap::c_heap().map(|heap| heap.used_bytes);
        }
        Some(HEAP.counts().live_bytes)
    }

    fn trim(&self) {
        memory::heap::trim_c_heap();
    }

    fn step(&mut self, step: Step) {
        tell(&Message::Step { family: step.family, done: step.done, planned: step.planned });
    }

    fn family(&mut self, figures: &Figures) {
        tell(&Message::Figures(Box::new(figures.clone())));
    }
}

fn tell(message: &Message) {
    let Ok(line) = serde_json::to_string(message) else { return };
    let mut stdout = std::io::stdout().lock();
    // Who listened has gone: this process will be told so soon enough.
    let _ = writeln!(stdout, "{line}");
    let _ = stdout.flush();
}
