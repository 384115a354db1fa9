//! What must hold before a file is recorded into: it is a plain file, what is in it is a recording, and nobody else writes it.
//!
//! Two locks keep a second recorder away: one on `FILE.lock`, which outlasts the turns of the file, and one on the file itself,
//! which has as many names as it has links.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::files::{beside, old};
use super::lines;
use super::reader::TICK;

/// Why a recording cannot be begun.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Somebody else writes it.
    #[error(
        "`{}` is being recorded by {}: one file has one recorder; choose another file, or end that one",
        path.display(), by.map_or_else(|| "another recorder".to_owned(), |by| format!("process {by}"))
    )]
    Locked {
        /// The file.
        path: PathBuf,
        /// The other recorder's process, as its own container counts.
        by: Option<u32>,
    },
    /// There is something else in it, which is left as it is.
    #[error("`{}` is no recording, and is left as it is ({reason}): choose another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with its first line.
        reason: String,
    },
    /// A pipe, a device or a folder cannot be gone on with, cut or turned over.
    #[error("`{}` is not a plain file, and a recording needs one: choose another", path.display())]
    NotPlain {
        /// The file.
        path: PathBuf,
    },
    /// Its folder is not there.
    #[error("cannot write `{}`: there is no folder `{}`; make it, or choose another file", path.display(), folder.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// Where it would be.
        folder: PathBuf,
    },
    /// The file cannot be written.
    #[error("cannot write `{}`: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Opens what is written, and made where it is not there.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// The lock of a recording; held as long as the file is open.
pub(super) fn begin(path: &Path) -> Result<File, RecordError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(RecordError::NoFolder { path: path.to_owned(), folder: folder.to_owned() });
    }
    let found = fs::metadata(path).ok();
    if found.as_ref().is_some_and(|found| !found.is_file()) {
        return Err(RecordError::NotPlain { path: path.to_owned() });
    }
    let failed = |error| RecordError::Io { path: path.to_owned(), error };
    // What it becomes when it is full takes the place of what is there.
    for path in [path.to_owned(), old(path)] {
        let failed = |error| RecordError::Io { path: path.clone(), error };
        if fs::metadata(&path).is_ok_and(|found| found.is_file())
            && let Some(reason) = foreign(&path).map_err(failed)?
        {
            return Err(RecordError::Foreign { path, reason });
        }
    }
    let beside = beside(path, ".lock");
    let mut file = open(&beside).map_err(|error| RecordError::Io { path: beside.clone(), error })?;
    if !lock(&file).map_err(failed)? {
        let by = fs::read_to_string(&beside).ok().and_then(|text| text.trim().parse().ok());
        return Err(RecordError::Locked { path: path.to_owned(), by });
    }
    // For whoever is refused. A disk that is full does not keep the lock away.
    let _ = file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    Ok(file)
}

/// Whether nobody else has a file locked; it is then, as long as it is open.
pub(super) fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
            tracing::warn!(%error, "this file system has no locks: nothing keeps a second recorder away");
            Ok(true)
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// What is wrong with a file in which nothing is of a recording. One line of it is enough, whole or cut off by a kill, and so are
/// the zeros that a machine leaves when it fails.
fn foreign(path: &Path) -> io::Result<Option<String>> {
    let mut first = None;
    let mut is_ours = false;
    lines::until(path, TICK, |_, line: Result<Value, String>| match line {
        Ok(_) => {
            is_ours = true;
            ControlFlow::Break(())
        }
        Err(reason) => {
            first.get_or_insert(reason);
            ControlFlow::Continue(())
        }
    })?;
    if is_ours {
        return Ok(None);
    }
    // What is behind the last whole line.
    let mut file = File::open(path)?;
    let mut rest = Vec::new();
    let end = lines::whole(&mut file)?;
    file.seek(SeekFrom::Start(end))?;
    file.take(1 << 16).read_to_end(&mut rest)?;
    let rest: Vec<u8> = rest.into_iter().skip_while(|&byte| byte == 0).collect();
    let same = rest.len().min(lines::START.len());
    if rest[..same] == lines::START[..same] && (same > 0 || first.is_none()) {
        return Ok(None);
    }
    Ok(first.or_else(|| Some("it ends with a line that is no reading".to_owned())))
}
