//! The document `vramkit.capacity/1`.

use serde::Serialize;
use vramkit::units::grouped;
use vramkit_occupancy::Replayed;

/// How likely a memory is to run out: `vramkit.capacity/1`. Sizes are in tokens where they do not say bytes.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CapacityReport {
    /// What is known of the occupancy, with its schema.
    #[serde(flatten)]
    pub occupancy: vramkit_occupancy::OccupancyReport,
    /// Whether lengths were estimated from text, at 4 characters a token.
    pub lengths_estimated: bool,
    /// Rows of the log that were left out because they can be no request.
    pub rows_left_out: u64,
    /// What is taken to be so.
    pub assumptions: Vec<String>,
    /// Tokens of a block that memory is granted in.
    pub block_tokens: u32,
    /// The model's context, tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_model_len: Option<u32>,
    /// Tokens with which all prompts begin alike, held once; `traffic` is of what is beside them.
    pub shared_prefix_tokens: u32,
    /// Machines among which requests are shared out. Batch, memory and `tail` are those of one, other risks those of any.
    pub replicas: u32,
    /// Whether `batch` is the most that are served at once; false where as many are as come.
    pub seats_limited: bool,
    /// Seconds of a decode step, where time matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_seconds: Option<f64>,
    /// Options with which the engine asked about serves this at the risk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_flags: Option<Vec<String>>,
    /// Bytes that a sequence takes beside its tokens, whatever its length: windows as if full, and recurrent state. Absent where
    /// there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_bytes_per_sequence: Option<u64>,
    /// The log run through a scheduler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replayed>,
}

impl CapacityReport {
    /// The horizon in words: `within 144,000 steps`.
    pub fn within(&self) -> String {
        within(&self.occupancy)
    }
}

pub(super) fn within(occupancy: &vramkit_occupancy::OccupancyReport) -> String {
    match (occupancy.horizon_steps, occupancy.continuous) {
        (Some(steps), _) => format!("within {} steps", grouped(steps.round_ties_even() as u64)),
        (None, true) => "at a step drawn at random".to_owned(),
        (None, false) => "in a cycle".to_owned(),
    }
}
