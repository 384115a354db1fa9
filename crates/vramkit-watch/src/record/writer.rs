//! Writes ticks, and of each minute the largest readings.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::files::{beside, history, old};
use super::lines;
use super::past::{self, Thinner};
use crate::tick::Tick;

/// The least bound.
const LEAST: u64 = 1 << 16;

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
    /// The file cannot be written.
    #[error("cannot write `{}`: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Writes ticks.
///
/// ```
/// use std::time::Duration;
/// use vramkit_watch::record::{RecordError, TickRecorder, read};
/// use vramkit_watch::{WatchConfig, Watcher};
///
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("ticks.jsonl");
/// let mut watcher = Watcher::new(Vec::new(), WatchConfig::default())?;
/// // At most about 1 MiB in all files.
/// let mut recorder = TickRecorder::open(&path, 1 << 20)?;
/// recorder.write(&watcher.tick(Duration::ZERO))?;
/// assert_eq!(read(&path)?.ticks.len(), 1);
/// assert!(matches!(TickRecorder::open(&path, 1 << 20), Err(RecordError::Locked { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TickRecorder {
    path: PathBuf,
    /// None after a failure, until it is opened again.
    file: Option<File>,
    written: u64,
    most: u64,
    thinner: Thinner,
    /// Locked as long as it is open.
    _lock: File,
}

impl TickRecorder {
    /// Goes on in `path`, keeping at most about `most` bytes in all of its files, and no less than 64 KiB.
    ///
    /// # Errors
    /// A file that another recorder has, and what the system says of it.
    pub fn open(path: &Path, most: u64) -> Result<Self, RecordError> {
        // One file under two names has one lock.
        let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let failed = |error| RecordError::Io { path: path.clone(), error };
        let lock = lock(path)?;
        let mut recorder = Self {
            path: path.clone(),
            file: None,
            written: 0,
            most: most.max(LEAST),
            thinner: Thinner::default(),
            _lock: lock,
        };
        recorder.reopen().map_err(failed)?;
        Ok(recorder)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one tick, at once. After a failure the next call begins again behind the last whole line.
    ///
    /// # Errors
    /// What the system says of the file.
    pub fn write(&mut self, tick: &Tick) -> io::Result<()> {
        let outcome = self.write_line(tick).and_then(|()| match self.thinner.take(tick) {
            Some(line) => past::append(&history(&self.path), &line, self.most / 4),
            None => Ok(()),
        });
        if outcome.is_err() {
            self.file = None;
        }
        outcome
    }

    fn write_line(&mut self, tick: &Tick) -> io::Result<()> {
        let mut line = serde_json::to_vec(tick)?;
        line.push(b'\n');
        if self.file.as_ref().is_none_or(|file| !self.is_there(file)) {
            self.reopen()?;
        }
        if self.written > 0 && self.written + line.len() as u64 > self.most * 3 / 8 {
            self.file = None;
            fs::rename(&self.path, old(&self.path))?;
            self.reopen()?;
        }
        // One call: either the line is there, or a part of it that is found out.
        if let Some(file) = &mut self.file {
            file.write_all(&line)?;
            self.written += line.len() as u64;
        }
        Ok(())
    }

    /// Whether a file still stands under the recording's name: one that was removed or moved is no recording.
    fn is_there(&self, file: &File) -> bool {
        let which = |found: fs::Metadata| (found.dev(), found.ino());
        let (open, named) = (file.metadata().map(which), fs::metadata(&self.path).map(which));
        open.is_ok() && open.ok() == named.ok()
    }

    fn reopen(&mut self) -> io::Result<()> {
        let options = || OpenOptions::new().read(true).write(true).create(true).truncate(false).to_owned();
        let mut file = options().open(&self.path)?;
        self.written = lines::go_to_end(&mut file)?;
        self.file = Some(file);
        Ok(())
    }
}

fn lock(path: &Path) -> Result<File, RecordError> {
    let beside = beside(path, ".lock");
    let failed = |error| RecordError::Io { path: beside.clone(), error };
    let options = || OpenOptions::new().read(true).write(true).create(true).truncate(false).to_owned();
    let mut file = options().open(&beside).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let by = fs::read_to_string(&beside).ok().and_then(|text| text.trim().parse().ok());
            return Err(RecordError::Locked { path: path.to_owned(), by });
        }
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
            tracing::warn!(%error, "this file system has no locks: nothing keeps a second recorder away");
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    // For whoever is refused. A disk that is full does not keep the lock away.
    let _ = file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
    Ok(file)
}
