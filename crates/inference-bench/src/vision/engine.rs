//! What runs models.

#[cfg(feature = "ort")]
mod ort;
mod prepare;
mod rten;
mod workers;

use std::fmt;
use std::path::{Path, PathBuf};

use super::onnx;

#[cfg(feature = "ort")]
pub use self::ort::OrtEngine;
pub use self::rten::RtenEngine;

/// Numbers along some axes, the last one closest together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensor {
    /// How many elements along each axis.
    pub dims: Vec<usize>,
    /// The elements, as many as the product of the dimensions.
    pub values: Vec<f32>,
}

impl Tensor {
    /// A tensor of zeros.
    #[must_use]
    pub fn zeros(dims: &[usize]) -> Self {
        Self { dims: dims.to_vec(), values: vec![0.0; dims.iter().product()] }
    }
}

/// One input or output of a model.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Port {
    /// Its name in the file.
    pub name: String,
    /// Its dimensions; `None` where any will do.
    pub dims: Vec<Option<usize>>,
}

/// What an engine knows about a loaded model.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Description {
    /// The engine, with its version.
    pub engine: String,
    /// What the model takes.
    pub inputs: Vec<Port>,
    /// What it gives, in the order in which [`Engine::infer`] returns it.
    pub outputs: Vec<Port>,
    /// Threads that share the work of one inference.
    pub threads: usize,
}

/// A loaded model.
///
/// # Examples
///
/// ```
/// use inference_bench::vision::engine::{Engine, RtenEngine, Tensor};
/// use inference_bench::vision::zoo::{self, Normalization};
///
/// let file = tempfile::NamedTempFile::new()?;
/// let model = zoo::find("yolo11n").expect("it is in the zoo");
/// model.graph(32, 0, Normalization::Fused)?.write(&mut file.as_file())?;
///
/// let engine = RtenEngine::load(file.path(), 1)?;
/// let outputs = engine.infer(&Tensor::zeros(&[1, 3, 32, 32]))?;
/// assert_eq!(vec![1, 84, 21], outputs[0].dims);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Engine: Send + Sync {
    /// What was loaded.
    fn describe(&self) -> &Description;

    /// Runs the model once and returns its outputs that are floats.
    ///
    /// Callers on several threads are served at once or in turn, as the engine has it.
    ///
    /// # Errors
    ///
    /// [`InferError`] when the model does not take the input, or fails on the way. The engine stays usable.
    fn infer(&self, input: &Tensor) -> Result<Vec<Tensor>, InferError>;

    /// Runs the model once for each input, in order.
    ///
    /// # Errors
    ///
    /// That of the first input that fails.
    fn infer_batch(&self, inputs: &[Tensor]) -> Result<Vec<Vec<Tensor>>, InferError> {
        inputs.iter().map(|input| self.infer(input)).collect()
    }
}

/// Why a model cannot be used. Nothing of it stays in memory.
#[derive(Debug)]
pub struct LoadError {
    file: PathBuf,
    node: Option<String>,
    reason: String,
}

impl LoadError {
    fn new(file: &Path, node: Option<&str>, reason: impl fmt::Display) -> Self {
        let (node, reason) = (node.map(str::to_owned), reason.to_string());
        Self { file: file.to_path_buf(), node, reason }
    }

    /// The file at fault: the model, or the engine's library.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The node of the graph at fault, where the engine names one.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use {}: ", self.file.display())?;
        match &self.node {
            Some(node) => write!(f, "node {node}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for LoadError {}

/// Why an inference gave no result.
#[derive(Debug)]
pub struct InferError {
    reason: String,
}

impl InferError {
    pub(crate) fn new(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string() }
    }
}

impl fmt::Display for InferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inference failed: {}", self.reason)
    }
}

impl std::error::Error for InferError {}

/// Reads a model's file, unless it is framed as none.
fn read(file: &Path) -> Result<Vec<u8>, LoadError> {
    let bytes = std::fs::read(file).map_err(|error| LoadError::new(file, None, error))?;
    match onnx::check(&bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(LoadError::new(file, error.node.as_deref(), &error)),
    }
}

/// Runs foreign code that may panic on a hostile file, and makes words of it.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        format!("the engine panicked: {}", text.unwrap_or_else(|| "no words".to_owned()))
    })
}
