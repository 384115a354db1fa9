//! A monitor's counts, and what a cleanup did.

use serde::{Deserialize, Serialize};

use crate::pressure::{CleanupReason, PressureLevel};
use crate::units::ByteSize;

/// What a cleanup did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CleanupReport {
    /// Why.
    pub reason: CleanupReason,
    /// In allocations, before and after.
    pub allocated_bytes: [Option<ByteSize>; 2],
    /// Held from the device, before and after.
    pub reserved_bytes: [Option<ByteSize>; 2],
    /// Less in allocations than before.
    pub freed_allocated_bytes: ByteSize,
    /// Less held from the device than before.
    pub freed_reserved_bytes: ByteSize,
}

/// A monitor's counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MonitorStats {
    /// Crossings of the soft limit.
    pub soft_violations: u64,
    /// Checks that found the hard one passed, or about to be, and no cleanup that cured it.
    pub hard_violations: u64,
    /// Cleanups.
    pub cleanups: u64,
    /// Those that freed nothing, or less than a thousandth of what was held.
    pub unhelpful_cleanups: u64,
    /// What the last one did; `None` before the first.
    pub last_cleanup: Option<CleanupReport>,
    /// Generations.
    pub generations: u64,
    /// Readings that gave no number.
    pub failures: u64,
    /// Snapshots at each level, by [`PressureLevel::ALL`].
    pub snapshots: [u64; 4],
    /// Changes of level.
    pub level_changes: u64,
    /// The level of the last snapshot that had one; `None` before it.
    pub level: Option<PressureLevel>,
    /// Most used in any snapshot.
    pub peak_used_bytes: ByteSize,
    /// Most in allocations in any snapshot; 0 where that was never known.
    pub peak_allocated_bytes: ByteSize,
    /// Most held from the device in any snapshot; 0 where that was never known.
    pub peak_reserved_bytes: ByteSize,
    /// Mean of used over the snapshots that are kept; `None` before the first.
    pub mean_used_bytes: Option<ByteSize>,
    /// Since the last cleanup; `None` before the first.
    pub seconds_since_cleanup: Option<f64>,
}
