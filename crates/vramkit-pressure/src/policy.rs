//! What can be done about pressure, and the presets of when.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ladder::{Ladder, Rung};
use crate::level::PressureLevel;

/// What to do on a rung of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PressurePolicy {
    /// Write it down.
    Log,
    /// Ask models for a smaller footprint (shorter context, fewer sequences), and plan again with it.
    Degrade,
    /// Plan again for what is still bound, move it there, and trim the pool.
    Compact,
    /// Release idle bindings, the lowest priority and least recently used first, until pressure has gone.
    Evict,
    /// Refuse new bindings.
    Reject,
}

impl fmt::Display for PressurePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Log => "log",
            Self::Degrade => "degrade",
            Self::Compact => "compact",
            Self::Evict => "evict",
            Self::Reject => "reject",
        })
    }
}

/// A ladder whose rungs say what to do.
pub type PolicyLadder = Ladder<PressurePolicy>;

impl Ladder<PressurePolicy> {
    /// Elevated from 0.70, where it is logged; Critical from 0.90, where memory is compacted, then idle
    /// bindings evicted.
    pub fn orchestrator() -> Self {
        Self::of(&[
            (PressureLevel::Elevated, 0.70, &[PressurePolicy::Log]),
            (PressureLevel::Critical, 0.90, &[PressurePolicy::Compact, PressurePolicy::Evict]),
        ])
    }

    /// The same policy on both rungs of the [`orchestrator`](Self::orchestrator) preset.
    pub fn always(policy: PressurePolicy) -> Self {
        Self::of(&[(PressureLevel::Elevated, 0.70, &[policy]), (PressureLevel::Critical, 0.90, &[policy])])
    }

    /// Elevated from 0.60, High from 0.80, Critical from 0.90; all only logged.
    pub fn monitor() -> Self {
        let log = &[PressurePolicy::Log][..];
        Self::of(&[
            (PressureLevel::Elevated, 0.60, log),
            (PressureLevel::High, 0.80, log),
            (PressureLevel::Critical, 0.90, log),
        ])
    }

    pub(crate) fn of(rungs: &[(PressureLevel, f64, &[PressurePolicy])]) -> Self {
        let rungs = rungs.iter().map(|&(level, enter, policies)| Rung {
            level,
            enter,
            exit: None,
            dwell_seconds: 0.0,
            policies: policies.to_vec(),
            cooldown_seconds: 0.0,
        });
        Self { rungs: rungs.collect(), patience: 2 }
    }
}
