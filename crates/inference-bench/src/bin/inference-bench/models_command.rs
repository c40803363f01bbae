//! `inference-bench models`: the zoo, listed and written to files.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use inference_bench::exit;
use inference_bench::vision::onnx::Graph;
use inference_bench::vision::zoo::{self, MODELS, Normalization};
use serde_json::json;

use crate::output::Output;

/// The options of `models`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
    /// Prints NDJSON events on stdout, all else on stderr.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the models that can be generated: counted parameters and operations beside the published.
    List,
    /// Writes a model true to its architecture, with weights drawn from a seed: no claim on accuracy.
    #[command(after_help = EXAMPLES)]
    Generate(Generate),
}

#[derive(Debug, clap::Args)]
struct Generate {
    /// Which one; `models list` names them all.
    name: String,
    /// Where to write it.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The side of the square pictures it takes, in pixels: a multiple of 32.
    #[arg(long, value_name = "PIXELS", default_value_t = zoo::SIZE)]
    size: u64,
    /// Decides the weights.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Keeps batch normalization apart, as in training; deployed models have it in their convolutions.
    #[arg(long)]
    unfused: bool,
}

const EXAMPLES: &str = "Examples:
  inference-bench models list
  inference-bench models generate yolo11n -o yolo11n.onnx
  inference-bench models generate yolo12x -o small.onnx --size 64 --seed 7";

/// Runs the command and returns the exit code.
pub(crate) fn run(options: &Options) -> u8 {
    let output = Output::new(options.json);
    match &options.command {
        Command::List => list(&output),
        Command::Generate(generate) => write_model(generate, &output),
    }
}

fn list(output: &Output) -> u8 {
    output.result("name      parameters  (fused)     GFLOPs (with matrix products)  published  MB");
    for model in MODELS {
        let graph = |normalization| model.graph(zoo::SIZE, 0, normalization);
        let (Ok(fused), Ok(apart)) = (graph(Normalization::Fused), graph(Normalization::Apart))
        else {
            continue;
        };
        let (counts, parameters) = (fused.counts(), apart.counts().parameters);
        output.result(&format!(
            "{:<8}  {:>10}  {:>10}  {:>6.1} {:>22.1}  {:>9.1}  {:>5.1}",
            model.name,
            parameters,
            counts.parameters,
            counts.gflops_published(),
            counts.gflops(),
            model.gflops,
            fused.file_bytes() as f64 / 1e6,
        ));
        output.event(
            "model",
            json!({ "model": model.name, "parameters": parameters,
                "fused_parameters": counts.parameters, "gflops": counts.gflops(),
                "published_parameters": model.parameters, "published_gflops": model.gflops,
                "file_bytes": fused.file_bytes() }),
        );
    }
    exit::OK
}

fn write_model(options: &Generate, output: &Output) -> u8 {
    let usage = |reason: String| {
        output.remark(&format!("error: {reason}"));
        exit::USAGE
    };
    let Some(model) = zoo::find(&options.name) else {
        let names: Vec<_> = MODELS.iter().map(|model| model.name).collect();
        return usage(format!("no model `{}`; there are: {}", options.name, names.join(", ")));
    };
    let normalization = if options.unfused { Normalization::Apart } else { Normalization::Fused };
    let graph = match model.graph(options.size, options.seed, normalization) {
        Ok(graph) => graph,
        Err(error) => return usage(error.to_string()),
    };
    if let Err(error) = write(&graph, &options.output) {
        output.remark(&format!("error: cannot write {}: {error}", options.output.display()));
        return exit::INVALID;
    }
    let (counts, bytes) = (graph.counts(), graph.file_bytes());
    let path = options.output.display().to_string();
    output.event(
        "file",
        json!({ "path": path, "bytes": bytes, "parameters": counts.parameters,
            "gflops": counts.gflops() }),
    );
    output.remark(&format!(
        "{}: {} parameters, {:.1} GFLOPs, {bytes} bytes, synthetic weights",
        model.name,
        counts.parameters,
        counts.gflops()
    ));
    output.result(&path);
    exit::OK
}

/// Writes a model beside its place, then puts it there: no half of one is ever found.
pub(crate) fn write(graph: &Graph, path: &Path) -> std::io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(format!(".part.{}", std::process::id()));
    let part = PathBuf::from(part);
    let written = File::create(&part).and_then(|file| {
        let mut file = BufWriter::new(file);
        graph.write(&mut file)?;
        file.flush()?;
        std::fs::rename(&part, path)
    });
    if written.is_err() {
        // What is left is of no use; that it cannot be removed is told by the first error.
        let _ = std::fs::remove_file(&part);
    }
    written
}
