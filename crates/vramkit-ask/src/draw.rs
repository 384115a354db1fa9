//! From a report to what is drawn of it, by way of its JSON: a picture shows what was printed and nothing else.

use serde::Serialize;
use serde_json::Value;
use vramkit_report::{DocumentError, FitDocument, PlanDocument, RunDocument};

/// JSON of a report; `null` for one that JSON cannot say, which no reader takes for a document.
pub(crate) fn json(report: &impl Serialize) -> Value {
    serde_json::to_value(report).unwrap_or_default()
}

/// A plan's.
pub(crate) fn plan_document(report: &impl Serialize) -> Result<PlanDocument, DocumentError> {
    PlanDocument::from_json(&json(report))
}

/// A run's.
pub(crate) fn run_document(report: &impl Serialize) -> Result<RunDocument, DocumentError> {
    RunDocument::from_json(&json(report))
}

/// A fit's.
pub(crate) fn fit_document(report: &impl Serialize) -> Result<FitDocument, DocumentError> {
    FitDocument::from_json(&json(report))
}
