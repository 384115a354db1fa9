//! The document `vramkit.run/1`: what its fields are called and what they mean.
//!
//! Sizes are bytes in fields ending `_bytes`, ratios 0..1 in fields ending `_ratio`, durations seconds in fields ending
//! `_seconds`. Fields may be added and are never renamed.

use std::collections::BTreeMap;

use serde::Serialize;
use vramkit::device::DeviceInfo;
use vramkit::orchestrator::Violation;
use vramkit::plan::report::PlanReport;
use vramkit::pressure::PressureLevel;
use vramkit::trace::{Dropped, Sample, TraceEvent};
use vramkit::{ByteSize, Step};

/// A run: `vramkit.run/1`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RunReport {
    /// `vramkit.run/1`.
    pub schema: &'static str,
    /// What the workload is called.
    pub name: String,
    /// The plan that was run.
    pub plan: PlanReport,
    /// The device that it ran on.
    pub device: DeviceInfo,
    /// Most bytes that the pool might grant.
    pub capacity_bytes: ByteSize,
    /// Whether everything was decided and nothing done.
    pub dry_run: bool,
    /// How often every model ran.
    pub repetitions: u32,
    /// The weights of all models.
    pub weights_bytes: ByteSize,
    /// Bytes of weights that came into memory as the models' files give them, every time that a model was bound. Memory for
    /// other weights is taken, and filled with a pattern that is checked.
    pub weights_read_bytes: ByteSize,
    /// Models whose file's weights were not read, though there is memory for them.
    pub weights_unread: Vec<UnreadWeights>,
    /// What the models need in one arena: the arena and all weights.
    pub together_bytes: ByteSize,
    /// What they would need each for itself, as well as that can be done: their live peaks and all weights.
    pub apart_bytes: ByteSize,
    /// What being together saves of being apart; 0 where it takes more, as for the ratios below.
    pub reduction_of_apart_ratio: f64,
    /// What the arena saves of the sum of all tensors' sizes. No model needs all of its tensors at once: see
    /// `reduction_of_apart_ratio`.
    pub reduction_of_sum_of_sizes_ratio: f64,
    /// What the arena saves of the sum of the models' live peaks.
    pub reduction_of_sum_of_peaks_ratio: f64,
    /// Most bytes that the pool granted at one time; in a dry run, that it would have.
    pub peak_used_bytes: ByteSize,
    /// Most bytes that the pool held from the device.
    pub peak_committed_bytes: ByteSize,
    /// Most bytes that the system saw behind the pool's addresses; `null` where it does not tell.
    pub system_peak_bytes: Option<ByteSize>,
    /// Why the system does not tell; `null` where it does.
    pub system_peak_unavailable: Option<String>,
    /// Bytes granted after everything was released.
    pub used_after_release_bytes: ByteSize,
    /// Models whose release did not make the bytes in use fall by what it gave back.
    pub release_mismatches: Vec<ReleaseMismatch>,
    /// Bytes held from the device after everything was released and trimmed.
    pub committed_after_trim_bytes: ByteSize,
    /// Tensors written and found intact at every read, over all repetitions.
    pub verified_tensors: u64,
    /// Reads that found something else than was written.
    pub aliasing_violations: u64,
    /// The first of them.
    pub violations: Vec<ViolationReport>,
    /// Time that models waited for memory, all together.
    pub stall_seconds: f64,
    /// How long the run took.
    pub elapsed_seconds: f64,
    /// How many readings were at each level.
    pub levels: BTreeMap<PressureLevel, u64>,
    /// How often the level changed.
    pub level_changes: u64,
    /// Memory over time.
    pub samples: Vec<SampleReport>,
    /// What was decided, in order; in a dry run, what would be, each with `"done": false`.
    pub decisions: Vec<TraceEvent>,
    /// How many older decisions and samples are not among these.
    pub dropped: Dropped,
}

/// Weights of a model that stayed in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct UnreadWeights {
    /// The model.
    pub model: String,
    /// Why they cannot be read.
    pub reason: String,
}

/// A release after which not as much less was in use as it gave back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ReleaseMismatch {
    /// The model.
    pub model: String,
    /// What its release gave back.
    pub freed_bytes: ByteSize,
    /// By how much the bytes in use fell.
    pub fell_bytes: ByteSize,
}

/// A tensor that was not intact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ViolationReport {
    /// The model.
    pub model: String,
    /// The tensor.
    pub tensor: String,
    /// The step that read it.
    pub step: Step,
    /// The first byte of it that was wrong.
    pub at_bytes: ByteSize,
}

/// Memory at one time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SampleReport {
    /// Since the run began.
    pub at_seconds: f64,
    /// Granted.
    pub used_bytes: ByteSize,
    /// Held from the device.
    pub committed_bytes: ByteSize,
    /// Behind the pool's addresses, as the system saw it; `null` where it does not tell.
    pub system_bytes: Option<ByteSize>,
    /// The level of pressure.
    pub level: PressureLevel,
}

impl ViolationReport {
    pub(crate) fn new(violation: &Violation) -> Self {
        Self {
            model: violation.model.to_string(),
            tensor: violation.tensor.to_string(),
            step: violation.step,
            at_bytes: ByteSize::new(violation.at),
        }
    }
}

impl SampleReport {
    pub(crate) fn new(sample: &Sample) -> Self {
        Self {
            at_seconds: sample.at.as_secs_f64(),
            used_bytes: sample.used,
            committed_bytes: sample.committed,
            system_bytes: sample.system,
            level: sample.level,
        }
    }
}
