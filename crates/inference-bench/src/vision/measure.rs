//! Measures a model in this process, family by family.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fmt, iter, thread};

use super::engine::{Engine, InferError, LoadError, RtenEngine};
use super::families::Family;
use super::fault::Faulty;
use super::figures::{Batch, Cleanup, Figures, Growth, OfPicture, Sample};
use super::picture::{Content, Picture};
use super::pipeline::{Pipeline, Seen, Stages};
use super::plan::{EngineKind, Plan, Subject};
use super::{reference, seam};

/// The size of pictures in families where the model alone counts.
const SMALL: (u32, u32) = (64, 64);

/// How far a family is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Step {
    /// Which one.
    pub family: Family,
    /// Operations done.
    pub done: u64,
    /// Operations planned.
    pub planned: u64,
}

/// Why nothing was measured at all: the model cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum MeasureError {
    /// It cannot be loaded.
    Load(LoadError),
    /// It cannot run even once.
    Infer(InferError),
}

impl fmt::Display for MeasureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => error.fmt(f),
            Self::Infer(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for MeasureError {}

impl From<LoadError> for MeasureError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl From<InferError> for MeasureError {
    fn from(error: InferError) -> Self {
        Self::Infer(error)
    }
}

/// What a program lends to a measurement.
pub trait Observer {
    /// Bytes that are live on the heap, exactly; `None` where nobody counts them.
    fn live_bytes(&self) -> Option<u64>;

    /// Gives back to the kernel what the allocator keeps, so that a peak above it is all of the peak.
    fn trim(&self);

    /// An operation is done.
    fn step(&mut self, step: Step);

    /// A family came to its end, with these figures so far.
    fn family(&mut self, figures: &Figures);
}

/// Measures the families of a plan, one after the other, in this process.
///
/// Blocks until all is done; the caller's process bears the load, and dies should the engine do so.
///
/// # Errors
///
/// [`MeasureError`] when the model cannot be loaded, or not run even once. Later failures are counted in
/// the figures.
pub fn measure(
    subject: &Subject,
    engine: &EngineKind,
    plan: &Plan,
    observer: &mut dyn Observer,
) -> Result<Figures, MeasureError> {
    let figures = Figures::new(subject.facts.clone());
    let mut session = Session { subject, engine, plan, observer, figures };
    let pipeline = session.pipeline(&subject.file)?;
    let described = pipeline.engine().describe();
    session.figures.engine.clone_from(&described.engine);
    session.figures.threads = described.threads as u64;
    session.figures.side = pipeline.size().0.max(pipeline.size().1) as u64;
    let wanted = Family::ALL.into_iter().filter(|family| plan.families.contains(family));
    for family in wanted {
        session.run(family, &pipeline);
        session.figures.done.push(family);
        session.observer.family(&session.figures);
    }
    Ok(session.figures)
}

/// Loads a model for single looks, as [`measure`] does.
///
/// # Errors
///
/// [`MeasureError`] when it cannot be loaded, or not run even once.
pub fn load(subject: &Subject, engine: &EngineKind, plan: &Plan) -> Result<Pipeline, MeasureError> {
    Ok(Pipeline::new(load_engine(engine, &subject.file, plan)?, subject.side)?)
}

fn load_engine(kind: &EngineKind, file: &Path, plan: &Plan) -> Result<Box<dyn Engine>, LoadError> {
    let engine: Box<dyn Engine> = match kind {
        EngineKind::Rten => Box::new(RtenEngine::load(file, plan.threads)?),
        #[cfg(feature = "ort")]
        EngineKind::Ort(library) => {
            Box::new(super::engine::OrtEngine::load(file, library, plan.threads)?)
        }
    };
    Ok(match plan.fault {
        Some(fault) => Box::new(Faulty::new(engine, fault)),
        None => engine,
    })
}

struct Session<'a> {
    subject: &'a Subject,
    engine: &'a EngineKind,
    plan: &'a Plan,
    observer: &'a mut dyn Observer,
    figures: Figures,
}

impl Session<'_> {
    fn run(&mut self, family: Family, pipeline: &Pipeline) {
        match family {
            Family::Load => self.load(),
            Family::RealTime => self.real_time(pipeline),
            Family::Batch => self.batch(pipeline),
            Family::Memory => self.peaks(pipeline),
            Family::Leak => self.growth(pipeline),
            Family::Concurrent => self.concurrent(pipeline),
            Family::Cleanup => self.cleanup(),
            Family::Pictures => self.pictures(pipeline),
        }
    }

    /// Does something so many times, unless the time for it is over before.
    fn repeat(&mut self, family: Family, times: u64, mut work: impl FnMut(&mut Self, u64)) -> u64 {
        let begin = Instant::now();
        for done in 0..times {
            if self.plan.family_time_max < begin.elapsed() {
                self.figures.left_out.insert(family, times - done);
                return done;
            }
            work(self, done);
            self.observer.step(Step { family, done: done + 1, planned: times });
        }
        times
    }

    fn engine(&self, file: &Path) -> Result<Box<dyn Engine>, LoadError> {
        load_engine(self.engine, file, self.plan)
    }

    fn pipeline(&self, file: &Path) -> Result<Pipeline, MeasureError> {
        Ok(Pipeline::new(self.engine(file)?, self.subject.side)?)
    }

    /// One picture; what fails is counted and told.
    fn see(&mut self, pipeline: &Pipeline, picture: &Picture) -> Option<Seen> {
        self.figures.count(pipeline.see(picture))
    }

    fn picture(&self, (width, height): (u32, u32), content: Content, number: u64) -> Picture {
        Picture::generate(width, height, content, self.plan.seed.wrapping_add(number))
    }

    fn load(&mut self) {
        let file = self.subject.file.clone();
        self.repeat(Family::Load, self.plan.loads, |session, _| {
            let begin = Instant::now();
            let engine = session.engine(&file);
            let wall = begin.elapsed();
            if session.figures.count(engine).is_some() {
                session.figures.load_ms.push(millis(wall));
            }
        });
    }

    /// The speed of the machine, right beside what it is to judge. The fastest counts of all that was seen:
    /// a slow moment of a shared machine excuses nothing.
    fn reference(&mut self) {
        let seen = reference::gflops_per_s(|file| self.engine(file).ok());
        let fastest = seen.into_iter().chain(self.figures.reference_gflops_per_s);
        self.figures.reference_gflops_per_s = fastest.reduce(f64::max);
    }

    fn real_time(&mut self, pipeline: &Pipeline) {
        self.reference();
        let pictures = self.plan.single_pictures();
        self.repeat(Family::RealTime, self.plan.singles, |session, number| {
            let picture = &pictures[number as usize % pictures.len()];
            if let Some(seen) = session.see(pipeline, picture) {
                session.figures.single.push(sample(&seen.stages));
            }
        });
    }

    fn pictures(&mut self, pipeline: &Pipeline) {
        let kinds = self.plan.pictures.clone();
        let planned = self.plan.of_each * kinds.len() as u64;
        // Round by round: should the time be over before, no kind is missing for the sake of another.
        self.repeat(Family::Pictures, planned, |session, number| {
            let at = number as usize % kinds.len();
            let (width, height, content) = kinds[at];
            let picture = session.picture((width, height), content, number);
            if session.figures.pictures.len() <= at {
                let (entropy_bits, samples) = (picture.entropy_bits(), Vec::new());
                let of = OfPicture { width, height, content, entropy_bits, samples };
                session.figures.pictures.push(of);
            }
            if let Some(seen) = session.see(pipeline, &picture) {
                session.figures.pictures[at].samples.push(sample(&seen.stages));
            }
        });
    }

    fn batch(&mut self, pipeline: &Pipeline) {
        self.reference();
        let pictures = self.plan.single_pictures();
        self.observer.trim();
        let is_reset = seam::reset_peak();
        let before = seam::resident_bytes();
        let first = self.plan.batch_warmups();
        self.see_all(pipeline, &pictures, 0..first);
        let begin = Instant::now();
        let each_ms = self.see_all(pipeline, &pictures, first..first + self.plan.batch);
        let wall_ms = millis(begin.elapsed());
        let peak_bytes = above(before, is_reset);
        self.reference();
        let pictures = each_ms.len() as u64;
        self.figures.batch = Some(Batch { pictures, wall_ms, each_ms, peak_bytes });
    }

    /// As many callers as there are threads take turns at the pictures of a batch: what one does alone, the
    /// letterbox and most small operations, then keeps nobody waiting. Returns how long each took that was seen.
    fn see_all(
        &mut self,
        pipeline: &Pipeline,
        pictures: &[Picture],
        numbers: Range<u64>,
    ) -> Vec<f64> {
        let Plan { batch, family_time_max, .. } = *self.plan;
        let planned = self.plan.batch_warmups() + batch;
        let (next, begin) = (AtomicU64::new(numbers.start), Instant::now());
        let turns = || {
            let number = next.fetch_add(1, Ordering::Relaxed);
            (number < numbers.end && begin.elapsed() <= family_time_max).then_some(number as usize)
        };
        let (sender, answers) = mpsc::channel();
        let look = |number: usize| {
            let begin = Instant::now();
            pipeline.see(&pictures[number % pictures.len()]).map(|_| millis(begin.elapsed()))
        };
        let (mut each_ms, mut done) = (Vec::new(), numbers.start);
        thread::scope(|scope| {
            for _ in 0..self.plan.threads.max(1) {
                let sender = sender.clone();
                scope.spawn(move || {
                    iter::from_fn(turns).map(look).try_for_each(|ms| sender.send(ms))
                });
            }
            drop(sender);
            for answer in answers {
                each_ms.extend(self.figures.count(answer));
                done += 1;
                self.observer.step(Step { family: Family::Batch, done, planned });
            }
        });
        if done < numbers.end {
            self.figures.left_out.insert(Family::Batch, numbers.end - done);
        }
        each_ms
    }

    fn peaks(&mut self, pipeline: &Pipeline) {
        let pictures = self.plan.single_pictures();
        self.repeat(Family::Memory, self.plan.peaks, |session, number| {
            let picture = &pictures[number as usize % pictures.len()];
            session.observer.trim();
            let is_reset = seam::reset_peak();
            let before = seam::resident_bytes();
            let seen = session.see(pipeline, picture);
            session.figures.peak_bytes.extend(seen.and_then(|_| above(before, is_reset)));
        });
    }

    /// Requests that come at once wait for each other: response counts from when they came.
    fn concurrent(&mut self, pipeline: &Pipeline) {
        let at_once = self.plan.at_once;
        self.figures.at_once = at_once;
        let pictures = self.plan.single_pictures();
        self.repeat(Family::Concurrent, self.plan.waves, |session, _| {
            let begin = Instant::now();
            let answers: Vec<Result<Duration, InferError>> = thread::scope(|scope| {
                let ask = |picture| move || pipeline.see(picture).map(|_| begin.elapsed());
                let asked = pictures.iter().cycle().take(at_once as usize);
                let threads: Vec<_> = asked.map(|picture| scope.spawn(ask(picture))).collect();
                let lost = |_| Err(InferError::new("a request's thread panicked"));
                threads.into_iter().map(|thread| thread.join().unwrap_or_else(lost)).collect()
            });
            for answer in answers {
                let response = session.figures.count(answer).map(millis);
                session.figures.concurrent_ms.extend(response);
            }
        });
    }

    /// Equal inferences, and what the memory holds after each.
    fn growth(&mut self, full: &Pipeline) {
        let small = self.subject.small_file.as_deref().map(|file| self.pipeline(file));
        let small = small.and_then(|loaded| self.figures.count(loaded));
        let pipeline = small.as_ref().unwrap_or(full);
        let picture = self.picture(SMALL, Content::Medium, 0);
        let (warmups, repeats) = (self.plan.warmups, self.plan.repeats);
        // What is noted must not itself grow.
        let side = pipeline.size().0 as u64;
        let mut growth = Growth { side, ..Growth::default() };
        growth.live_bytes.reserve(repeats as usize);
        growth.resident_bytes.reserve(repeats as usize);
        self.repeat(Family::Leak, warmups + repeats, |session, number| {
            let is_seen = session.see(pipeline, &picture).is_some();
            if is_seen && warmups <= number {
                growth.resident_bytes.extend(seam::resident_bytes());
                growth.live_bytes.extend(session.observer.live_bytes());
            }
        });
        self.figures.growth = Some(growth);
    }

    /// Loads, runs and drops. The first time fills what is never emptied: pools, tables.
    fn cleanup(&mut self) {
        let file = self.subject.small_file.clone().unwrap_or_else(|| self.subject.file.clone());
        let picture = self.picture(SMALL, Content::Medium, 0);
        let mut before = None;
        let cycles = self.repeat(Family::Cleanup, self.plan.cycles + 1, |session, number| {
            let loaded = session.pipeline(&file);
            if let Some(pipeline) = session.figures.count(loaded) {
                session.see(&pipeline, &picture);
            }
            if number == 0 {
                before = session.observer.live_bytes().or_else(seam::resident_bytes);
            }
        });
        let after = self.observer.live_bytes().or_else(seam::resident_bytes);
        if let (Some(before_bytes), Some(after_bytes), 2..) = (before, after, cycles) {
            let cycles = cycles - 1;
            self.figures.cleanup = Some(Cleanup { before_bytes, after_bytes, cycles });
        }
    }
}

/// The peak above what was there before; unknown where the kernel did not let it begin anew.
fn above(before: Option<u64>, is_reset: bool) -> Option<u64> {
    let peak = seam::peak_bytes().filter(|_| is_reset)?;
    Some(peak.saturating_sub(before?))
}

fn sample(stages: &Stages) -> Sample {
    Sample {
        before_ms: millis(stages.before),
        inference_ms: millis(stages.inference),
        after_ms: millis(stages.after),
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
