//! JSON Schemas of the documents.

use schemars::{Schema, schema_for};
use serde_json::Value;

use crate::{
    CapacityReport, DevicesReport, FitReport, GenerateReport, PlanReport, ReplayReport, RunReport,
    StressReport, ValidateReport,
};

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
    /// `vramkit.fit/1`.
    Fit,
    /// `vramkit.generate/1`.
    Generate,
    /// `vramkit.stress/1`.
    Stress,
    /// `vramkit.validate/1`.
    Validate,
    /// `vramkit.capacity/1`.
    Capacity,
    /// `vramkit.devices/1`.
    Devices,
    /// `vramkit.top/1`.
    Top,
    /// `vramkit.history/1`.
    History,
    /// `vramkit.ready/1`.
    Ready,
    /// `vramkit.past/1`.
    Past,
}

impl Document {
    /// Every document.
    pub const ALL: &[Self] = &[
        Self::Plan,
        Self::Run,
        Self::Replay,
        Self::Fit,
        Self::Generate,
        Self::Stress,
        Self::Validate,
        Self::Capacity,
        Self::Devices,
        Self::Top,
        Self::History,
        Self::Ready,
        Self::Past,
    ];

    /// Its name, as in `vramkit.plan/1`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Run => "run",
            Self::Replay => "replay",
            Self::Fit => "fit",
            Self::Generate => "generate",
            Self::Stress => "stress",
            Self::Validate => "validate",
            Self::Capacity => "capacity",
            Self::Devices => "devices",
            Self::Top => "top",
            Self::History => "history",
            Self::Ready => "ready",
            Self::Past => "past",
        }
    }

    /// Its JSON Schema.
    pub fn schema(self) -> Schema {
        let mut schema = match self {
            Self::Plan => schema_for!(PlanReport),
            Self::Run => schema_for!(RunReport),
            Self::Replay => schema_for!(ReplayReport),
            Self::Fit => schema_for!(FitReport),
            Self::Generate => schema_for!(GenerateReport),
            Self::Stress => schema_for!(StressReport),
            Self::Validate => schema_for!(ValidateReport),
            Self::Capacity => schema_for!(CapacityReport),
            Self::Devices => schema_for!(DevicesReport),
            Self::Top => schema_for!(vramkit_watch::Tick),
            Self::History => schema_for!(vramkit_watch::History),
            Self::Ready => schema_for!(vramkit_watch::Readiness<'_>),
            Self::Past => schema_for!(vramkit_watch::record::PastLine),
        };
        schema.as_object_mut().into_iter().flatten().for_each(|(_, value)| without_examples(value));
        if let Some(description) = schema.get_mut("description") {
            prose(description);
        }
        schema
    }
}

/// Descriptions are the types' documentation, whose examples are of no use to a reader of the schema.
fn without_examples(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "description" {
                    prose(value);
                }
                without_examples(value);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(without_examples),
        _ => {}
    }
}

/// Ends a description where its example begins.
fn prose(description: &mut Value) {
    if let Value::String(text) = description
        && let Some(end) = text.find("```")
    {
        text.truncate(text[..end].trim_end().len());
    }
}
