//! The engine written in Rust.

use std::path::Path;

use rten::{Dimension, Model, ModelOptions, NodeId, RunOptions, Value};
use rten_tensor::TensorView;
use rten_tensor::prelude::*;

use super::prepare::prepare;
use super::workers::Workers;
use super::{Description, Engine, InferError, LoadError, Port, Tensor, guarded, read};

/// A model under [rten](https://docs.rs/rten).
///
/// All threads work on an inference that is alone. Callers on several threads have one thread each, and
/// wait in line when there are more of them than threads: that gives more pictures a second.
pub struct RtenEngine {
    model: Model,
    input: NodeId,
    outputs: Vec<NodeId>,
    description: Description,
    workers: Workers,
}

impl std::fmt::Debug for RtenEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RtenEngine").field("description", &self.description).finish_non_exhaustive()
    }
}

impl RtenEngine {
    /// Loads an ONNX file; so many threads will share the work of an inference.
    ///
    /// Nodes for which rten has a quicker way to the same numbers are replaced (the crate's README says
    /// which): results agree to rounding.
    ///
    /// # Errors
    ///
    /// [`LoadError`] when the file is not there, is no model, has a node that the engine does not know,
    /// or takes something else than one tensor of floats.
    pub fn load(file: &Path, threads: usize) -> Result<Self, LoadError> {
        let bytes = read(file)?;
        let bytes = prepare(&bytes).unwrap_or(bytes);
        Self::start(file, bytes, threads)
    }

    /// Loads an ONNX file whose nodes stay as they are.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn load_as_it_is(file: &Path, threads: usize) -> Result<Self, LoadError> {
        Self::start(file, read(file)?, threads)
    }

    /// From memory: a file whose name does not end in `.onnx` is a model all the same.
    fn start(file: &Path, bytes: Vec<u8>, threads: usize) -> Result<Self, LoadError> {
        let wrong = |reason: &dyn std::fmt::Display| LoadError::new(file, None, reason);
        let loaded = guarded(|| ModelOptions::default().prepack_weights(true).load(bytes))
            .map_err(|panic| wrong(&panic))?;
        let model = loaded.map_err(|error| LoadError::new(file, error.node(), chain(&error)))?;
        let &[input] = model.input_ids() else {
            let n = model.input_ids().len();
            return Err(wrong(&format!("the model has {n} inputs, one picture is what we give")));
        };
        let outputs = model.output_ids().to_vec();
        if outputs.is_empty() {
            return Err(wrong(&"the model has no outputs"));
        }
        let ports = |ids: &[NodeId]| ids.iter().map(|&id| port(&model, id)).collect();
        let description = Description {
            engine: "rten 0.27".to_owned(),
            inputs: ports(&[input]),
            outputs: ports(&outputs),
            threads,
        };
        let workers = Workers::new(threads);
        Ok(Self { model, input, outputs, description, workers })
    }
}

impl Engine for RtenEngine {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn infer(&self, input: &Tensor) -> Result<Vec<Tensor>, InferError> {
        let view = TensorView::try_from_data(&input.dims[..], &input.values[..])
            .map_err(InferError::new)?;
        let turn = self.workers.turn();
        let options = RunOptions::default().with_thread_pool(Some(turn.pool()));
        let ran = guarded(|| {
            self.model.run(vec![(self.input, view.into())], &self.outputs, Some(options))
        });
        let values = ran.map_err(InferError::new)?.map_err(InferError::new)?;
        Ok(values.into_iter().filter_map(floats).collect())
    }
}

fn floats(value: Value) -> Option<Tensor> {
    let Value::FloatTensor(tensor) = value else { return None };
    let dims = tensor.shape().to_vec();
    Some(Tensor { dims, values: tensor.into_data() })
}

fn port(model: &Model, id: NodeId) -> Port {
    let info = model.node_info(id);
    let name = info.as_ref().and_then(rten::NodeInfo::name).unwrap_or_default().to_owned();
    let dims = info.and_then(|info| info.shape()).unwrap_or_default();
    let len = |dim: Dimension| match dim {
        Dimension::Fixed(len) => Some(len),
        Dimension::Symbolic(_) => None,
    };
    Port { name, dims: dims.into_iter().map(len).collect() }
}

/// An error without the node's name, which stands elsewhere, and with what is behind it.
fn chain(error: &rten::LoadError) -> String {
    let mut text = error.to_string();
    if let Some(node) = error.node() {
        text = text.replacen(&format!("in node \"{node}\": "), "", 1);
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}
