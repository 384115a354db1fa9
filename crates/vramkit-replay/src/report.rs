//! What replaying says: for each trace what it is, for each policy what it made of it.

use serde::Serialize;
use vramkit_units::ByteSize;

use crate::held::{Grown, Held, OwnedBy};
use crate::policy::{PolicyName, Room};
use crate::trace::Trace;

/// Traces against policies: `vramkit.replay/1`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReplayReport {
    /// `vramkit.replay/1`.
    pub schema: &'static str,
    /// One for each trace.
    pub traces: Vec<TraceReport>,
    /// What grew from the first file to the second, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff: Option<DiffReport>,
}

/// One trace against policies.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TraceReport {
    /// The file, with the device where it has several.
    pub file: String,
    /// Allocations, frees and requests that failed.
    pub operations: usize,
    /// Most bytes live at once, as asked for.
    pub peak_live_bytes: ByteSize,
    /// Most bytes that the recorded program held from its device, where the file says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded_reserved_bytes: Option<ByteSize>,
    /// PyTorch's settings under which the program was recorded, where the file says.
    pub recorded_settings: String,
    /// What is odd about the file, and what was made of it.
    pub notes: Vec<String>,
    /// Who holds what at a moment.
    pub held: HeldReport,
    /// One for each policy; none where the file has no history.
    pub policies: Vec<PolicyReport>,
}

/// Who holds what at a moment of a trace.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HeldReport {
    /// The moment: `peak`, `end`, `failure` or the number of an operation.
    pub at: String,
    /// The operation after which it is, counted from 0; nothing is held before the first.
    pub operation: usize,
    /// What an owner is.
    pub by: OwnedBy,
    /// Bytes asked for and not given back, all owners together.
    pub bytes: ByteSize,
    /// Owners, most first.
    pub owners: Vec<Held>,
}

impl HeldReport {
    /// The moment, for a heading.
    pub fn when(&self) -> String {
        when(&self.at)
    }
}

/// A moment, for a heading.
fn when(at: &str) -> String {
    match at {
        "peak" | "end" => format!("at the {at}"),
        "failure" => "before the first refusal".to_owned(),
        operation => format!("after operation {operation}"),
    }
}

/// What a policy made of a trace.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyReport {
    /// The policy.
    pub policy: PolicyName,
    /// PyTorch's settings, where they are not as they come.
    pub settings: String,
    /// The highest end of anything placed.
    pub peak_arena_bytes: ByteSize,
    /// Most bytes held from the device.
    pub peak_committed_bytes: ByteSize,
    /// When most is live: how much of what is free below the arena's end is not in one piece, 0..1.
    pub external_fragmentation_ratio: f64,
    /// When most is live: how much of what is granted was not asked for, 0..1.
    pub internal_fragmentation_ratio: f64,
    /// Requests refused for lack of memory. The first would have ended most programs.
    pub failures: u64,
    /// The first of them.
    pub first_failure: Option<FirstFailure>,
    /// A capacity with which nothing is refused, and with 2 MiB less of which something is; not looked for in long traces unless asked
    /// for.
    pub least_capacity_bytes: Option<ByteSize>,
    /// The median over runs, after a first one, of a run's time for each operation; of one run where it is long; for `offline`,
    /// planning's.
    pub nanoseconds_per_operation: f64,
}

/// The first request that a policy refuses.
#[non_exhaustive]
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FirstFailure {
    /// Which operation of the trace, counted from 0.
    pub operation: usize,
    /// Bytes asked for.
    pub requested_bytes: ByteSize,
    /// Bytes that were live then, as asked for.
    pub live_bytes: ByteSize,
    /// Bytes that nobody had.
    pub free_bytes: ByteSize,
    /// Most of them that could have been had in one piece.
    pub largest_free_bytes: ByteSize,
    /// Whose line of code has asked; empty where the file does not say.
    pub owner: String,
    /// The stack that has asked, innermost frame first.
    pub frames: Vec<String>,
}

impl FirstFailure {
    pub(crate) fn new(
        trace: &Trace,
        operation: usize,
        number: u32,
        requested_bytes: ByteSize,
        live_bytes: ByteSize,
        room: Room,
    ) -> Self {
        Self {
            operation,
            requested_bytes,
            live_bytes,
            free_bytes: ByteSize::new(room.free),
            largest_free_bytes: ByteSize::new(room.largest),
            owner: trace.owners(OwnedBy::Line).of(trace, number).to_owned(),
            frames: trace.frames(number).map(ToString::to_string).collect(),
        }
    }
}

/// What grew from one trace to another.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DiffReport {
    /// The first file.
    pub before: String,
    /// The second file.
    pub after: String,
    /// The moment of both that is compared: `peak`, `end` or the number of an operation.
    pub at: String,
    /// What an owner is.
    pub by: OwnedBy,
    /// Bytes that the second holds more than the first; less than 0 for fewer.
    pub grown_bytes: i64,
    /// Owners that hold more or less, most grown first.
    pub owners: Vec<Grown>,
}

impl DiffReport {
    /// The moment, for a heading.
    pub fn when(&self) -> String {
        when(&self.at)
    }
}
