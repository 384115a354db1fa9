//! What a trace is made of: events with their place in the order, stretches of execution, and samples of memory.

use std::time::Duration;

use serde::Serialize;

use super::event::Event;
use crate::pressure::PressureLevel;
use crate::units::ByteSize;

/// Something that was decided or found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TraceEvent {
    /// Counted from 0, those that are no longer kept included.
    pub sequence: u64,
    /// Since the collector was made.
    pub at_seconds: f64,
    /// Whether it was done; a dry run only says what would be.
    pub done: bool,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// A stretch of a model's execution, for pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The model.
    pub model: String,
    /// What it did.
    pub name: String,
    /// Since the collector was made.
    pub start: Duration,
    /// How long it took.
    pub duration: Duration,
}

/// Memory at one time, for pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Since the collector was made.
    pub at: Duration,
    /// Granted.
    pub used: ByteSize,
    /// Held from the device.
    pub committed: ByteSize,
    /// As the system saw it, where it was asked and told.
    pub system: Option<ByteSize>,
    /// The level of pressure.
    pub level: PressureLevel,
}
