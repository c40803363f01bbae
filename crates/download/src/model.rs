//! Whole models: what of a repository is wanted, brought to where libraries load it from, and kept clean.

mod blob_lock;
mod bring;
mod check;
mod ensure;
mod flights;
mod gc;
mod glob;
mod inventory;
mod journal;
mod layout;
mod lines;
mod lock_file;
mod manifest;
mod path;
mod records;
mod roster;
mod safetensors;
mod select;
mod spec;
mod usage;
mod verify;

pub use ensure::{Ensured, ModelEvent, Models, ModelsOptions};
pub use gc::{Gc, GcOptions, Removal, collect};
pub use glob::Glob;
pub use inventory::{CachedModel, CachedRevision, list};
pub use journal::ModelJournal;
pub use layout::{Cache, RepoFolder, link_text};
pub use lines::{LineSnapshot, ModelLine, ModelLineOptions, ModelTicket};
pub use lock_file::{LockFileError, Locked, LockedModel};
pub use path::{FilePath, NameError, NameFault, check_together};
pub use roster::{Priority, Roster, RosterError};
pub use select::{SelectError, Selection, Wanted, WantedFile};
pub use spec::{ModelSource, ModelSpec, Pinned};
pub use verify::{Finding, FindingFault, Verification, verify};
