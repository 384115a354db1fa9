//! Ticks on disk: a JSON document a line, bounded, readable after a kill at any byte.
//!
//! ```text
//! tick ──► FILE (vramkit.top/1, whole) ──full──► FILE.old ──full──► gone
//!      └─► FILE.history (vramkit.past/1, the largest reading of each minute) ──full──► of ten minutes, of an hour, gone
//! ```
//!
//! Three files share the bound: `FILE` and `FILE.old` three eighths each, `FILE.history` a quarter. When `FILE` is full it
//! becomes `FILE.old`, in place of the one before. When `FILE.history` is full, what is older than a day is kept by ten
//! minutes, then by the hour; then the oldest goes. `FILE.lock` is locked while a recorder has the file, and so is the file: a
//! second one is refused. It is empty but for the recorder's process number, and stays. Nothing is written into a file in which
//! something else is.
//!
//! A line that a kill cut off is left out by the reader and cut away by the next writer. Any other line that is no tick costs
//! itself alone: it is counted, and the first ones are told.
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
//! let recording = read(&path)?;
//! assert_eq!((recording.ticks.len(), recording.skipped), (1, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod begin;
mod files;
mod keeper;
mod lines;
mod past;
mod reader;
mod writer;

pub use begin::RecordError;
pub(crate) use keeper::Keeper;
pub use past::{PastDevice, PastLine};
pub use reader::{ReadRecordError, Recording, SkippedLine, read};
pub(crate) use reader::{TICK, restore};
pub use writer::{LEAST, TickRecorder};
