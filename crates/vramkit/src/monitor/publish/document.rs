//! What publishers and readers agree on: the document, the folders, and how long the one waits for the other.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::pool_use::PoolUse;

/// What a process publishes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Published {
    /// `vramkit.published/1`.
    pub schema: String,
    /// The process.
    pub pid: u32,
    /// Its pools.
    pub pools: Vec<PoolUse>,
}

pub(super) const SCHEMA: &str = "vramkit.published/1";
/// How long a peer may take.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// Where this user's processes publish: `vramkit` in the runtime folder (`XDG_RUNTIME_DIR`), or `/tmp/vramkit-UID`.
/// `VRAMKIT_RUNTIME_DIR` names another one.
pub fn folder() -> PathBuf {
    if let Some(named) = std::env::var_os("VRAMKIT_RUNTIME_DIR") {
        return named.into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(runtime) if !runtime.is_empty() => Path::new(&runtime).join("vramkit"),
        _ => PathBuf::from(format!("/tmp/vramkit-{}", user())),
    }
}

/// Every folder that processes may publish in, as far as this user may read them: its own, and those of others for root.
pub fn folders() -> Vec<PathBuf> {
    let mut folders = vec![folder()];
    if std::env::var_os("VRAMKIT_RUNTIME_DIR").is_none() {
        let others =
            fs::read_dir("/run/user").into_iter().flatten().flatten().map(|user| user.path().join("vramkit"));
        let temporary = fs::read_dir("/tmp").into_iter().flatten().flatten().map(|entry| entry.path());
        let named = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vramkit-"))
        };
        // Not what only points to a folder: those may be anybody's.
        let is_real = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
        folders.extend(others.chain(temporary.filter(named)).filter(is_real));
    }
    folders.sort();
    folders.dedup();
    folders
}

fn user() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Whether a folder is a real one of this user's.
pub(super) fn is_own(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir() && found.uid() == user())
}
