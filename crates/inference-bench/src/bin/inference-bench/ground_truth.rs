//! The instrument held against a source whose times are known, in another process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use inference_bench::stream::calibrate::Errors;
use inference_bench::stream::{Drive, Plan, StampReport, StampSource, Target};

use crate::interrupt::Interrupt;
use crate::threads::{self, Ran};

/// How long opening one stream keeps both ends busy. Tokens come when all streams are open: opening
/// thousands at one instant is no load that is to be measured.
const OPENING: Duration = Duration::from_micros(300);

/// An emitter in a process of its own; dropping it ends it.
pub(crate) struct GroundTruth {
    child: Child,
    pub(crate) url: String,
}

impl GroundTruth {
    /// Starts this program once more, as the emitter.
    pub(crate) fn start(interval: Duration, ttft: Duration) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
        let [interval, ttft] = [interval, ttft].map(|time| format!("{}ns", time.as_nanos()));
        let mut child = Command::new(program)
            .args(["emit", "--until-stdin-closes", "--interval", &interval, "--ttft", &ttft])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the emitter does not start: {error}"))?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("the emitter has no output")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        match line.trim().strip_prefix("listening on ") {
            Some(url) => Ok(Self { url: url.to_owned(), child }),
            None => Err(format!("the emitter says `{}`", line.trim())),
        }
    }
}

impl Drop for GroundTruth {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The load to calibrate under.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    pub(crate) streams: usize,
    pub(crate) interval: Duration,
    pub(crate) duration: Duration,
    pub(crate) stamp: StampSource,
    pub(crate) workers: usize,
}

impl Stage {
    pub(crate) fn plan(&self) -> Plan {
        Plan { workers: self.workers, stamp: self.stamp, ..Plan::closed(self.streams) }
    }
}

/// What a calibration showed.
pub(crate) struct Calibration {
    pub(crate) errors: Errors,
    pub(crate) stamps: StampReport,
    pub(crate) ran: Ran,
}

/// Measures the instrument's own errors under a load.
pub(crate) fn calibrate(stage: Stage, interrupt: &Interrupt) -> Result<Calibration, String> {
    let opening = OPENING * u32::try_from(stage.streams).unwrap_or(u32::MAX);
    let source = GroundTruth::start(stage.interval, stage.interval + opening)?;
    let tokens = stage.duration.as_secs_f64() / stage.interval.as_secs_f64();
    let tokens = (tokens.ceil() as u32).max(8);
    let target = Target { tokens, ..Target::new(source.url.as_str()) };
    let drive = Drive::new(&target, stage.plan()).map_err(|error| error.to_string())?;
    let (ran, drive) = threads::run(drive, None, stage.workers, interrupt, |_| {})?;
    let errors = Errors::of(&ran.records);
    if errors.gap_us.n() == 0 && !ran.interrupted {
        return Err("no stream of the calibration came to its end".to_owned());
    }
    Ok(Calibration { errors, stamps: drive.stamps(), ran })
}
