//! The parts of the documents `vramkit.plan/1`, `vramkit.run/1` and `vramkit.fit/1` that are drawn.
//!
//! In: JSON as the program prints it. Out: [`PlanDocument`], [`RunDocument`] and [`FitDocument`], which pictures and pages
//! are made from.
//! Fields that nothing draws are skipped, so that documents may gain some.

use serde::Deserialize;
use serde_json::Value;

use vramkit_units::ByteSize;

/// Why JSON is not what is to be drawn.
#[derive(Debug, thiserror::Error)]
#[error("no `{expected}` document that can be drawn: {reason}")]
#[non_exhaustive]
pub struct DocumentError {
    /// The schema that was expected.
    pub expected: &'static str,
    /// What is missing or of another kind.
    pub reason: String,
}

/// A plan, to be drawn.
///
/// ```
/// use vramkit_report::{PlanDocument, plan_svg};
///
/// let json = serde_json::json!({
///     "schema": "vramkit.plan/1", "schedule": "fixed", "proven_optimal": true, "gap_ratio": 0.0,
///     "arena_bytes": 10, "lower_bound_bytes": 10, "sum_of_sizes_bytes": 20, "sum_of_peaks_bytes": 10,
///     "models": [{"name": "m", "tensors": 2, "sum_of_sizes_bytes": 20, "live_peak_bytes": 10, "weights_bytes": 0}],
///     "tensors": [
///         {"id": "a", "model": "m", "start": 0, "end": 2, "size_bytes": 10, "offset_bytes": 0},
///         {"id": "b", "model": "m", "start": 2, "end": 4, "size_bytes": 10, "offset_bytes": 0},
///     ],
/// });
/// let svg = plan_svg(&PlanDocument::from_json(&json)?);
/// assert!(svg.contains("10 B arena, proven optimal"));
/// # Ok::<(), vramkit_report::DocumentError>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
pub struct PlanDocument {
    pub(crate) schedule: String,
    pub(crate) arena_bytes: ByteSize,
    pub(crate) lower_bound_bytes: ByteSize,
    pub(crate) gap_ratio: f64,
    pub(crate) proven_optimal: bool,
    pub(crate) sum_of_sizes_bytes: ByteSize,
    pub(crate) sum_of_peaks_bytes: ByteSize,
    pub(crate) models: Vec<ModelRow>,
    #[serde(default)]
    pub(crate) tensors: Vec<TensorBox>,
}

/// A model of a plan.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ModelRow {
    pub(crate) name: String,
    pub(crate) tensors: usize,
    pub(crate) sum_of_sizes_bytes: ByteSize,
    pub(crate) live_peak_bytes: ByteSize,
    pub(crate) weights_bytes: ByteSize,
}

/// A tensor of a plan, with its place. Times are steps, the end is one past the last.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TensorBox {
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) size_bytes: ByteSize,
    pub(crate) offset_bytes: ByteSize,
}

/// A model whose weights stayed in their file.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct UnreadWeights {
    pub(crate) model: String,
    pub(crate) reason: String,
}

/// A run, to be drawn.
///
/// ```
/// use vramkit_report::RunDocument;
///
/// let other = serde_json::json!({ "schema": "vramkit.plan/1" });
/// assert!(RunDocument::from_json(&other).is_err()); // it lacks what a page of a run shows
/// ```
#[derive(Clone, Debug, Deserialize)]
pub struct RunDocument {
    pub(crate) name: String,
    pub(crate) plan: PlanDocument,
    pub(crate) device: DeviceName,
    pub(crate) dry_run: bool,
    /// Not in documents of before 0.2.
    #[serde(default)]
    pub(crate) weights_unread: Vec<UnreadWeights>,
    pub(crate) weights_bytes: ByteSize,
    pub(crate) together_bytes: ByteSize,
    pub(crate) apart_bytes: ByteSize,
    pub(crate) peak_used_bytes: ByteSize,
    pub(crate) peak_committed_bytes: ByteSize,
    pub(crate) system_peak_bytes: Option<ByteSize>,
    pub(crate) system_peak_unavailable: Option<String>,
    pub(crate) used_after_release_bytes: ByteSize,
    pub(crate) verified_tensors: u64,
    pub(crate) aliasing_violations: u64,
    pub(crate) violations: Vec<Violation>,
    pub(crate) stall_seconds: f64,
    pub(crate) elapsed_seconds: f64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) dropped: Dropped,
}

/// The device of a run.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DeviceName {
    pub(crate) name: String,
}

/// A tensor that was not intact.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Violation {
    pub(crate) model: String,
    pub(crate) tensor: String,
    pub(crate) step: u64,
    pub(crate) at_bytes: ByteSize,
}

/// Memory at one time of a run.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Sample {
    pub(crate) at_seconds: f64,
    pub(crate) used_bytes: ByteSize,
    pub(crate) committed_bytes: ByteSize,
    pub(crate) system_bytes: Option<ByteSize>,
    pub(crate) level: Level,
}

/// A level of pressure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    Normal,
    Elevated,
    High,
    Critical,
}

/// What a run's trace did not keep.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Dropped {
    pub(crate) events: u64,
}

/// Whether models fit, to be drawn.
///
/// ```
/// use vramkit_report::{FitDocument, fit_svg};
///
/// let json = serde_json::json!({
///     "schema": "vramkit.fit/1", "fits": true, "models": [{"name": "toy"}], "decides": "weights: 6 GiB of 8 GiB",
///     "weights_bytes": 6_u64 << 30, "kv_bytes": 1 << 30, "state_bytes": 0, "workspace_bytes": 1 << 30,
///     "overhead_bytes": 0, "total_bytes": 8_u64 << 30, "available_bytes": 12_u64 << 30,
///     "host": {"weights_bytes": 0, "kv_bytes": 0, "state_bytes": 0, "workspace_bytes": 9 << 20, "total_bytes": 9 << 20},
/// });
/// assert!(fit_svg(&FitDocument::from_json(&json)?).contains("12 GiB available"));
/// # Ok::<(), vramkit_report::DocumentError>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
pub struct FitDocument {
    pub(crate) fits: Option<bool>,
    pub(crate) models: Vec<ModelName>,
    #[serde(flatten)]
    pub(crate) device: FitPlace,
    pub(crate) overhead_bytes: Option<ByteSize>,
    pub(crate) available_bytes: Option<ByteSize>,
    pub(crate) host: FitPlace,
    pub(crate) decides: Option<String>,
}

/// A model of a fit.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ModelName {
    pub(crate) name: String,
}

/// What is in one place. What nobody knows is `null`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct FitPlace {
    pub(crate) weights_bytes: Option<ByteSize>,
    /// Of the host alone.
    #[serde(default)]
    pub(crate) repacked_weights_bytes: ByteSize,
    pub(crate) kv_bytes: ByteSize,
    pub(crate) state_bytes: ByteSize,
    pub(crate) workspace_bytes: Option<ByteSize>,
    pub(crate) total_bytes: Option<ByteSize>,
}

impl FitDocument {
    /// From `vramkit.fit/1`.
    ///
    /// # Errors
    /// Another document, or one that lacks what is drawn.
    pub fn from_json(json: &Value) -> Result<Self, DocumentError> {
        read(json, "vramkit.fit/1")
    }
}

impl PlanDocument {
    /// From `vramkit.plan/1`. Without its tensors there are only the axes to draw.
    ///
    /// # Errors
    /// Another document, or one that lacks what is drawn.
    pub fn from_json(json: &Value) -> Result<Self, DocumentError> {
        read(json, "vramkit.plan/1")
    }
}

impl RunDocument {
    /// From `vramkit.run/1`.
    ///
    /// # Errors
    /// Another document, or one that lacks what is drawn.
    pub fn from_json(json: &Value) -> Result<Self, DocumentError> {
        read(json, "vramkit.run/1")
    }
}

/// A document of this schema, as far as it is drawn.
pub(crate) fn read<'de, T: Deserialize<'de>>(
    json: &'de Value,
    expected: &'static str,
) -> Result<T, DocumentError> {
    if json["schema"] != expected {
        let reason = format!("its schema is {}", json["schema"]);
        return Err(DocumentError { expected, reason });
    }
    T::deserialize(json).map_err(|error| DocumentError { expected, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_documents_are_refused_with_a_reason() {
        let error = PlanDocument::from_json(&serde_json::json!({"schema": "vramkit.run/1"})).unwrap_err();
        assert!(error.to_string().contains("its schema is \"vramkit.run/1\""), "{error}");
        let error = RunDocument::from_json(&serde_json::json!({"schema": "vramkit.run/1"})).unwrap_err();
        assert!(error.to_string().contains("missing field"), "{error}");
        assert!(PlanDocument::from_json(&Value::Null).is_err());
    }
}
