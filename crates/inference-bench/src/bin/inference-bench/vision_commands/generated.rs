//! A model of the zoo as files, for as long as it is measured.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use inference_bench::vision::zoo::{Model, Normalization};

use crate::models_command::write;

/// The side of the smallest pictures that models of the zoo are made for in the search for leaks, in
/// pixels: as little work as possible around what may stay.
const SMALL_SIDE: u64 = 64;

/// A model for pictures of two sizes, in a folder that is gone when this is.
#[derive(Debug)]
pub(super) struct Generated {
    folder: PathBuf,
    /// For pictures of the size that is asked for.
    pub(super) file: PathBuf,
    /// For the smallest.
    pub(super) small_file: PathBuf,
}

impl Generated {
    /// Writes a model into a new folder beneath this one.
    pub(super) fn write(
        model: &Model,
        side: u64,
        seed: u64,
        beneath: &Path,
    ) -> Result<Self, String> {
        let nanos =
            SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since_epoch| since_epoch.subsec_nanos());
        let name = format!("inference-bench-{}-{nanos}", std::process::id());
        let folder = beneath.join(name);
        let cannot = |error: std::io::Error| {
            let beneath = beneath.display();
            format!(
                "cannot generate the model beneath {beneath} (TMPDIR is another place): {error}"
            )
        };
        std::fs::create_dir(&folder).map_err(cannot)?;
        let file_of = |side: u64| folder.join(format!("{}-{side}.onnx", model.name));
        let (file, small_file) = (file_of(side), file_of(SMALL_SIDE));
        let generated = Self { folder, file, small_file };
        for (side, file) in [(side, &generated.file), (SMALL_SIDE, &generated.small_file)] {
            let graph = model.graph(side, seed, Normalization::Fused);
            let graph = graph.map_err(|error| error.to_string())?;
            write(&graph, file).map_err(cannot)?;
        }
        Ok(generated)
    }
}

impl Drop for Generated {
    fn drop(&mut self) {
        // What cannot be removed is in a folder for such things.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use inference_bench::vision::zoo::MODELS;

    use super::*;

    #[test]
    fn generated_models_are_gone_with_their_folder_and_a_missing_place_is_told() {
        let place = tempfile::tempdir().unwrap();
        let generated = Generated::write(&MODELS[0], 64, 1, place.path()).unwrap();
        assert!(generated.file.is_file() && generated.small_file.is_file());
        drop(generated);
        assert_eq!(0, place.path().read_dir().unwrap().count());
        let nowhere = place.path().join("nowhere");
        let error = Generated::write(&MODELS[0], 64, 1, &nowhere).unwrap_err();
        assert!(error.contains("nowhere (TMPDIR is another place): No such file"), "{error}");
    }
}
