//! Writes ticks, and of each minute the largest readings.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use vramkit::ByteSize;

use super::begin::{self, RecordError};
use super::files::{history, old};
use super::lines;
use super::past::{self, Thinner};
use crate::tick::Tick;

/// The least bound of a recording.
pub const LEAST: ByteSize = ByteSize::new(64 << 10);

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
    /// Goes on in `path`, keeping at most about `most` bytes in all of its files, and no less than [`LEAST`].
    ///
    /// # Errors
    /// A file that another recorder has, one in which something else is, or none that is plain, and what the system says of it.
    pub fn open(path: &Path, most: u64) -> Result<Self, RecordError> {
        // One file under two names has one lock.
        let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let lock = begin::begin(path)?;
        let mut recorder = Self {
            path: path.clone(),
            file: None,
            written: 0,
            most: most.max(LEAST.bytes()),
            thinner: Thinner::default(),
            _lock: lock,
        };
        match recorder.reopen() {
            Ok(()) => Ok(recorder),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                Err(RecordError::Locked { path: path.clone(), by: None })
            }
            Err(error) => Err(RecordError::Io { path: path.clone(), error }),
        }
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

    /// Whether a file still stands under the recording's name, as long as it was left: one that was removed or moved is no
    /// recording, and behind the end of one that somebody cut there would be a hole.
    fn is_there(&self, file: &File) -> bool {
        let which = |found: fs::Metadata| (found.dev(), found.ino(), found.len());
        let (open, named) = (file.metadata().map(which), fs::metadata(&self.path).map(which));
        open.as_ref().is_ok_and(|(.., length)| *length == self.written) && open.ok() == named.ok()
    }

    fn reopen(&mut self) -> io::Result<()> {
        // What is open has the lock.
        self.file = None;
        let mut file = begin::open(&self.path)?;
        if !begin::lock(&file)? {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another recorder writes it, by another name",
            ));
        }
        self.written = lines::go_to_end(&mut file)?;
        self.file = Some(file);
        Ok(())
    }
}
