//! JSON Schemas of the documents.

use schemars::{Schema, schema_for};

use crate::{CapacityReport, DevicesReport, PlanReport, ReplayReport, RunReport};

/// A document that this crate, or a watcher, makes.
///
/// ```
/// use vramkit_ask::Document;
///
/// let schema = Document::Plan.schema();
/// assert!(schema.get("properties").is_some());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Document {
    /// `vramkit.plan/1`.
    Plan,
    /// `vramkit.run/1`.
    Run,
    /// `vramkit.replay/1`.
    Replay,
    /// `vramkit.capacity/1`.
    Capacity,
    /// `vramkit.devices/1`.
    Devices,
    /// `vramkit.top/1`.
    Top,
    /// `vramkit.history/1`.
    History,
}

impl Document {
    /// Its JSON Schema.
    pub fn schema(self) -> Schema {
        match self {
            Self::Plan => schema_for!(PlanReport),
            Self::Run => schema_for!(RunReport),
            Self::Replay => schema_for!(ReplayReport),
            Self::Capacity => schema_for!(CapacityReport),
            Self::Devices => schema_for!(DevicesReport),
            Self::Top => schema_for!(vramkit_watch::Tick),
            Self::History => schema_for!(vramkit_watch::History),
        }
    }
}
