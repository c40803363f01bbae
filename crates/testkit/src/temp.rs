//! Temporary directories.

use std::fs;
use std::path::Path;

pub use tempfile::TempDir;

/// Makes a directory with these files in it, which is removed when it is dropped.
///
/// # Panics
///
/// When the system's temporary folder cannot be written to: no test can go on then.
///
/// # Examples
///
/// ```
/// let folder = testkit::temp_dir(&[("a/b.txt", "hello")]);
/// assert_eq!("hello", std::fs::read_to_string(folder.path().join("a/b.txt"))?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn temp_dir(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().expect("the temporary folder can be written to");
    for (name, text) in files {
        let path = folder.path().join(name);
        let parent = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).expect("a fresh folder can be written to");
        fs::write(path, text).expect("a fresh folder can be written to");
    }
    folder
}
