//! Starts the program, and asks of its answers what holds for all of them.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

/// Where `examples/` is: links to the repository's, which a package has as files.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

pub fn vramkit() -> Command {
    let mut command = Command::cargo_bin("vramkit").unwrap();
    command.current_dir(root());
    command
}

pub fn example(name: &str) -> String {
    format!("examples/{name}.toml")
}

/// Runs and parses what is printed; checks the exit status.
pub fn json(arguments: &[&str], status: i32) -> Value {
    let output = vramkit().args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(status), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs what must fail: exit status 2, nothing on stdout, one line that starts `error:` on stderr.
pub fn refused(arguments: &[&str]) -> String {
    let output = vramkit().args(arguments).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(output.stdout.is_empty() && error.starts_with("error:"), "{error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

/// A folder with one file in it.
pub fn file(name: &str, content: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    let path = path.display().to_string();
    (folder, path)
}
