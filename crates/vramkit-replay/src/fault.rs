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

    pub(crate) fn line(number: usize, reason: impl fmt::Display) -> Self {
        Self::at(format!("line {number}"), reason.to_string())
    }
}
