//! Files of the kernel below a root: read with bounds, and what is wrong with one said by its name.
//!
//! The root is `/`, or the folder that `VRAMKIT_SYSTEM_ROOT` names, in which `proc` and `sys` stand for the kernel's: so a
//! script or a test shows the real program a machine that is not here.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use vramkit::monitor::text::{WORDS, clean};

/// Names another root.
const VARIABLE: &str = "VRAMKIT_SYSTEM_ROOT";
/// Longer files of the kernel are cut off: lists of mounts may have thousands of lines.
const LONGEST: u64 = 1 << 20;
/// Entries of a folder that are looked at.
const MOST_ENTRIES: usize = 1 << 16;

/// Where `proc` and `sys` are: `/`, or what `VRAMKIT_SYSTEM_ROOT` names.
pub fn system_root() -> PathBuf {
    std::env::var_os(VARIABLE).filter(|root| !root.is_empty()).map_or_else(|| "/".into(), PathBuf::from)
}

/// Reads below a root. Paths have no leading slash.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    root: PathBuf,
}

impl Kernel {
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(crate) fn is_folder(&self, path: &str) -> bool {
        self.path(path).is_dir()
    }

    /// A file's bytes, at most so many.
    pub(crate) fn bytes(&self, path: &str, most: u64) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let read = fs::File::open(self.path(path)).and_then(|file| file.take(most).read_to_end(&mut bytes));
        // Folders may be called as somebody likes: control groups are.
        read.map(|_| bytes).map_err(|error| format!("/{}: {error}", shown(path, WORDS)))
    }

    /// A file's text without the space around it.
    pub(crate) fn text(&self, path: &str) -> Result<String, String> {
        Ok(String::from_utf8_lossy(&self.bytes(path, LONGEST)?).trim().to_owned())
    }

    /// The one number in a file.
    pub(crate) fn number(&self, path: &str) -> Result<u64, String> {
        let text = self.text(path)?;
        text.parse().map_err(|_| format!("/{} says `{}`", shown(path, WORDS), shown(&text, 40)))
    }

    /// The names in a folder, in order; none where it cannot be read.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.take(MOST_ENTRIES).filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

/// What comes from elsewhere, for people: clean, and at most so many characters.
pub(crate) fn shown(text: &str, most: usize) -> String {
    clean(text, most).trim().to_owned()
}

/// The number behind a name in lines such as `active_file 4096`.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_said_by_its_name() {
        let root = tempfile::tempdir().unwrap();
        let kernel = Kernel::at(root.path());
        fs::write(root.path().join("a"), " 12 \n").unwrap();
        fs::write(root.path().join("b"), "a\u{1b}[31m lot").unwrap();
        assert_eq!(kernel.number("a"), Ok(12));
        assert_eq!(kernel.number("b").unwrap_err(), "/b says `a [31m lot`");
        assert!(kernel.number("c").unwrap_err().starts_with("/c: "));
        assert_eq!(kernel.names(""), ["a", "b"]);
        assert_eq!((field("ab 1\na 2\n", "a"), field("a 1 2", "a")), (Some(2), None));
    }
}
