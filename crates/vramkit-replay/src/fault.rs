//! A place in a file, and what is wrong there.

use std::fmt;

#[derive(Debug)]
pub(crate) struct ReadFault {
    pub(crate) place: String,
    pub(crate) reason: String,
}

impl ReadFault {
    pub(crate) fn at(place: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self { place: place.to_string(), reason: reason.into() }
    }

    /// What was read takes more memory than a file of this size may.
    pub(crate) fn too_large(most: u64) -> Self {
        Self::at(
            "the whole file",
            format!("what is in it would take over {most} bytes of memory: no recording is packed so"),
        )
    }

    pub(crate) fn line(number: usize, reason: impl fmt::Display) -> Self {
        Self::at(format!("line {number}"), reason.to_string())
    }
}
