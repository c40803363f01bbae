//! How fast the machine is at what models do most: a plain matrix product, on the same engine.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use super::engine::{Engine, Tensor};
use super::onnx::{Fill, Graph, Node, Value, Weight};

/// The side of the square matrices: large enough that nothing but the product counts.
const SIDE: u64 = 512;
/// Products in one run: the three colors of a picture.
const PLANES: u64 = 3;
/// Runs: a sixth of a second on two cores.
const RUNS: usize = 32;
/// Of so many runs in a row the fastest count: what disturbs only ever slows down, and what a processor can do
/// for a moment says nothing of what it can do for as long as a picture takes.
const IN_A_ROW: usize = 16;

/// Billions of operations per second; `None` where no file can be written or the engine does not run it.
pub(super) fn gflops_per_s(load: impl Fn(&Path) -> Option<Box<dyn Engine>>) -> Option<f64> {
    let file = std::env::temp_dir().join(format!("reference-{}.onnx", std::process::id()));
    let engine = write(&file).ok().and_then(|()| load(&file));
    // Nobody needs it any more; a folder that cannot be tidied is no reason to stop.
    let _ = std::fs::remove_file(&file);
    let engine = engine?;
    let dims = [1, PLANES, SIDE, SIDE].map(|dim| dim as usize);
    let mut input = Tensor::zeros(&dims);
    input.values.iter_mut().enumerate().for_each(|(at, value)| *value = (at % 17) as f32 / 17.0);
    let mut walls_s = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let begin = Instant::now();
        engine.infer(&input).ok()?;
        walls_s.push(begin.elapsed().as_secs_f64());
    }
    let gflops = 2.0 * (IN_A_ROW as u64 * PLANES * SIDE * SIDE * SIDE) as f64 / 1e9;
    Some(gflops / fastest_row(&walls_s))
}

/// What the fastest of so many runs in a row took together.
fn fastest_row(walls_s: &[f64]) -> f64 {
    let rows = walls_s.windows(IN_A_ROW).map(|row| row.iter().sum());
    rows.fold(f64::INFINITY, f64::min)
}

fn write(path: &Path) -> std::io::Result<()> {
    let input = Value { name: "a".to_owned(), dims: vec![1, PLANES, SIDE, SIDE] };
    let mut graph = Graph::new("reference", vec![input.clone()]);
    graph.push_weight(Weight {
        name: "b".to_owned(),
        dims: vec![SIDE, SIDE],
        fill: Fill::Noise { seed: 1, center: 0.0, bound: 1.0 },
        is_parameter: true,
    });
    let node = Node {
        name: "product".to_owned(),
        op: "MatMul",
        inputs: vec!["a".to_owned(), "b".to_owned()],
        outputs: vec!["c".to_owned()],
        attributes: Vec::new(),
    };
    graph.push(node, vec![input.dims]);
    graph.outputs.push("c".to_owned());
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    graph.write(&mut file)?;
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_half_does_not_count_and_a_fast_moment_is_no_pace() {
        let mut walls_s = [2.0; RUNS];
        walls_s[RUNS - IN_A_ROW..].fill(1.0);
        assert_eq!(IN_A_ROW as f64, fastest_row(&walls_s));

        let mut walls_s = [2.0; RUNS];
        walls_s[7] = 1.0;
        assert_eq!(2.0 * IN_A_ROW as f64 - 1.0, fastest_row(&walls_s));
    }
}
