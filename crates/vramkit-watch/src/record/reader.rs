//! Reads recordings: whole ticks, and before them what was kept at a lower resolution.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use vramkit::ByteSize;
use vramkit::device::Reading;
use vramkit::monitor::{DeviceName, Snapshot, Usage};
use vramkit::pressure::{PressureLevel, known_level};

use super::files::{history, old};
use super::lines;
use super::past::{PastDevice, PastLine, SCHEMA};
use crate::source::DeviceClass;
use crate::tick::{DeviceTick, Holder, HolderUse, Presence, Tick, WatchEvent};
use crate::utc::{is_set, unix_seconds};

/// What a whole tick is.
pub(crate) const TICK: &str = "vramkit.top/1";
/// Lines that are no ticks that are told.
const TOLD: usize = 4;

/// A recording, oldest first.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Everything that can be read.
    pub ticks: Vec<Tick>,
    /// How many of them, at the beginning, are the largest readings of a time and not whole ticks.
    pub thinned: usize,
    /// Lines that are no ticks.
    pub skipped: usize,
    /// The first of them.
    pub first_skipped: Vec<SkippedLine>,
}

/// A line that is no tick.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedLine {
    /// In which file.
    pub path: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl std::fmt::Display for SkippedLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`, line {}: {}", self.path.display(), self.line, self.reason)
    }
}

impl Recording {
    fn skip(&mut self, path: &Path, line: usize, reason: String) {
        self.skipped += 1;
        if self.first_skipped.len() < TOLD {
            self.first_skipped.push(SkippedLine { path: path.to_owned(), line, reason });
        }
    }
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
    /// There are lines in it, and none is a tick.
    #[error("`{}` is no recording: none of {skipped} lines is a tick; {first}", path.display())]
    NoTick {
        /// The file.
        path: PathBuf,
        /// How many lines.
        skipped: usize,
        /// What is wrong with the first one.
        first: SkippedLine,
    },
    /// There is nothing in it.
    #[error("`{}` holds no tick", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Gives what each of a recording's files has to `take`; one that is not there has nothing, but one must be.
fn each_file(
    path: &Path,
    files: &[PathBuf],
    mut read: impl FnMut(&Path) -> io::Result<()>,
) -> Result<(), ReadRecordError> {
    let mut missing = Ok(());
    let mut any = false;
    for file in files {
        match read(file) {
            Ok(()) => any = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing = Err(ReadRecordError::Io { path: path.to_owned(), error });
            }
            Err(error) => return Err(ReadRecordError::Io { path: file.clone(), error }),
        }
    }
    if any { Ok(()) } else { missing }
}

/// Reads a recording, its older parts first: what was kept at a lower resolution, up to where whole ticks begin, is given as
/// ticks that know no more than was kept. A last line that was cut off is left out; any other line that is no tick is skipped
/// and counted, and so is one from before the clock was set, where there are others.
///
/// # Errors
/// A file that cannot be read, or no tick at all.
pub fn read(path: &Path) -> Result<Recording, ReadRecordError> {
    let mut recording = Recording::default();
    let (mut ticks, mut unset): (Vec<Tick>, Vec<(Tick, PathBuf, usize)>) = (Vec::new(), Vec::new());
    let read_ticks = |file: &Path| {
        lines::each(file, TICK, |line, tick: Result<Tick, String>| match tick {
            Ok(tick) if is_set(&tick.time) => ticks.push(tick),
            Ok(tick) => unset.push((tick, file.to_owned(), line)),
            Err(reason) => recording.skip(file, line, reason),
        })
    };
    let whole = each_file(path, &[old(path), path.to_owned()], read_ticks);
    let first = ticks.first().map(|tick| tick.time.clone());
    let before = |line: &PastLine| first.as_ref().is_none_or(|first| line.time < *first);
    let mut thinned: Vec<Tick> = Vec::new();
    let read_past = |file: &Path| {
        lines::each(file, SCHEMA, |number, line: Result<PastLine, String>| match line {
            Ok(line) if !is_set(&line.time) => unset.push((as_tick(line), file.to_owned(), number)),
            Ok(line) if before(&line) => thinned.push(as_tick(line)),
            Ok(_) => {}
            Err(reason) => recording.skip(file, number, reason),
        })
    };
    let past = each_file(path, &[history(path)], read_past);
    if past.is_err() {
        whole?;
    }
    // Of a clock that was never set, times are what there is.
    if ticks.is_empty() && thinned.is_empty() {
        ticks = unset.into_iter().map(|(tick, ..)| tick).collect();
    } else {
        unset.into_iter().for_each(|(tick, file, line)| {
            recording.skip(&file, line, format!("it is of {}: the clock had not been set", tick.time));
        });
    }
    recording.thinned = thinned.len();
    thinned.append(&mut ticks);
    recording.ticks = thinned;
    match (recording.ticks.is_empty(), recording.first_skipped.first()) {
        (false, _) => Ok(recording),
        (true, None) => Err(ReadRecordError::Empty { path: path.to_owned() }),
        (true, Some(first)) => {
            let (path, first) = (path.to_owned(), first.clone());
            Err(ReadRecordError::NoTick { path, skipped: recording.skipped, first })
        }
    }
}

/// A tick with what was kept.
fn as_tick(line: PastLine) -> Tick {
    let seconds = line.seconds;
    let at = unix_seconds(&line.time).unwrap_or(0.0).max(0.0);
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs_f64(at);
    let why = format!("only the largest reading of {seconds} s was kept");
    let devices = line.devices.into_iter().map(|device| {
        let origin = device.source;
        let mut usage = Usage::unavailable(origin, &why);
        let known = |value: Option<ByteSize>| {
            value.map_or_else(
                || Reading::unavailable(origin, "it was not known"),
                |value| Reading::known(value, origin),
            )
        };
        (usage.total_bytes, usage.used_bytes) = (known(device.total_bytes), known(device.used_bytes));
        let free = device.total_bytes.zip(device.used_bytes).map(|(all, used)| all.saturating_sub(used));
        usage.free_bytes = known(free);
        let holder = |held: HolderUse| Holder {
            name: held.name,
            bytes: held.bytes,
            pid: None,
            identity: Default::default(),
        };
        DeviceTick {
            snapshot: Snapshot {
                time,
                device: device.device,
                event: String::new(),
                slot: None,
                models: Vec::new(),
                model_bytes: BTreeMap::new(),
                usage,
                processes: Reading::unavailable(origin, why.clone()),
                pools: Vec::new(),
                level: device.level,
            },
            class: device.class,
            presence: Presence::Present,
            activity: None,
            level_readings: [0; 4],
            level_changes: 0,
            stall: None,
            shared_bytes: None,
            assigned: Vec::new(),
            notes: Vec::new(),
            forecast: None,
            full_soon: false,
            growing: None,
            suspected: Vec::new(),
            holders: device.holders.into_iter().map(holder).collect(),
        }
    });
    Tick {
        schema: TICK.into(),
        devices: devices.collect(),
        time: line.time,
        sources: Vec::new(),
        recorder: None,
        unavailable: Vec::new(),
        events: line.events,
    }
}

/// Gives what a history needs of a recording to `take`, oldest first, one tick at a time. How many lines were none, or from before
/// the clock was set.
pub(crate) fn restore(path: &Path, mut take: impl FnMut(PastLine)) -> Result<usize, ReadRecordError> {
    let mut first: Option<String> = None;
    let files = [old(path), path.to_owned()];
    let _ = each_file(path, &files, |file| {
        if first.is_none() {
            first = first_time(file)?;
        }
        Ok(())
    });
    let mut skipped = 0;
    let past = each_file(path, &[history(path)], |file| {
        lines::each(file, SCHEMA, |_, line: Result<PastLine, String>| match line {
            Ok(line) if !is_set(&line.time) => skipped += 1,
            Ok(line) if first.as_ref().is_none_or(|first| line.time < *first) => take(line),
            Ok(_) => {}
            Err(_) => skipped += 1,
        })
    });
    let whole = each_file(path, &files, |file| {
        lines::each(file, TICK, |_, tick: Result<Kept, String>| match tick {
            Ok(tick) if is_set(&tick.time) => take(tick.into()),
            Ok(_) | Err(_) => skipped += 1,
        })
    });
    if past.is_err() {
        whole?;
    }
    Ok(skipped)
}

/// When a file's first tick was, of those that are from after the clock was set.
fn first_time(file: &Path) -> io::Result<Option<String>> {
    #[derive(Deserialize)]
    struct Timed {
        time: String,
    }
    let mut first = None;
    lines::until(file, TICK, |_, line: Result<Timed, String>| {
        first = line.ok().map(|line| line.time).filter(|time| is_set(time));
        if first.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(first)
}

/// What a history needs of a tick.
#[derive(Deserialize)]
struct Kept {
    time: String,
    devices: Vec<KeptDevice>,
    #[serde(default)]
    events: Vec<WatchEvent>,
}

#[derive(Deserialize)]
struct KeptDevice {
    device: DeviceName,
    #[serde(default)]
    class: DeviceClass,
    used_bytes: Reading<ByteSize>,
    #[serde(default, deserialize_with = "known_level")]
    level: Option<PressureLevel>,
    #[serde(default)]
    holders: Vec<HolderUse>,
}

impl From<Kept> for PastLine {
    fn from(tick: Kept) -> Self {
        let devices = tick.devices.into_iter().map(|device| PastDevice {
            device: device.device,
            class: device.class,
            source: device.used_bytes.source,
            total_bytes: None,
            used_bytes: device.used_bytes.value,
            level: device.level,
            holders: device.holders,
        });
        Self {
            schema: SCHEMA.into(),
            devices: devices.collect(),
            time: tick.time,
            seconds: 0,
            events: tick.events,
        }
    }
}
