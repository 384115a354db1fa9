//! A path as every reader sees it: its name, its ending, its content.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use crate::error::ReadError;

/// The last part of a path, without its ending.
pub(crate) fn stem(path: &str) -> String {
    Path::new(path).file_stem().map_or_else(|| path.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// A whole file, or all that comes out of a pipe. A device such as `/dev/zero`, which has no end, is refused.
pub(crate) fn whole(path: &Path) -> Result<Vec<u8>, ReadError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let endless = |kind: fs::FileType| kind.is_char_device() || kind.is_block_device();
        if fs::metadata(path).is_ok_and(|found| endless(found.file_type())) {
            return Err(ReadError::within(&path.display().to_string(), "a device, and no file".to_owned()));
        }
    }
    fs::read(path).map_err(|error| ReadError::Io { path: path.to_owned(), error })
}

/// Which file it is and how it stands: to tell whether it is still the one that was read before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    length: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: (u64, u64),
}

impl Identity {
    pub(crate) fn of(found: &Metadata) -> Self {
        Self {
            length: found.len(),
            modified: found.modified().ok(),
            #[cfg(unix)]
            inode: {
                use std::os::unix::fs::MetadataExt;
                (found.dev(), found.ino())
            },
        }
    }

    /// Opens the file if it is the same still. What is no file any more is not opened: a pipe would wait for its writer.
    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        let changed = || io::Error::other("it has changed since it was read first");
        if !fs::metadata(path)?.is_file() {
            return Err(changed());
        }
        let file = File::open(path)?;
        if Self::of(&file.metadata()?) == *self { Ok(file) } else { Err(changed()) }
    }
}

/// The ending of a path, in lower case: what tells the kind of a file.
pub(crate) fn kind(path: &Path) -> String {
    path.extension().map_or_else(String::new, |ending| ending.to_string_lossy().to_lowercase())
}

/// Bytes with which a file begins that stands for another one, which git keeps elsewhere.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
/// The largest such file.
pub(crate) const LARGEST_POINTER: u64 = 1024;

/// Fails where a file's first bytes are those of a pointer of git-lfs.
pub(crate) fn check_pointer(name: &str, start: &[u8]) -> Result<(), ReadError> {
    if !start.starts_with(POINTER) {
        return Ok(());
    }
    Err(ReadError::within(
        name,
        "a pointer of git-lfs, and not the file itself: fetch it with `git lfs pull`",
    ))
}
