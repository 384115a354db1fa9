//! A monitor's counts.

use serde::Serialize;

use super::cleanup::CleanupReport;
use crate::pressure::PressureLevel;
use crate::units::ByteSize;

/// A monitor's counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MonitorStats {
    /// Passings of the soft limit.
    pub soft_violations: u64,
    /// Of the hard one, after a cleanup.
    pub hard_violations: u64,
    /// Cleanups.
    pub cleanups: u64,
    /// Those that freed nothing.
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
    /// The level of the last snapshot.
    pub level: PressureLevel,
    /// Most used in any snapshot.
    pub peak_used_bytes: ByteSize,
    /// Mean of used over the snapshots that are kept; `None` before the first.
    pub mean_used_bytes: Option<ByteSize>,
    /// Since the last cleanup; `None` before the first.
    pub seconds_since_cleanup: Option<f64>,
}
