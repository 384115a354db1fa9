//! The files of a recording, by the name of the first.

use std::path::{Path, PathBuf};

/// Another file beside one, by what its name ends with.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Ticks before those of the file.
pub(super) fn old(path: &Path) -> PathBuf {
    beside(path, ".old")
}

/// What is kept of all at a lower resolution.
pub(super) fn history(path: &Path) -> PathBuf {
    beside(path, ".history")
}
