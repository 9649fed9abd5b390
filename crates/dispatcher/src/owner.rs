//! Whose the journal is: root may write to everything, and nobody else may write to what root makes.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

/// The user that `journal` belongs to, where this is root and the journal is not root's. That user cannot write to the files
/// that sinks make here.
pub(crate) fn other_than_root(journal: &Path) -> Option<u32> {
    let owner = fs::metadata(journal).ok()?.uid();
    (owner != 0 && rustix::process::geteuid().is_root()).then_some(owner)
}
