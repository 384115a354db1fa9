//! What the targets share: a file for readers that take a path.

use std::fs;
use std::path::{Path, PathBuf};

/// A folder of this process in memory.
pub fn folder() -> PathBuf {
    let folder = Path::new("/dev/shm").join(format!("vramkit-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder in /dev/shm");
    folder
}

/// A file in that folder with this content.
pub fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, content).expect("a file in /dev/shm");
    path
}
