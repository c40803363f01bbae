//! Models that see: engines, the program, and what goes wrong.

#[cfg(feature = "ort")]
mod agreement;
mod engines;
mod hostile;
mod program;

use std::path::{Path, PathBuf};
use std::process::Command;

use inference_bench::vision::zoo::{self, Normalization};
use tempfile::TempDir;

/// The smallest pictures that the models take: tests are about words and numbers, not speed.
const SIDE: u64 = 64;

/// Writes a model of the zoo into a folder.
fn generate(folder: &TempDir, name: &str, side: u64) -> PathBuf {
    let path = folder.path().join(format!("{name}-{side}.onnx"));
    let graph = zoo::find(name).unwrap().graph(side, 1, Normalization::Fused).unwrap();
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    graph.write(&mut file).unwrap();
    std::io::Write::flush(&mut file).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs the program and returns its exit code and what it said on stdout and stderr.
fn program(arguments: &[&str]) -> (i32, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_inference-bench")).args(arguments).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), stdout, stderr)
}
