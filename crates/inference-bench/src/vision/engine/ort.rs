//! The engine of a library that somebody has installed: ONNX Runtime.

use std::path::Path;
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::session::Session;
use ort::value::{TensorRef, ValueType};

use super::{Description, Engine, InferError, LoadError, Port, Tensor, guarded, read};

/// A library is loaded once in a process, and stays.
static LIBRARY: OnceLock<Result<Environment, String>> = OnceLock::new();

/// A model under ONNX Runtime, through [ort](https://docs.rs/ort). Callers on several threads are served
/// one after the other, each by all threads.
pub struct OrtEngine {
    session: std::sync::Mutex<Session>,
    description: Description,
}

impl std::fmt::Debug for OrtEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OrtEngine").field("description", &self.description).finish_non_exhaustive()
    }
}

impl OrtEngine {
    /// Loads an ONNX file into the library at `library` (`libonnxruntime.so` or a name like it); so many
    /// threads will share the work of an inference.
    ///
    /// The library of the first call serves the whole process.
    ///
    /// # Errors
    ///
    /// [`LoadError`], which names the library when that is at fault, and the model otherwise.
    pub fn load(file: &Path, library: &Path, threads: usize) -> Result<Self, LoadError> {
        let environment = LIBRARY.get_or_init(|| open(library));
        let environment =
            environment.as_ref().map_err(|reason| LoadError::new(library, None, reason))?;
        let wrong = |reason: &dyn std::fmt::Display| LoadError::new(file, None, reason);
        drop(read(file)?);
        let session = guarded(|| session(environment, file, threads))
            .map_err(|panic| wrong(&panic))?
            .map_err(|reason| LoadError::new(file, node_in(&reason).as_deref(), reason))?;
        if session.inputs().len() != 1 {
            let n = session.inputs().len();
            return Err(wrong(&format!("the model has {n} inputs, one picture is what we give")));
        }
        let description = Description {
            engine: "ort 2.0.0-rc.15".to_owned(),
            inputs: session.inputs().iter().map(port).collect(),
            outputs: session.outputs().iter().map(port).collect(),
            threads,
        };
        Ok(Self { session: std::sync::Mutex::new(session), description })
    }
}

fn open(library: &Path) -> Result<Environment, String> {
    let opened = guarded(|| {
        let builder = ort::init_from(library).map_err(|error| error.to_string())?;
        builder.build().map_err(|error| error.to_string())
    });
    opened.unwrap_or_else(Err)
}

fn session(environment: &Environment, file: &Path, threads: usize) -> Result<Session, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let builder = Session::builder(environment).map_err(|error| told(&error))?;
    let mut builder = builder.with_intra_threads(threads).map_err(|error| told(&error))?;
    builder.commit_from_file(file).map_err(|error| told(&error))
}

/// The library puts the name of a node in the middle of its words.
fn node_in(reason: &str) -> Option<String> {
    let start = ["Node (", "node with name '", "Node:", "node '"]
        .iter()
        .find_map(|mark| reason.find(mark).map(|at| at + mark.len()))?;
    let name: String =
        reason[start..].chars().take_while(|c| !matches!(c, ')' | '\'' | ' ' | '\n')).collect();
    (!name.is_empty()).then_some(name)
}

fn port(outlet: &ort::value::Outlet) -> Port {
    let dims = match outlet.dtype() {
        ValueType::Tensor { shape, .. } => {
            shape.iter().map(|&dim| usize::try_from(dim).ok()).collect()
        }
        _ => Vec::new(),
    };
    Port { name: outlet.name().to_owned(), dims }
}

impl Engine for OrtEngine {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn infer(&self, input: &Tensor) -> Result<Vec<Tensor>, InferError> {
        let input = TensorRef::from_array_view((input.dims.clone(), &input.values[..]))
            .map_err(InferError::new)?;
        let ran = guarded(|| {
            // A thread that panicked within has left nothing half done that we would read.
            let mut session =
                self.session.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let outputs = session.run(ort::inputs![input]).map_err(InferError::new)?;
            let floats = outputs.values().filter_map(|value| {
                let (shape, values) = value.try_extract_tensor::<f32>().ok()?;
                let dims = shape.iter().map(|&dim| dim.unsigned_abs() as usize).collect();
                Some(Tensor { dims, values: values.to_vec() })
            });
            Ok(floats.collect())
        });
        ran.map_err(InferError::new)?
    }
}
