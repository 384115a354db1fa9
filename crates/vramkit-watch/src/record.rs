//! Ticks on disk: a JSON document a line, bounded, readable after a kill at any byte.
//!
//! Two files take turns: when `FILE` reaches half of the bound it becomes `FILE.old`, in place of the one before, and a
//! new `FILE` begins. A line that a kill cut off is left out by the reader and cut away by the next writer.
//!
//! ```
//! use std::time::Duration;
//! use vramkit_watch::record::{TickRecorder, read};
//! use vramkit_watch::{WatchConfig, Watcher};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("memory.jsonl");
//! let mut watcher = Watcher::of_this_machine(WatchConfig::default())?;
//! let mut recorder = TickRecorder::open(&path, 1 << 20)?;
//! recorder.write(&watcher.tick(Duration::ZERO))?;
//! assert_eq!(read(&path)?.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::tick::Tick;

/// A longer line is no tick.
const LONGEST: u64 = 16 << 20;

/// Writes ticks.
///
/// ```
/// use std::time::Duration;
/// use vramkit_watch::record::{TickRecorder, read};
/// use vramkit_watch::{WatchConfig, Watcher};
///
/// let path = std::env::temp_dir().join(format!("ticks-{}", std::process::id()));
/// let mut watcher = Watcher::new(Vec::new(), WatchConfig::default())?;
/// // At most about 1 MiB in both files.
/// TickRecorder::open(&path, 1 << 20)?.write(&watcher.tick(Duration::ZERO))?;
/// assert_eq!(read(&path)?.len(), 1);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TickRecorder {
    path: PathBuf,
    file: File,
    written: u64,
    most: u64,
}

impl TickRecorder {
    /// Goes on in `path`, keeping at most about `most` bytes in both files, and no less than 64 KiB.
    ///
    /// # Errors
    /// What the system says of the file.
    pub fn open(path: &Path, most: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let written = whole_lines(&mut file)?;
        file.set_len(written)?;
        file.seek(SeekFrom::Start(written))?;
        Ok(Self { path: path.to_owned(), file, written, most: most.max(1 << 16) })
    }

    /// Writes one tick, at once.
    ///
    /// # Errors
    /// What the system says of the file.
    pub fn write(&mut self, tick: &Tick) -> io::Result<()> {
        let mut line = serde_json::to_vec(tick)?;
        line.push(b'\n');
        if self.written > 0 && self.written + line.len() as u64 > self.most / 2 {
            fs::rename(&self.path, old(&self.path))?;
            self.file = File::create(&self.path)?;
            self.written = 0;
        }
        // One call: either the line is there, or a part of it that is found out.
        self.file.write_all(&line)?;
        self.written += line.len() as u64;
        Ok(())
    }
}

fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".old");
    name.into()
}

/// Where the last whole line ends.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut buffer = vec![0; 1 << 16];
    while end > 0 {
        let start = end.saturating_sub(buffer.len() as u64);
        let part = &mut buffer[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Why a recording cannot be read.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ReadRecordError {
    /// The file cannot be read.
    #[error("cannot read `{}`: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A line is no tick.
    #[error("`{}`, line {line}: not a tick: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// There is nothing in it.
    #[error("`{}` holds no tick", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a recording, its older part first. A last line that was cut off is left out; any other line that is no tick is an
/// error.
///
/// # Errors
/// A file that cannot be read, a line that is no tick or longer than 16 MiB, or no tick at all.
pub fn read(path: &Path) -> Result<Vec<Tick>, ReadRecordError> {
    let mut ticks = Vec::new();
    let older = old(path);
    if older.exists() {
        read_file(&older, &mut ticks)?;
    }
    read_file(path, &mut ticks)?;
    if ticks.is_empty() { Err(ReadRecordError::Empty { path: path.to_owned() }) } else { Ok(ticks) }
}

fn read_file(path: &Path, ticks: &mut Vec<Tick>) -> Result<(), ReadRecordError> {
    let failed = |error| ReadRecordError::Io { path: path.to_owned(), error };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = reader.by_ref().take(LONGEST).read_until(b'\n', &mut line).map_err(failed)?;
        let wrong = |reason: String| ReadRecordError::Line { path: path.to_owned(), line: number, reason };
        if read == 0 {
            break;
        }
        if line.last() != Some(&b'\n') {
            if read as u64 == LONGEST {
                return Err(wrong("the line is too long".into()));
            }
            break;
        }
        ticks.push(serde_json::from_slice(&line).map_err(|error| wrong(error.to_string()))?);
    }
    Ok(())
}
