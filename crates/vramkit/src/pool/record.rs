//! Every allocation and release of a pool as it happens, to be replayed later.
//!
//! A pool that records calls a function with each, outside its locks: a release before it is done, an allocation after,
//! so that what one thread passes to another is in order. Two forms are written: JSON Lines, and the CSV of RMM's
//! logging adaptor, which its own tools read.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::sync::{AtomicU32, Ordering, lock_std};
use crate::units::ByteSize;

/// One allocation or release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Recorded {
    /// Memory was granted.
    Allocate {
        /// Names the allocation until it is released.
        id: String,
        /// Bytes asked for.
        bytes: ByteSize,
        /// Where they are on the device.
        #[serde(default)]
        address: u64,
        /// For whom: the model and, in brackets, what for; empty for nobody in particular.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        owner: String,
        /// What the requester calls it; empty when it has no tag.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        tag: String,
    },
    /// Memory is given back.
    Release {
        /// Which allocation.
        id: String,
    },
}

/// What a recording pool calls.
pub(super) type Recorder = Arc<dyn Fn(&Recorded) + Send + Sync>;

/// Whether a pool records, and to what. Nobody holds the lock while the recorder runs. Apart from what changes with every
/// grant, since every grant looks at it.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Recording {
    /// 0 while there is no recorder: all that a request looks at.
    on: AtomicU32,
    recorder: Mutex<Option<Recorder>>,
}

impl Recording {
    #[inline(always)]
    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire) != 0
    }

    /// Records to this from now on; false when the pool records to something already.
    pub(super) fn start(&self, recorder: Recorder) -> bool {
        let mut current = lock_std(&self.recorder);
        if current.is_some() {
            return false;
        }
        *current = Some(recorder);
        self.on.store(1, Ordering::Release);
        true
    }

    /// Takes the recorder out; it is the caller's to drop.
    pub(super) fn stop(&self) -> Option<Recorder> {
        let mut current = lock_std(&self.recorder);
        self.on.store(0, Ordering::Release);
        current.take()
    }

    pub(super) fn recorder(&self) -> Option<Recorder> {
        lock_std(&self.recorder).clone()
    }
}

/// A recorder that writes JSON Lines. The first error ends the recording, and is logged.
pub fn json_lines(writer: impl Write + Send + 'static) -> impl Fn(&Recorded) + Send + Sync + 'static {
    lines(writer, |out, recorded| {
        serde_json::to_writer(&mut *out, recorded)?;
        out.write_all(b"\n")
    })
}

/// A recorder that writes `Thread,Time,Action,Pointer,Size,Stream`, times in UTC. The first error ends the recording,
/// and is logged.
pub fn rmm_csv(writer: impl Write + Send + 'static) -> impl Fn(&Recorded) + Send + Sync + 'static {
    // RMM's rows of frees have the pointer and the size again.
    let mut live: HashMap<String, (u64, ByteSize)> = HashMap::new();
    let mut begun = false;
    lines(writer, move |out, recorded| {
        if !begun {
            writeln!(out, "Thread,Time,Action,Pointer,Size,Stream")?;
            begun = true;
        }
        let (action, (address, size)) = match recorded {
            Recorded::Allocate { id, bytes, address, .. } => {
                live.insert(id.clone(), (*address, *bytes));
                ("allocate", (*address, *bytes))
            }
            // What was live before the recording began has no row of its own.
            Recorded::Release { id } => match live.remove(id) {
                Some(found) => ("free", found),
                None => return Ok(()),
            },
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = now.as_secs() % 86_400;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let (thread, micros, bytes) = (std::process::id(), now.subsec_micros(), size.bytes());
        writeln!(
            out,
            "{thread},{hour:02}:{minute:02}:{second:02}.{micros:06},{action},{address:#x},{bytes},0x0"
        )
    })
}

fn lines<W: Write + Send + 'static>(
    writer: W,
    write: impl FnMut(&mut W, &Recorded) -> io::Result<()> + Send + 'static,
) -> impl Fn(&Recorded) + Send + Sync + 'static {
    let state = Mutex::new(Some((writer, write)));
    move |recorded| {
        let mut state = lock_std(&state);
        let Some((writer, write)) = state.as_mut() else { return };
        if let Err(error) = write(writer, recorded) {
            tracing::error!(%error, "recording a pool ends: a line could not be written");
            *state = None;
        }
    }
}
