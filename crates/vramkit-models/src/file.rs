//! A path as every reader sees it: its name, its ending, its content.

use std::fs;
use std::path::Path;

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

/// The ending of a path, in lower case: what tells the kind of a file.
pub(crate) fn kind(path: &Path) -> String {
    path.extension().map_or_else(String::new, |ending| ending.to_string_lossy().to_lowercase())
}
