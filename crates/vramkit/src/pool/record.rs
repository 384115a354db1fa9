//! Every allocation and release of a pool as it happens, to be replayed later.
//!
//! A pool that records calls a function with each, outside its locks: a release before it is done, an allocation after,
//! so that what one thread passes to another is in order. The form is that of JSON Lines, one object a line.

use std::io::Write;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::sync::lock_std;
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
pub(super) type Recorder = Box<dyn Fn(&Recorded) + Send + Sync>;

/// A recorder that writes JSON Lines. The first error ends the recording, and is logged.
pub fn json_lines(writer: impl Write + Send + 'static) -> impl Fn(&Recorded) + Send + Sync + 'static {
    let writer = Mutex::new(Some(writer));
    move |recorded| {
        let mut writer = lock_std(&writer);
        let Some(out) = writer.as_mut() else { return };
        let written = serde_json::to_vec(recorded).map_err(std::io::Error::other).and_then(|mut line| {
            line.push(b'\n');
            out.write_all(&line)
        });
        if let Err(error) = written {
            tracing::error!(%error, "recording a pool ends: a line could not be written");
            *writer = None;
        }
    }
}
