//! What replaying says: for each trace what it is, for each policy what it made of it.

use serde::Serialize;
use vramkit_units::ByteSize;

use crate::policy::PolicyName;

/// Traces against policies: `vramkit.replay/1`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplayReport {
    /// `vramkit.replay/1`.
    pub schema: &'static str,
    /// One for each trace.
    pub traces: Vec<TraceReport>,
}

/// One trace against policies.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TraceReport {
    /// The file, with the device where it has several.
    pub file: String,
    /// Allocations and frees.
    pub operations: usize,
    /// Most bytes live at once, as asked for.
    pub peak_live_bytes: ByteSize,
    /// Most bytes that the recorded program held from its device, where the file says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded_reserved_bytes: Option<ByteSize>,
    /// One for each policy.
    pub policies: Vec<PolicyReport>,
}

/// What a policy made of a trace.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyReport {
    /// The policy.
    pub policy: PolicyName,
    /// The highest end of anything placed.
    pub peak_arena_bytes: ByteSize,
    /// Most bytes held from the device.
    pub peak_committed_bytes: ByteSize,
    /// When most is live: how much of what is free below the arena's end is not in one piece, 0..1.
    pub external_fragmentation_ratio: f64,
    /// When most is live: how much of what is granted was not asked for, 0..1.
    pub internal_fragmentation_ratio: f64,
    /// Allocations refused for lack of memory.
    pub failures: u64,
    /// The median over runs, after a first one, of a run's time for each operation; for `offline`, planning's.
    pub nanoseconds_per_operation: f64,
}
